"""What a checkpoint of ours may hold, checked once where it is read: each wrong type is one line
that names the key.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import torch
from msgspec import UNSET, Meta, UnsetType
from torch import Tensor

from grace_geom.models.inert_pickle import Named

Text = Annotated[str, Meta(min_length=1)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Positive = Annotated[int, Meta(gt=0, lt=1 << 31)]
Side = Annotated[int, Meta(gt=0, le=8192)]
Number = Annotated[float, Meta(gt=-1e300, lt=1e300)]
Channels = Annotated[list[Number], Meta(min_length=1, max_length=4)]
Template = Annotated[str, Meta(pattern=r"\{\}")]


class Opaque:
    """Stands for a tensor, which msgspec would take for a mapping."""


Opaque.__name__ = Opaque.__qualname__ = "Tensor"  # as messages shall name it
Weights = dict[str, Opaque]


class Base(msgspec.Struct):
    """The pretrained model."""

    model: str
    pretrained: str | None
    seed: Natural
    origin: str
    sha256: str
    pretrained_base: str | None = None


class PreprocessRecord(msgspec.Struct):
    """The normalisation. Other settings are checked where they are used."""

    mean: Channels
    std: Channels
    image_size: Positive | list[Positive]


class Settings(msgspec.Struct):
    """Those settings of a run that evaluations and analyses read."""

    method: str | UnsetType = UNSET
    data: str | UnsetType | None = UNSET
    data_root: str | UnsetType | None = UNSET
    ood: dict[str, str] | UnsetType | None = UNSET
    templates: str | list[str] | UnsetType | None = UNSET
    seed: Natural | UnsetType | None = UNSET
    split_seed: Natural | UnsetType = UNSET
    val_fraction: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    val_images: Natural | UnsetType = UNSET
    image_size: Side | UnsetType | None = UNSET
    lora_alpha: Number | UnsetType | None = UNSET
    r: Positive | UnsetType | None = UNSET
    train_head: bool | UnsetType = UNSET
    alpha: float | str | UnsetType | None = UNSET


class Metrics(msgspec.Struct):
    """Held-out accuracies, and where they were best."""

    val_acc: float | UnsetType = UNSET
    best_val_acc: float | UnsetType = UNSET
    best_step: Natural | UnsetType = UNSET


class TrainerState(msgspec.Struct):
    """What a resumed run needs."""

    step: Natural | UnsetType = UNSET
    images_seen: Natural | UnsetType = UNSET
    skipped: Natural | UnsetType = UNSET
    sampler: dict[str, Natural] | UnsetType = UNSET
    scheduler: dict[str, Natural] | UnsetType = UNSET
    params: Weights | UnsetType = UNSET
    optimizer: dict[str, Any] | UnsetType = UNSET
    scaler: dict[str, Any] | UnsetType = UNSET
    method: dict[str, Any] | UnsetType = UNSET
    rng: dict[str, Any] | UnsetType = UNSET
    metrics: Metrics | UnsetType = UNSET


class Stored(msgspec.Struct):
    """The whole file, but for its format and digest."""

    model: Text
    state_dict: Weights
    class_names: Annotated[list[str], Meta(min_length=1)]
    templates: Annotated[list[Template], Meta(min_length=1)]
    text_head: Weights
    adapter: Weights
    config: Settings
    step: Natural
    metrics: Metrics
    trainer: TrainerState | None
    base: Base | None
    preprocess: PreprocessRecord | None
    network: dict[str, Any] = {}


def flaw_of(content: Mapping[str, Any]) -> str:
    """What is wrong with the content of a checkpoint file, in words; empty where nothing is."""
    for part in ("state_dict", "text_head"):
        if not isinstance(content[part], Mapping) or not content[part]:
            return f"its {part} is empty"
    for part in ("state_dict", "text_head", "adapter"):
        if flaw := _tensor_flaw(part, content[part]):
            return flaw
    # Parts that are empty are absent: a record that was never written to a run has neither.
    values = {k: None if k in ("base", "preprocess") and v == {} else v for k, v in content.items()}
    try:
        msgspec.convert(_opaque(values), Stored, strict=True)
    except msgspec.ValidationError as error:
        return _said(str(error))
    for where in _objects(content, ""):
        return f"its {where}"
    return _std_flaw(content) or _head_flaw(content)


def _tensor_flaw(part: str, tensors: Any) -> str:
    if not isinstance(tensors, Mapping):
        return f"its {part} is no dictionary of tensors"
    for name, w in tensors.items():
        if not isinstance(w, Tensor) or not isinstance(name, str):
            return f"{name} of its {part} is not a tensor"
        if w.is_complex():
            return f"{name} of its {part} holds complex numbers"
        if w.is_floating_point() and not torch.isfinite(w).all():
            return f"{name} of its {part} holds numbers that are not finite"
    return ""


def _opaque(content: Any) -> Any:
    if isinstance(content, Tensor):
        return Opaque()
    if isinstance(content, Mapping):
        return {name: _opaque(value) for name, value in content.items()}
    return [_opaque(item) for item in content] if isinstance(content, (list, tuple)) else content


def _said(message: str) -> str:
    """``Expected `int`, got `str` - at `$.step``` as ``its step: expected int, got str``."""
    text, _, where = message.replace("`", "").partition(" - at ")
    where = re.sub(r"\[\.\.\.\]", "", where.removeprefix("$.").removeprefix("key in $."))
    return f"its {where or 'content'}: {text[:1].lower()}{text[1:]}"


def _objects(content: Any, where: str) -> Iterator[str]:
    """Objects that are neither plain types nor tensors."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _objects(value, f"{where}.{name}".lstrip("."))
    elif isinstance(content, (list, tuple, set)):
        for value in content:
            yield from _objects(value, where)
    elif isinstance(content, Named) or (isinstance(content, type) and issubclass(content, Named)):
        yield f"{where}: an object of {content.path}"


def _std_flaw(content: Mapping[str, Any]) -> str:
    std = (content["preprocess"] or {}).get("std", [1.0])
    if min(std) <= 0:
        return "its preprocess.std: expected numbers above 0"
    if std and len(std) != len((content["preprocess"] or {}).get("mean", std)):
        return "its preprocess: mean and std differ in length"
    return ""


def _head_flaw(content: Mapping[str, Any]) -> str:
    head, classes = content["text_head"], len(content["class_names"])
    if absent := {"weight", "bias"} - head.keys():
        return f"its text_head has no {' and no '.join(sorted(absent))}"
    weight, bias = head["weight"], head["bias"]
    if weight.ndim != 2 or weight.shape[0] != classes or bias.shape != (classes,):
        return (
            f"its text_head has shapes {tuple(weight.shape)} and {tuple(bias.shape)}, "
            f"where {classes} class names want ({classes}, D) and ({classes},)"
        )
    if not (weight.is_floating_point() and bias.is_floating_point()):
        return f"its text_head is of type {weight.dtype}"
    return ""
