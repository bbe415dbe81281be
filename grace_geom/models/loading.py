"""From a model's name to a ``ClipClassifier``: open_clip names, our own tiny configurations, local
weight files.
"""

import contextlib
import functools
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from grace_geom import distributed
from grace_geom.errors import UserError, first_line, nearest
from grace_geom.files import sha256
from grace_geom.models.classifier import PROMPT, ClipClassifier
from grace_geom.models.foreign import Foreign, read_foreign
from grace_geom.models.head import prompts_of
from grace_geom.models.preprocessing import (
    beside_file,
    of_file,
    preprocess_of,
    set_preprocess,
    usual,
)
from grace_geom.models.sources import CONFIGS, known_models, source_of, usable, written
from grace_geom.models.spec import ModelSpec
from grace_geom.models.tensor_files import is_ours, read_tensors, verify_digest
from grace_geom.models.weight_sets import SCALES
from grace_geom.preprocess import Preprocess, parsed
from grace_geom.records.heads import ARRAYS
from grace_geom.records.places import checkpoint_file
from grace_geom.weights import Weights

QUICK = "-quickgelu"
SHIPPED = Path(__file__).parent / "weights"


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
    source = usable(spec.model)
    given, shipped = spec.pretrained, SHIPPED / f"{spec.model}.safetensors"
    if given is None and source.tuned:
        given = str(source.weights())
    elif given is None or given == "shipped":
        if not shipped.is_file():
            none = "needs weights" if given is None else "has no shipped weights"
            raise UserError(
                f"--model {written(spec.model)} {none}: give --pretrained FILE, a folder or an "
                "open_clip tag, or --pretrained random to start from nothing"
            )
        given = str(shipped)
    if Path(given).is_file() or (
        Path(given).is_dir() and given not in [*_tags(spec.model), "random"]
    ):
        return _from_file(replace(spec, pretrained=given), checkpoint_file(Path(given)))
    if spec.base is not None:
        raise UserError(
            f"--pretrained-base is for a file or a folder that lacks something: --pretrained {given} "
            "is neither"
        )
    if given == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            clip = _create(spec.model, None)
        base = _default(clip).overlaid(source.preprocess or {}, spec.model)
        set_preprocess(clip, base if source.preprocess else usual(spec.model, base)[0])
        return clip, f"random:{spec.seed}"
    return _tagged(spec.model, given, shipped.is_file())


def _tags(model: str) -> list[str]:
    return open_clip.list_pretrained_tags_by_model(model)


def _tagged(model: str, tag: str, shipped: bool) -> tuple[nn.Module, str]:
    """The weights of one of open_clip's tags."""
    tags = _tags(model)
    if tag not in tags:
        valid = [*tags, "random", *(["shipped"] if shipped else [])]
        raise UserError(
            f"--pretrained {tag!r} is neither a file nor a tag of {written(model)}; "
            f"{nearest(tag, valid)}"
        )
    try:
        return _create(with_activation(model, tag), tag), f"open_clip:{tag}"
    except (OSError, RuntimeError) as error:  # no network, or the hub refuses
        raise UserError(
            f"--pretrained {tag}: open_clip cannot fetch these weights here "
            f"({first_line(error)}); give a file"
        ) from None


