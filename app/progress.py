"""Whether a run is being written, has stalled or is finished, and when it will end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from grace_geom import records
from grace_geom.records import number

PATIENCE = 120.0
"""Seconds without a record before a run can count as stalled."""


@dataclass(frozen=True)
class RunProgress:
    """Where a run stands.

    Attributes:
        state: ``running``, ``stalled``, ``stopped`` (a day), ``finished``, ``untrained`` or
            ``no record``.
        step: Newest step on record.
        total: Steps of the whole run; ``None`` where the settings do not say.
        left: Seconds to the end at the speed so far; ``None`` unless running.
        silent: Seconds since the newest record.
    """

    state: str
    step: int
    total: int | None
    left: float | None
    silent: float

    @property
    def ends(self) -> str:
        """The state for a sentence: ``silent`` where a run has stalled and nobody knows its last
        step.
        """
        return "silent" if self.state == "stalled" and self.total is None else self.state


def total_steps(settings: Mapping[str, Any]) -> int | None:
    """Optimiser steps of a run, from ``epochs`` or ``max_steps``, whichever ends first; ``None`` if
    not to be known.
    """
    try:
        return _total_steps(settings)
    except (TypeError, ValueError, AttributeError, ArithmeticError):  # settings that nobody checked
        return None


def _total_steps(settings: Mapping[str, Any]) -> int | None:
    epochs, most = settings.get("epochs"), settings.get("max_steps")
    images = settings.get("provenance", {}).get("data", {}).get("train", {}).get("images")
    batch = settings.get("batch_size")
    if epochs is None and most is not None:
        return int(most)
    if not images or not batch:
        return None if most is None else int(most)
    found = records.total_steps(epochs, most, max(1, images // batch))
    return int(found)


def progress(
    rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], silent: float
) -> RunProgress:
    """From the records of a run, its settings, and the seconds since its newest record."""
    total = total_steps(settings)
    if not rows:
        return RunProgress("no record", 0, total, None, silent)
    step = int(rows[-1]["step"])
    if step == 0 and any("val_acc" in row for row in rows):
        return RunProgress("untrained", 0, None, None, silent)
    if total is not None and step >= total:
        return RunProgress("finished", step, total, None, silent)
    if silent > PATIENCE and silent > 10 * _usual_gap(rows):
        return RunProgress(
            "stopped" if silent > 24 * 3600 else "stalled", step, total, None, silent
        )
    seconds = (t for row in reversed(rows) if (t := number(row.get("seconds"))) is not None)
    last = next(seconds, None)
    left = (total - step) * last / step if total is not None and last is not None and step else None
    return RunProgress("running", step, total, left, silent)


def _usual_gap(rows: Sequence[Mapping[str, Any]]) -> float:
    """Seconds from one record to the next, the median; 0 with fewer than two."""
    times = [t for row in rows if (t := number(row.get("seconds"))) is not None]
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    return gaps[len(gaps) // 2] if gaps else 0.0


def duration(seconds: float | None) -> str:
    """``3 min 20 s``; empty for ``None``."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"
