"""Zero-shot heads kept on disk: the prompts of 1,000 classes in 80 wordings take a GPU seconds and
a CPU hours, and every run, resumed run and evaluation asks for the same head.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from grace_geom.errors import UserError
from grace_geom.files import atomic_write, cache_dir
from grace_geom.models.head import Tokenizer, device_of, encode_text, mean_of_prompts, prompts_of
from grace_geom.models.tensor_files import digest
from grace_geom.terminal import say

FEWEST = 256
"""Prompts of a head that is kept: fewer are encoded sooner than a tower's digest is taken."""

LEFT_OUT = ("visual.", "logit_scale", "logit_bias")
"""Weights that text features do not depend on."""

BATCH = 1024
"""Prompts a forward pass."""


def kept_text_head(
    clip: nn.Module, tokenizer: Tokenizer, class_names: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, " k d"]:
    """:func:`grace_geom.models.head.text_head` at the model's own weights, from the cache where it
    lies there.

    Heads of at least :data:`FEWEST` prompts are kept below ``$GRACE_GEOM_CACHE``; the file's name
    is made of the tower's weights and types, of the token ids, of what this device and library make
    of the first prompt, and of what the rounding of the others depends on besides: the number of
    threads on the CPU, TF32 on a GPU.

    Raises:
        UserError: As ``text_head``.
    """
    prompts = prompts_of(class_names, templates)
    like = next(clip.parameters())
    if len(prompts) < FEWEST or like.is_meta or isinstance(like, FakeTensor):
        return mean_of_prompts(clip, tokenizer(prompts), len(class_names), BATCH)
    tokens = torch.cat([tokenizer(prompts[i : i + BATCH]) for i in range(0, len(prompts), BATCH)])
    file = cache_dir() / "heads" / f"{_key(clip, tokens, len(class_names))}.safetensors"
    if (found := _read(file, len(class_names))) is None:
        found = mean_of_prompts(clip, tokens, len(class_names), BATCH)
        _write(file, found)
    return found.to(like.device)


@torch.no_grad()
def _key(clip: nn.Module, tokens: Int[Tensor, " n l"], classes: int) -> str:
    tower = {n: w for n, w in clip.state_dict().items() if not n.startswith(LEFT_OUT)}
    first = encode_text(clip, tokens[:1].to(device_of(clip)))
    rounds = (
        ["threads", torch.get_num_threads()]
        if first.device.type == "cpu"
        else ["tf32", torch.backends.cuda.matmul.allow_tf32]
    )
    parts = [digest(tower), digest({"tokens": tokens, "first": first}), classes, rounds]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _read(file: Path, classes: int) -> Tensor | None:
    """The head that was kept, on the CPU; ``None`` where there is none, or (which is said) a
    damaged one.
    """
    if not file.is_file():
        return None
    try:
        with safetensors.safe_open(file, "pt") as content:  # type: ignore[no-untyped-call]
            head, told = content.get_tensor("head"), (content.metadata() or {}).get("sha256")
        if digest({"head": head}) == told and head.shape[:1] == (classes,):
            return head  # type: ignore[no-any-return]
        why = "its digest is another"
    except (safetensors.SafetensorError, OSError) as error:
        why = str(error)
    say(f"{file} is damaged: its head is made anew ({why})")
    return None


def _write(file: Path, head: Tensor) -> None:
    """Keep a head; a cache that cannot be written costs the same time at the next call."""
    kept = {"head": head.cpu().contiguous()}
    try:
        with atomic_write(file) as out:
            out.write(safetensors.torch.save(kept, metadata={"sha256": digest(kept)}))
    except UserError as error:
        _tell(f"warning: the zero-shot head is not kept for the next run: {error}")


@functools.cache  # once a process
def _tell(sentence: str) -> None:
    say(sentence)
