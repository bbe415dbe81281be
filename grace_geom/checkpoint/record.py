"""The checkpoint as a record: what it holds, written whole, read without running code."""

import functools
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grace_geom.checkpoint.schema import flaw_of
from grace_geom.errors import UserError
from grace_geom.files import atomic_write
from grace_geom.models.tensor_files import (
    DIGEST,
    FORMAT,
    REST_DIGEST,
    all_tensors,
    digest,
    is_ours,
    read_tensors,
    rest_digest,
    verify_digest,
)
from grace_geom.preprocess import Preprocess
from grace_geom.serialise import plain
from grace_geom.weights import Weights

VERSION = 1


@dataclass
class Checkpoint:
    """What a training leaves behind.

    Attributes:
        model: open_clip name of the architecture (one of ours included), or what ``--model`` was
            where open_clip does not bring it.
        state_dict: Merged weights of both towers; loads into plain open_clip.
        class_names: K names in label order.
        templates: Prompt templates of the head.
        text_head: ``weight`` (K, D) with the logit scale in it, ``bias`` (K,); tuned where the
            method tunes it.
        adapter: Low-rank factors or visual prompt tokens, where the method has some.
        base: The pretrained model: ``model``, ``pretrained``, ``seed``, ``origin``, and ``sha256``
            of its weights; ``pretrained_base`` where ``pretrained`` is not a whole model.
        preprocess: ``mean`` and ``std`` of the normalisation, ``image_size`` in pixels,
            ``resize_mode``, ``interpolation``, ``fill_color``; without these three where it was
            written before they were kept: :func:`recorded` gives what was done then.
        config: Every setting of the run, as plain types.
        step: Optimiser steps done.
        metrics: Held-out accuracies so far.
        trainer: All that a resumed run needs, or ``None``.
        members: Which images the run was trained on and held out, as
            ``grace_geom.data.membership.members_of`` says; empty where that is not known (of
            earlier versions).
        network: open_clip's configuration of an architecture that it does not bring; empty for one
            that it knows by name.
    """

    model: str
    state_dict: Weights
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    text_head: Weights
    adapter: Weights = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    preprocess: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] | None = None
    members: Weights = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


