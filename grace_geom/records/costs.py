"""What training costs: a step, as far as it is on record, and work that is left, in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from grace_geom.files import folder_name
from grace_geom.records.schema import checked, number, read_record

STUDY_FORMAT = "grace_geom.study/1"


class _StepTime(Struct):
    step: Annotated[float, Meta(ge=0)]
    forward: Annotated[float, Meta(gt=0)]


class _Timed(Struct):
    probes: dict[str, _StepTime]


def step_costs(path: Path | str) -> dict[str, float]:
    """A step of training in forward passes of its batch, by the folder's name without the seed,
    from a study's ``study.json``. Methods that take no step are left out.

    Raises:
        RecordError: If the file is missing, truncated, of another kind or of a newer version.
    """
    form = checked(read_record(path, STUDY_FORMAT), _Timed, path, "run the study again")
    return {
        folder_name(label): probe.step / probe.forward
        for label, probe in form.probes.items()
        if probe.step > 0
    }


def device_hours(seconds: float) -> str:
    """``1.3 device hours``, of the seconds that devices are held: each GPU of a run, or the one run
    where it has none.
    """
    hours = seconds / 3600
    if hours < 0.005:
        return "under 0.01 device hours"
    digits = 2 if hours < 0.095 else 1 if hours < 9.95 else 0
    return f"{hours:,.{digits}f} device hours"


def step_seconds(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds a step of a run from its log, evaluations on the way included; ``None`` where the log
    does not tell.
    """
    known = [
        (int(row["step"]), seconds)
        for row in rows
        if (seconds := number(row.get("seconds"))) is not None and row.get("step")
    ]
    if not known:
        return None
    step, seconds = max(known)
    return seconds / step
