"""From a model's name to a ``ClipClassifier``: open_clip names, our own tiny configurations, local
weight files.
"""

import contextlib
import functools
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from grace_geom.errors import UserError, check_known, nearest
from grace_geom.files import sha256
from grace_geom.models.classifier import PROMPT, ClipClassifier
from grace_geom.models.foreign import Foreign, read_foreign
from grace_geom.models.preprocessing import of_file, preprocess_of, set_preprocess, usual
from grace_geom.models.spec import ModelSpec
from grace_geom.models.tensor_files import is_ours, read_tensors, verify_digest
from grace_geom.preprocess import Preprocess, parsed

CONFIGS = Path(__file__).parent / "configs"
QUICK = "-quickgelu"
SHIPPED = Path(__file__).parent / "weights"


def register_configs(folder: Path = CONFIGS) -> None:
    """Make our JSON model configurations known to open_clip
    (``open_clip.create_model("tiny-shapes")``).
    """
    missing = [file for file in folder.glob("*.json") if file.stem not in open_clip.list_models()]
    if missing:
        open_clip.add_model_config(folder)


def known_models() -> list[str]:
    """Every name that ``ModelSpec.model`` may have."""
    register_configs()
    return open_clip.list_models()


def open_clip_model(spec: ModelSpec) -> tuple[nn.Module, str]:
    """The plain open_clip model, in float32 on the CPU, and the origin of its weights.

    Its ``visual.preprocess_cfg`` is that of the weights: of the tag, of the hub's configuration
    beside a file, or guessed from the network, with a warning; ``spec.preprocess`` goes over it.

    Returns:
        The model, and ``"NAME:sha256"`` of the file it was loaded from, the open_clip tag, or
        ``"random:SEED"``.

    Raises:
        UserError: Unknown name, no weights named, a file that is missing or does not fit.
    """
    clip, origin = _with_weights(spec)
    if spec.preprocess is not None:
        given = preprocess_of(clip).overlaid(parsed(spec.preprocess), "--preprocess")
        set_preprocess(clip, given)
    return clip, origin


def _with_weights(spec: ModelSpec) -> tuple[nn.Module, str]:
    check_known("--model", spec.model, known_models())
    source, shipped = spec.pretrained, SHIPPED / f"{spec.model}.safetensors"
    if source is None or source == "shipped":
        if not shipped.is_file():
            none = "needs weights" if source is None else "has no shipped weights"
            raise UserError(
                f"--model {spec.model} {none}: give --pretrained FILE or an open_clip tag, "
                "or --pretrained random to start from nothing"
            )
        source = str(shipped)
    if source == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            clip = _create(spec.model, None)
        set_preprocess(clip, usual(spec.model, _default(clip))[0])
        return clip, f"random:{spec.seed}"
    if Path(source).is_file():
        clip = _from_file(spec.model, Path(source))
        preprocess_as_file(clip, spec, Path(source))
        return clip, f"{Path(source).name}:{sha256(source)}"
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if source not in tags:
        valid = [*tags, "random", *(["shipped"] if shipped.is_file() else [])]
        raise UserError(
            f"--pretrained {source!r} is neither a file nor a tag of {spec.model}; "
            f"{nearest(source, valid)}"
        )
    try:
        return _create(with_activation(spec.model, source), source), f"open_clip:{source}"
    except (OSError, RuntimeError) as error:  # no network, or the hub refuses
        raise UserError(
            f"--pretrained {source}: open_clip cannot fetch these weights here "
            f"({_first_line(error)}); give a file"
        ) from None