def recorded(checkpoint: Checkpoint, size: tuple[int, int], path: Path | str) -> Preprocess:
    """How the run read its pictures, at the network's size. One from before that was kept read
    every model's shorter side, bicubic, and the centre, with the model's mean and std.
    """
    values = {k: v for k, v in checkpoint.preprocess.items() if k != "image_size"}
    return Preprocess(size).overlaid(values, f"{path}: the recorded preprocessing")


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write plain types and CPU tensors with ``torch.save``, to a temporary name first.

    The file depends on the checkpoint's content only: the same run writes the same bytes.

    Raises:
        UserError: If the disk is full; an older file of this name is untouched.
    """
    values = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    if not checkpoint.network:
        del values["network"]  # nothing to say: such files are what earlier versions wrote
    content = _storable({"format": f"{FORMAT}/{VERSION}"} | values)
    content[DIGEST], content[REST_DIGEST] = digest(all_tensors(content)), rest_digest(content)
    with atomic_write(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch hides the OSError of a full disk in one of these
            raise OSError(
                getattr(error.__cause__ or error.__context__, "errno", None), str(error)
            ) from error


def load_checkpoint(path: Path | str, *, verify: bool = True) -> Checkpoint:
    """Read a checkpoint of ours, on the CPU; a run directory means its ``ckpt.pt``.

    Args:
        path: The file or the run directory.
        verify: Compare its content with the digests that it was written with.

    Raises:
        UserError: Missing, truncated, damaged, holding code, of a newer version, or not ours.
    """
    content = read_tensors(path)
    if not is_ours(content):
        refuse_nameless(content, path)
        raise UserError(
            f"{path} is not a checkpoint of grace_geom: for another CLIP say which network and "
            "classes (--model NAME --classes FILE)"
        )
    return parsed(content, path, verify=verify)


def refuse_nameless(content: Any, path: Path | str) -> None:
    """A file with the parts of a checkpoint of ours and without its format is damaged, not foreign.

    Raises:
        UserError: If it is one.
    """
    parts = {"state_dict", "class_names", "templates", "text_head"}
    if isinstance(content, Mapping) and parts <= content.keys():
        stated = content.get("format", "missing")
        said = stated if isinstance(stated, str) else f"a {type(stated).__name__}"
        raise UserError(
            f"{path} is damaged: its format is {said[:60]}, not {FORMAT}/{VERSION}; evaluate an "
            "older one from checkpoints/"
        )


def trained_on(path: Path) -> Checkpoint:
    """A checkpoint without its tensors: its settings, and which images it was trained on.

    Read again only if the file was written since: a study asks this of each run several times.

    Raises:
        UserError: As :func:`load_checkpoint`.
    """
    status = path.stat()
    return _trained_on(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=256)
def _trained_on(path: Path, stamp: tuple[int, ...]) -> Checkpoint:
    return replace(load_checkpoint(path), state_dict={}, text_head={}, adapter={}, trainer=None)


def parsed(content: Mapping[str, Any], path: Path | str, *, verify: bool = True) -> Checkpoint:
    """The record from what the file holds.

    Args:
        content: A checkpoint of ours, as :func:`~grace_geom.models.tensor_files.read_tensors` gave
            it.
        path: For messages.
        verify: Compare its content with the digests that it was written with.

    Raises:
        UserError: If it is of a newer version, or a part is missing, of another type or shape, not
            finite, or not what was written.
    """
    version = content["format"].partition("/")[2]
    if not (version.isascii() and version.isdecimal() and 0 < int(version[:9]) <= VERSION):
        newer = version.isascii() and version.isdecimal() and int(version[:9]) > VERSION
        if not newer:
            raise UserError(f"{path} is damaged: its format is {content['format'][:60]!r}")
        raise UserError(
            f"{path} was written by a newer version ({content['format'][:60]}): update grace_geom"
        )
    read = {"members": {}, "network": {}, **content}  # earlier versions kept none
    absent = [f.name for f in fields(Checkpoint) if f.name not in read]
    if absent:
        raise UserError(f"{path} is damaged: it has no {', '.join(absent)}")
    if flaw := flaw_of(read):
        raise UserError(
            f"{path} is damaged: {flaw}; evaluate an older one from checkpoints/, or train again"
        )
    if verify:
        verify_digest(content, path)
    found = Checkpoint(**{f.name: read[f.name] for f in fields(Checkpoint)})
    return replace(found, class_names=tuple(found.class_names), templates=tuple(found.templates))


def link(existing: Path, name: Path) -> None:
    """Make ``name`` another name of the file ``existing``, replacing what was there; a copy where
    links are not known.

    Raises:
        UserError: If neither works; the old ``name`` is untouched.
    """
    temporary = name.with_name(f".{name.name}.{os.getpid()}.part")
    try:
        temporary.unlink(missing_ok=True)
        os.link(existing, temporary)
    except OSError:
        with open(existing, "rb") as source, atomic_write(name) as target:
            shutil.copyfileobj(source, target)
        return
    os.replace(temporary, name)
    temporary.unlink(missing_ok=True)  # renaming onto another name of the same file leaves both


def _storable(value: Any) -> Any:
    """The same tree with tensors on the CPU, each with only its own memory, and everything else as
    plain types.

    Equal strings become one object: pickle writes the second occurrence of an object as a
    reference, so that a resumed run would otherwise write other bytes than one that never stopped.
    """
    if isinstance(value, Tensor):
        w = value.detach().cpu()
        return w if w.untyped_storage().nbytes() == w.numel() * w.element_size() else w.clone()
    if isinstance(value, Mapping):
        return {_storable(name): _storable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    value = plain(value)
    return sys.intern(value) if isinstance(value, str) else value