def preprocess_as_file(clip: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Give a model whose weights come from ``path`` the preprocessing that belongs to them.

    Raises:
        UserError: If the configuration beside the file, or ``spec.preprocess``, cannot be read.
    """
    beside, stated = beside_file(path), source_of(spec.model).preprocess
    given = {} if spec.preprocess is None else parsed(spec.preprocess)
    if spec.preprocess is not None and beside is None:
        found = usual(spec.model, _default(clip))[0]  # said by hand: no guess to tell of
    elif stated and beside is None:
        found = _default(clip).overlaid(stated, f"--model {written(spec.model)}")
    else:
        ours = (CONFIGS / f"{spec.model}.json").is_file()
        said = [name for name, value in given.items() if value is not None]
        found = of_file(spec.model, path, _default(clip), ours=ours, given=said)
    set_preprocess(clip, found.overlaid(given, "--preprocess"))


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


def build(
    spec: ModelSpec,
    class_names: Sequence[str],
    templates: Sequence[str],
    device: torch.device | str = "cpu",
    *,
    together: bool = False,
) -> ClipClassifier:
    """A ``ClipClassifier`` with the zero-shot head of these classes; ``.origin`` tells where its
    weights came from.

    Args:
        spec: The network and its weights.
        class_names: Of the head.
        templates: Of the head.
        device: Where the model shall live; its head is made there.
        together: All processes of a job build this model now: the first one encodes the prompts
            and sends the head to the others.
    """
    clip, origin = open_clip_model(spec)
    clip, tokenizer = clip.to(device), tokenizer_of(spec.model)
    prompts_of(class_names, templates)  # what is wrong with them is said by every process
    shared = together and distributed.world().size > 1
    own = not shared or distributed.first()
    model = ClipClassifier(clip, tokenizer, class_names, templates) if own else None
    if shared:
        head = distributed.of_first(_on_cpu(model.head) if model else {})
        model = model or ClipClassifier(clip, tokenizer, class_names, templates, head)
    assert model is not None
    model.spec, model.origin = spec, origin
    return model


def _on_cpu(weights: Weights) -> Weights:
    return {name: w.cpu() for name, w in weights.items()}


def shapes_of(model: str) -> nn.Module:
    """The plain open_clip model on torch's meta device: shapes without memory or numbers, whatever
    the model's size.

    Raises:
        UserError: If there is no such model.
    """
    with torch.device("meta"):
        return _create(model, None, device="meta")


def tokenizer_of(model: str) -> Any:
    """The tokenizer that open_clip's configuration names for this model, read once a process: its
    vocabulary takes several times as long as a small model.

    Raises:
        UserError: If it is one of transformers that is not installed or cannot be fetched.
    """
    known = usable(model).known
    config = open_clip.get_model_config(known) or {}
    try:
        return _tokenizer(known, json.dumps(config.get("text_cfg"), sort_keys=True))
    except Exception as error:  # the Hub's client's own, of the network or of the files
        name = config.get("text_cfg", {}).get("hf_tokenizer_name", "")
        raise UserError(_unreached(model, "tokenizer", name, error)) from None


def _unreached(model: str, what: str, name: str, error: BaseException) -> str:
    if Path(name).is_absolute() and not Path(name).is_dir():
        return (
            f"--model {written(model)}: the folder of its {what}, {name}, is not here: put it back "
            "there"
        )
    return (
        f"--model {written(model)}: its {what} {name} cannot be read here ({first_line(error)}). Save its files "
        "in a folder, and name that in a configuration of your own: --model FILE.json with "
        "hf_tokenizer_name, hf_model_name"
    )


@functools.lru_cache(maxsize=8)
def _tokenizer(model: str, text_config: str) -> Any:
    """By name and configuration: the same name may be registered anew with another one."""
    return open_clip.get_tokenizer(model)


def _create(model: str, pretrained: str | None, device: str = "cpu") -> nn.Module:
    """The network, with the weights of a tag, or none: those of a text tower of transformers alone
    are never fetched.

    Raises:
        UserError: If a configuration cannot be built.
    """
    known = source_of(model).known
    text = (open_clip.get_model_config(known) or {}).get("text_cfg", {}).get("hf_model_name")
    try:
        with _quiet():
            return open_clip.create_model(
                known, pretrained=pretrained, load_weights=pretrained is not None, device=device,
                pretrained_text=False,
            )  # fmt: skip
    except Exception as error:
        if pretrained is not None:
            raise
        if text:
            raise UserError(_unreached(model, "text tower", text, error)) from None
        if known == model and written(model) == model:
            raise  # one of open_clip's own
        raise UserError(
            f"--model {written(model)}: open_clip cannot build this configuration "
            f"({type(error).__name__}: {first_line(error)})"
        ) from None


def _from_file(spec: ModelSpec, path: Path) -> tuple[nn.Module, str]:
    """The model at the weights of a file, by the reader that every door uses, and their origin."""
    model, given = spec.model, f"--pretrained {path}"
    origin = f"{path.name}:{sha256(path)}"
    if path.suffix in ARRAYS:  # big_vision's, which open_clip converts
        clip = _from_big_vision(model, path)
        preprocess_as_file(clip, spec, path)
        return clip, origin
    below = None if spec.base is None else replace(spec, pretrained=spec.base, base=None)
    found: Foreign | None = None
    try:
        content = plain_weights(read_tensors(path), path)
        clip, base = (_create(model, None), "") if below is None else open_clip_model(below)
        found = read_foreign(
            content, clip, path, based=below is not None, base_flag="--pretrained-base",
            model=written(model),
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"{given}: not weights of {written(model)} ({error})") from None
    finally:
        if path.parent != SHIPPED and not (found is not None and found.told):
            say_activation(model, path, openai=found is not None and found.openai)
    if found.tower_only and below is None:
        raise UserError(
            f"{given} holds an image tower only: say where the text tower comes from "
            "(--pretrained-base TAG, FILE or DIR)"
        )
    scales = clip.state_dict().keys() & SCALES
    if below is not None and not (
        found.tower_only or found.merged or scales - found.weights.keys()
    ):
        found.notes.append("it lacks nothing: --pretrained-base was not used")
        # Activation and preprocessing are not the base's either.
        clip, base, below = _create(model, None), "", None
    say_notes(path, found)
    clip.load_state_dict(clip.state_dict() | found.weights)
    if below is None or beside_file(path) is not None:
        preprocess_as_file(clip, spec, path)
    return clip, origin + (f" on {base}" if base else "")


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
            f"--pretrained {path}: not weights of {model} ({first_line(error)})"
        ) from None


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