def preprocess_as_file(clip: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Give a model whose weights come from ``path`` the preprocessing that belongs to them.

    Raises:
        UserError: If the configuration beside the file, or ``spec.preprocess``, cannot be read.
    """
    if spec.preprocess is not None and not (path.parent / "open_clip_config.json").is_file():
        found = usual(spec.model, _default(clip))[0]  # said by hand: no guess to tell of
    else:
        ours = (CONFIGS / f"{spec.model}.json").is_file()
        found = of_file(spec.model, path, _default(clip), ours=ours)
    if spec.preprocess is not None:
        found = found.overlaid(parsed(spec.preprocess), "--preprocess")
    set_preprocess(clip, found)


def _default(clip: nn.Module) -> Preprocess:
    """open_clip's default at the network's size."""
    return Preprocess(preprocess_of(clip).size)


def with_activation(model: str, tag: str) -> str:
    """The name whose activation fits a tag's weights: OpenAI trained with QuickGELU, which
    open_clip only warns of.

    Raises:
        UserError: If the weights need QuickGELU and open_clip has no such configuration.
    """
    wants_quick = bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False))
    if not wants_quick or model.endswith(QUICK):
        return model
    if f"{model}{QUICK}" not in known_models():
        raise UserError(
            f"--pretrained {tag}: these weights need QuickGELU, and there is no model "
            f"{model}{QUICK}"
        )
    return f"{model}{QUICK}"


def say_activation(model: str, path: Path | str, *, openai: bool = False) -> None:
    """A file does not tell its activation; where both exist, say which one is used.

    Args:
        model: The network that was named.
        path: The file.
        openai: It is one of OpenAI's own archives.
    """
    quick = model.endswith(QUICK)
    other = model.removesuffix(QUICK) if quick else f"{model}{QUICK}"
    if other not in known_models() or (quick and openai):
        return
    if quick:
        advice = f"If these weights were trained with GELU (as LAION's are), use --model {other}"
    elif openai:
        advice = f"These are OpenAI's weights, they need QuickGELU: --model {other}"
    else:
        advice = (
            "If these weights come from OpenAI's CLIP (as TeCoA's and FARE's do), they need "
            f"QuickGELU: --model {other}"
        )
    computes = "QuickGELU" if quick else "GELU"
    warnings.warn(f"{path}: --model {model} computes with {computes}. {advice}", stacklevel=3)


def build(spec: ModelSpec, class_names: Sequence[str], templates: Sequence[str]) -> ClipClassifier:
    """A ``ClipClassifier`` with the zero-shot head of these classes; ``.origin`` tells where its
    weights came from.
    """
    clip, origin = open_clip_model(spec)
    model = ClipClassifier(clip, tokenizer_of(spec.model), class_names, templates)
    model.spec, model.origin = spec, origin
    return model


def shapes_of(model: str) -> nn.Module:
    """The plain open_clip model on torch's meta device: shapes without memory or numbers, whatever
    the model's size.

    Raises:
        UserError: If there is no such model.
    """
    check_known("--model", model, known_models())
    with torch.device("meta"), _quiet():
        return open_clip.create_model(model, device="meta", load_weights=False)


def tokenizer_of(model: str) -> Any:
    """The tokenizer that open_clip's configuration names for this model, read once a process: its
    vocabulary takes several times as long as a small model.
    """
    register_configs()
    config = open_clip.get_model_config(model) or {}
    return _tokenizer(model, json.dumps(config.get("text_cfg"), sort_keys=True))


@functools.lru_cache(maxsize=8)
def _tokenizer(model: str, text_config: str) -> Any:
    """By name and configuration: the same name may be registered anew with another one."""
    return open_clip.get_tokenizer(model)


def _create(model: str, pretrained: str | None) -> nn.Module:
    with _quiet():
        return open_clip.create_model(
            model, pretrained=pretrained, load_weights=pretrained is not None
        )


def _from_file(model: str, path: Path) -> nn.Module:
    """The model at the weights of a file, by the reader that every door uses."""
    if path.suffix in (".npz", ".npy"):  # big_vision's, which open_clip converts
        return _from_big_vision(model, path)
    found: Foreign | None = None
    try:
        content = read_tensors(path)
        clip = _create(model, None)
        found = read_foreign(plain_weights(content, path), clip, path, based=False)
    except UserError as error:
        raise UserError(f"--pretrained {path}: not weights of {model} ({error})") from None
    finally:
        if path.parent != SHIPPED:
            say_activation(model, path, openai=found is not None and found.openai)
    if found.tower_only:
        raise UserError(
            f"--pretrained {path} holds an image tower only: the weights that a run starts from "
            "need a text tower too"
        )
    say_notes(path, found)
    clip.load_state_dict(clip.state_dict() | found.weights)
    return clip


def say_notes(path: Path, found: Foreign) -> None:
    """Tell the user how a file was read: what was merged, resized or not used."""
    for note in found.notes:
        warnings.warn(f"{path}: {note}", stacklevel=3)


def plain_weights(content: Any, path: Path) -> Any:
    """The merged weights of a checkpoint of ours; another file's content as it is.

    Raises:
        UserError: If its tensors are not those that were written, or visual prompt tokens would be
            left out.
    """
    if not is_ours(content):
        return content
    verify_digest(content, path)
    adapter = content.get("adapter")
    if isinstance(adapter, Mapping) and PROMPT in adapter:
        raise UserError(f"{path} has visual prompt tokens, which no pretrained model has")
    return content.get("state_dict")


def _from_big_vision(model: str, path: Path) -> nn.Module:
    try:
        return _create(model, str(path))
    except (RuntimeError, KeyError, ValueError, EOFError, OSError, AttributeError) as error:
        raise UserError(
            f"--pretrained {path}: not weights of {model} ({_first_line(error)})"
        ) from None


def _first_line(error: BaseException) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # torch colours its advice
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (": ".join(lines[:2]) or type(error).__name__)[:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip warns on the root logger when a model starts without weights; here that is asked
    for.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
