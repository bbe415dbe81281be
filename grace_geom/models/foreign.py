"""The tensors of a file from elsewhere under an open_clip model's names; each is accounted for."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import resize_pos_embed, resize_text_pos_embed
from torch import Tensor, nn

from grace_geom.errors import UserError
from grace_geom.models.inert_pickle import Named, tensors_of_module
from grace_geom.models.lora_pairs import QKV, Pair, merge, split_pairs, stated_scale, target_of
from grace_geom.models.transformers_names import check_config, from_transformers
from grace_geom.models.weight_sets import SCALES, WeightSet, equal, listed, one_of, same, under
from grace_geom.weights import Weights

WRAPPERS = frozenset(
    [
        "module",
        "_orig_mod",
        "_forward_module",
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
        "base_layer",
    ]
)
"""Parts of names that data-parallel, compiling, sharding and adapters put in, anywhere."""

BESIDE = re.compile(
    r"optim|sched|scaler|rng|random_state|callback|loops|sampler|exp_avg|momentum_buffer"
)
"""Containers of a training's state, in which no weights are looked for."""

INERT = re.compile(
    r"(^|\.)(attn_mask|position_ids|relative_position_index|num_batches_tracked|total_ops|"
    r"total_params|input_resolution|context_length|vocab_size|n_averaged|freqs\w*|feat_embed)$"
)
"""Buffers that models make again, and counters."""

ADDED = re.compile(r"(^|\.)pad_(up|down|left|right)$")
"""Names of a frame that is added to the pixels: zeros change nothing."""

MEANING = re.compile(
    r"lora|lo[hk]r|loha|hada|vera_|(^|[._])(oft|boft|dora|diff|diff_b|ia3|ia3_\w+)([._]|$)|"
    r"adapter|prompt|ctx|head|classif|prefix|probe|magnitude|ssf|cache|pad_|soft|"
    r"delta|residual|task_?vec|perturb|(^|[._])(ema|swa|shadow|average[ds]?|avg)([._]|$)|shadow_|"
    r"(^|\.)(fc|linear|proj|film|gate|transformer|resblocks|visual|vision_model)(\.|$)|text|token",
    re.IGNORECASE,
)
"""What changes a model's answers wherever it stands: low-rank and other adapters (LoRA, LoHa, LoKr,
VeRA, OFT, DoRA, IA3, SSF), prompts, heads, differences to add, averages, further blocks."""


TWICE = re.compile(r"attn\.base_layer\.out_proj\.lora_[AB]")
"""PEFT's adapter of ``nn.MultiheadAttention``. In version 0.21 its forward pass and its merging add
the product of ``out_proj`` twice, beside the layer and in it: the factors do not say which model
they were trained in.
"""


@dataclass
class Foreign:
    """What a file gives a model.

    Attributes:
        weights: By open_clip name, in the model's types and shapes.
        tower_only: Its text tower is not in the file.
        openai: It is one of OpenAI's own archives.
        merged: It has low-rank factors, which are in ``weights``.
        told: A configuration beside the file tells its activation, and the model has it.
        notes: What was done on the way, and what was not used, in words.
    """

    weights: Weights
    tower_only: bool
    openai: bool = False
    merged: bool = False
    told: bool = False
    notes: list[str] = field(default_factory=list)


