"""Where the records of an evaluation are kept, and what becomes of one that is in the way."""

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grace_geom.evaluation import identity
from grace_geom.evaluation.measures import Source, short_name
from grace_geom.records import DialRecord, EvalRecord
from grace_geom.records.merge import held, known_in, make_way

Kept = EvalRecord | DialRecord


def other_data(source: Source, config: Mapping[str, Any]) -> str | None:
    """The SPEC that is asked for, where the run was trained on other data."""
    return source.data if source.data and config.get("data") not in (None, source.data) else None


def record_file(
    checkpoint: Path, image_size: int | None = None, data: str | None = None, *, kind: str = "eval"
) -> Path:
    """``eval.json`` beside a run's ``ckpt.pt``; other checkpoints of a folder keep their name:
    ``NAME.eval.json``.

    Args:
        checkpoint: The file.
        image_size: Where a size in pixels was asked for: ``eval-SIZEpx.json``, and the usual
            numbers stay.
        data: SPEC of another ID data set than the run's own: ``eval-DATA.json`` in the same way. A
            data set from a path has six digits of its SPEC's SHA-256 behind its name, as many files
            may be called ``test.npz``.
        kind: First word of the name.
    """
    parts = [kind]
    if data is not None:
        short = short_name(data)
        unique = [] if short == data else [hashlib.sha256(data.encode()).hexdigest()[:6]]
        parts += [re.sub(r"[^A-Za-z0-9_.]+", "-", short).strip("-."), *unique]
    if image_size is not None:
        parts.append(f"{image_size}px")
    name = "-".join(parts)
    return checkpoint.with_name(
        f"{name}.json" if checkpoint.name == "ckpt.pt" else f"{checkpoint.stem}.{name}.json"
    )


def set_aside(path: Path, record: Kept, say: Callable[[str], object] = lambda text: None) -> None:
    """Move what lies at ``path`` out of the way where it is not about the same model and settings,
    and bring back what was moved earlier and is.

    A record of the same checkpoint file, read as another model, with another seed, or by a version
    that did not note what it read, keeps its numbers in ``eval-was-DIGITS.json``. One of another
    checkpoint, which this one has replaced, is left to be overwritten.
    """
    place = aside_of(path)
    load: Callable[[Path], Kept] = type(record).load
    there = known_in(path, load)
    known = there and (there.checkpoint, there.settings) == (record.checkpoint, record.settings)
    if known or not (there or place(record).is_file()):  # and no lock in a folder that is only read
        return
    with held(path):
        moved = make_way(path, record, place)
    if moved is not None:
        what = ", ".join(_reasons(moved.settings, record.settings))
        say(
            f"{path} held numbers of the same file that are not known to be of the same model "
            f"({what}): kept as {place(moved).name}"
        )


def aside_of(path: Path) -> Callable[[Kept], Path]:
    """Where a record with other settings than those of the one at ``path`` is kept:
    ``eval-was-DIGITS.json``.
    """
    return functools.partial(_aside, path)


def _aside(path: Path, record: Kept) -> Path:
    key = identity.key_of({"checkpoint": record.checkpoint, "settings": record.settings})[:6]
    kind, dot, rest = path.stem.rpartition(".")
    return path.with_name(f"{kind}{dot}{rest}-was-{key}.json")


def _reasons(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which settings differ, the model's by their parts."""
    found = identity.changed(before, now)
    if "model" not in found:
        return found
    found.remove("model")
    if "model" not in before:
        return ["an earlier version did not note what it read", *found]
    return [*identity.changed(before["model"], now["model"]), *found]