def read_foreign(
    content: Any, clip: nn.Module, path: Path | str, *, based: bool, which: str | None = None,
    advice: str = "save the one that is meant in a file of its own",
    base_flag: str = "--pretrained", model: str = "",
) -> Foreign:  # fmt: skip
    """The weights of both towers, or of the image tower, for ``clip``.

    Args:
        content: What :func:`~grace_geom.models.tensor_files.read_tensors` gave.
        clip: The model whose names and shapes are wanted; it is not changed.
        path: For messages, and for an ``adapter_config.json`` beside it.
        based: ``clip`` has the weights that the file was tuned from.
        which: Of two sets of weights in the file, the one to read: ``ema``, ``model`` (the one that
            is no average), or the place that the refusal of two sets names.
        advice: What to do about two sets.
        base_flag: Where the weights below low-rank factors are named.
        model: What messages call ``clip``.

    Raises:
        UserError: If the file has no such weights, none called ``which``, two different sets of
            them, weights of another shape, a part of a text tower, or tensors that change the
            answers and have no place in the model.
    """
    wanted: Weights = clip.state_dict()
    groups = dict(_groups(content, ""))
    if not any(groups.values()):
        raise UserError(f"{path} holds no weights: expected a state_dict of tensors")
    groups, told = _open_clip_names(groups, clip, Path(path), model)
    copies = [
        copy for label, group in groups.items() for copy in _copies(label, group, wanted, path)
    ]
    copy, others = one_of(copies, path, which, advice)
    if copy is None:
        copy = _adapter_only(groups, wanted, path)
        if copy is not None and not based:
            raise UserError(
                f"{path} holds low-rank factors only: name the weights that they were trained on "
                f"with {base_flag} TAG, FILE or DIR"
            )
    if copy is None:
        raise _does_not_fit(groups, wanted, path)
    used, rest, pairs = _sorted(copy, wanted, path)
    text_names = _check_text(used, wanted, path)
    adapter_only = not used
    if adapter_only:
        used = dict(wanted)
    found = Foreign(_fitted(used, clip, wanted, path), not text_names and not adapter_only)
    found.told, found.merged = told, bool(pairs)
    if pairs:
        scale = stated_scale(content, Path(path))
        separate = adapter_only or any("base_layer" in name for name in copy.raw)
        base = wanted if based else None
        all_weights = found.weights
        found.notes.append(merge(all_weights, pairs, scale, base, separate=separate, path=path))
    _account(found, copy, others, rest, groups, path)
    if differ := [c.place for c in others if not equal(copy, c)]:
        found.notes.append(f"the weights in {copy.place} were read, not those in {listed(differ)}")
    scalars = {name.rpartition(".")[2] for name in rest}
    found.openai = {"input_resolution", "context_length", "vocab_size"} <= scalars
    return found


def _open_clip_names(
    groups: Mapping[str, dict[str, Tensor]], clip: nn.Module, path: Path, model: str
) -> tuple[dict[str, dict[str, Tensor]], bool]:
    """The groups under open_clip's names, and whether a configuration told the rest."""
    for name in (name for group in groups.values() for name in group):
        if TWICE.search(name):
            raise UserError(
                f"{path} holds PEFT's factors of a whole attention ({name}), whose output "
                "projection PEFT itself adds twice in some versions: save what it computes with "
                "merge_and_unload()"
            )
    converted = {label: convert_state_dict(clip, g) for label, g in groups.items()}  # type: ignore[arg-type]
    found = {label: from_transformers(g, path) for label, g in converted.items()}
    told = any(found[label].keys() != g.keys() for label, g in converted.items())
    return found, told and check_config(path.parent, clip, model)


def _groups(content: Any, label: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary of tensors in the file, by where it is."""
    if isinstance(content, Named) and isinstance(content.state, dict):
        content = dict(tensors_of_module(content.state, lambda w: isinstance(w, Tensor)))
    if not isinstance(content, Mapping) or depth > 5:
        return
    found = {str(name): w for name, w in content.items() if isinstance(w, Tensor)}
    for name, row in content.items():  # as torch_ema keeps its averages, and some their prompts
        if isinstance(row, (list, tuple)) and not BESIDE.search(str(name)):
            found |= {f"{name}.{i}": w for i, w in enumerate(row) if isinstance(w, Tensor)}
    yield label, found
    for name, inner in content.items():
        if not BESIDE.search(str(name)):
            yield from _groups(inner, f"{label}.{name}".lstrip("."), depth + 1)


def _canonical(names: Mapping[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """Without the wrappers' parts; ``q_proj``, ``k_proj`` and ``v_proj`` of an attention in one."""
    found: dict[str, Tensor] = {}
    for name, w in names.items():
        short = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if short in found and not same(found[short], w):
            raise UserError(f"{path} holds two tensors for {short}: save the one that is meant")
        found[short] = w
    for name in [n for n in found if re.search(r"(^|\.)q_proj\.(weight|bias)$", n)]:
        stem, kind = name.rsplit("q_proj.", 1)
        three = [f"{stem}{q}_proj.{kind}" for q in QKV]
        if f"{stem}in_proj_{kind}" not in found and all(n in found for n in three):
            found[f"{stem}in_proj_{kind}"] = torch.cat([found.pop(n) for n in three])
    return found


def _copies(
    label: str, group: Mapping[str, Tensor], wanted: Weights, path: Path | str
) -> Iterator[WeightSet]:
    """Each prefix under which a whole image tower stands."""
    names = _canonical(group, path)
    tower = {n.removeprefix("visual.") for n in wanted if n.startswith("visual.")}
    full, bare = Counter[str](), Counter[str]()
    for name in names:
        parts = name.split(".")
        for i in range(len(parts)):
            prefix, suffix = ".".join([*parts[:i], ""]) if i else "", ".".join(parts[i:])
            full[prefix] += suffix.startswith("visual.") and suffix[7:] in tower
            bare[prefix] += suffix in tower
    for prefix, count in full.items():
        if count == len(tower):
            yield WeightSet(label, prefix, names, False, set(group))
    for prefix, count in bare.items():
        if count == len(tower) and full[prefix.removesuffix("visual.")] != len(tower):
            yield WeightSet(label, prefix, names, True, set(group))


def _adapter_only(
    groups: Mapping[str, Mapping[str, Tensor]], wanted: Weights, path: Path | str
) -> WeightSet | None:
    """A file of nothing but low-rank factors, whose base is the model itself."""
    for label, group in groups.items():
        names = _canonical(group, path)
        rest, pairs = split_pairs(names, wanted, path)
        if not pairs or any(not INERT.search(name) for name in rest):
            continue
        parts = pairs[0].module.split(".")
        for i in range(len(parts)):
            suffix = ".".join(parts[i:])
            prefix = ".".join([*parts[:i], ""]) if i else ""
            for stripped in (False, True):
                if target_of("visual." * stripped + suffix, wanted) is not None:
                    return WeightSet(label, prefix, names, stripped, set(group))
    return None


def _does_not_fit(
    groups: Mapping[str, Mapping[str, Tensor]], wanted: Weights, path: Path | str
) -> UserError:
    """What is missing, of the part of the file that comes nearest."""
    tower = sorted(name for name in wanted if name.startswith("visual."))
    best: list[str] = tower
    for group in groups.values():
        names = set(_canonical(group, path))
        prefixes = {n[: -len(t)] for t in tower for n in names if n.endswith(t)} | {""}
        bare = {n[: -len(t[7:])] for t in tower[:3] for n in names if n.endswith(t[7:])}
        for prefix, cut in [*((p, 0) for p in prefixes), *((p, 7) for p in bare)]:
            absent = [t for t in tower if prefix + t[cut:] not in names]
            best = min(best, absent, key=len)
    if not best:
        best = tower
    return UserError(
        f"{path} does not fit --model: it has no {best[0]} ({len(best)} of {len(tower)} tensors "
        "of the image tower are missing)"
    )


def _sorted(
    copy: WeightSet, wanted: Weights, path: Path | str
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Pair]]:
    """The tensors that the model has a place for, the others, and low-rank factors."""
    found = under(copy)
    found, pairs = split_pairs(found, wanted, path)
    used: dict[str, Tensor] = {}
    for name in wanted:
        other = name.removeprefix("text.") if name.startswith("text.") else f"text.{name}"
        for alias in (name, other):
            if alias in found and (alias == name or not name.startswith("visual.")):
                used[name] = found.pop(alias)
                break
    outside = {n: w for n, w in copy.names.items() if not n.startswith(copy.prefix)}
    return used, found | outside, pairs


def _check_text(used: Mapping[str, Tensor], wanted: Weights, path: Path | str) -> bool:
    """Whether the file has the text tower, all of it.

    Raises:
        UserError: If it has a part.
    """
    names = [n for n in wanted if not n.startswith("visual.") and n not in SCALES]
    absent = [n for n in names if n not in used]
    if not used or len(absent) == len(names):
        return False
    absent += [n for n in wanted if n == "logit_scale" and n not in used]
    if absent:
        raise UserError(
            f"{path} holds a part of a text tower: it has no {absent[0]} ({len(absent)} of "
            f"{len(names) + 1} tensors are missing). It is not filled up from other weights: save "
            "it whole, or take the text tower out of the file"
        )
    return True


def _fitted(used: dict[str, Tensor], clip: nn.Module, wanted: Weights, path: Path | str) -> Weights:
    """In the model's types and shapes; position embeddings of another grid are resized as open_clip
    does.
    """
    given = {name: w for name, w in used.items() if w.numel()}
    with contextlib.suppress(RuntimeError, ValueError, IndexError):  # the shapes tell, below
        resize_pos_embed(given, clip)
        resize_text_pos_embed(given, clip)
    found: Weights = {}
    for name, w in given.items():
        want = wanted[name]
        if w.shape != want.shape and not w.numel() == want.numel() == 1:
            raise UserError(
                f"{path} does not fit --model: {name} has shape {tuple(w.shape)}, the model wants "
                f"{tuple(want.shape)}"
            )
        if w.is_complex() or w.is_floating_point() != want.is_floating_point():
            raise UserError(f"{path} does not fit --model: {name} is of type {w.dtype}")
        if w.is_floating_point() and not torch.isfinite(w.float()).all():
            raise UserError(f"{path}: {name} holds numbers that are not finite")
        found[name] = w.to(want.dtype).reshape(want.shape)
    if absent := used.keys() - found.keys():
        raise UserError(f"{path} does not fit --model: {min(absent)} is empty")
    return found


def _account(
    found: Foreign, copy: WeightSet, others: list[WeightSet], rest: Mapping[str, Tensor],
    groups: Mapping[str, Mapping[str, Tensor]], path: Path | str,
) -> None:  # fmt: skip
    """Say what nobody used.

    Raises:
        UserError: If it carries meaning: a head, prompts, another text tower, more layers.
    """
    unused = dict(rest)
    for label, group in groups.items():
        if label != copy.label:
            unused |= {f"{label}.{name}".lstrip("."): w for name, w in group.items()}
    apart = tuple(f"{c.label}.{c.prefix}".lstrip(".") for c in others if c.label != copy.label)
    twins = tuple(c.prefix for c in others if c.label == copy.label and c.prefix)
    if any(c.label == copy.label and not c.prefix for c in others):  # it stands around this one
        unused = {
            n: w
            for n, w in unused.items()
            if n not in found.weights and f"visual.{n}" not in found.weights
        }
    names = sorted(
        name
        for name, w in unused.items()
        if not (INERT.search(name) or (apart and name.startswith(apart)))
        and not (twins and name in rest and name.startswith(twins))
        and w.numel()
    )
    meant = [
        n for n in names
        if unused[n].numel() > 1
        and (n.startswith("visual.") or MEANING.search(n))
        and not (ADDED.search(n) and not unused[n].any())  # TeCoA keeps a frame of zeros
    ]  # fmt: skip
    if meant:
        raise UserError(
            f"{path} holds tensors that the model has no place for and that change its answers: "
            f"{_some(meant)}. Save it without them if it is meant without"
        )
    if names:
        found.notes.append(f"not used: {_some(names)}")
    resized = [
        n for n, w in found.weights.items()
        if n.endswith("positional_embedding") and n in copy.names and copy.names[n].shape != w.shape
    ]  # fmt: skip
    if resized:
        found.notes.append(f"resized to the model's: {', '.join(resized)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
