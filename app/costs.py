"""What a step of a run's training cost, as far as its folder tells."""

import logging
from functools import lru_cache
from pathlib import Path

from app import seeds, store
from app.kept import kept_of_runs
from app.store import Entry
from grace_geom.records import RecordError, inside
from grace_geom.records.costs import step_costs, step_seconds

LOG = logging.getLogger("grace_geom.app")


def passes(entry: Entry, root: Path) -> float | None:
    """A step in forward passes of its batch, timed by the study that the run is part of; ``None``
    where it is part of none, or takes no step.
    """
    path = entry.path.parent / "study.json"
    now = store.stamp(path)
    if now == store.ABSENT or not inside(path, root):
        return None
    return _known(path, now).get(seeds.family(entry).rpartition("/")[2])


@lru_cache(maxsize=64)
def _known(path: Path, _: store.Stamp) -> dict[str, float]:
    try:
        return step_costs(path)
    except RecordError as error:  # the study's own file; the runs are drawn without it
        LOG.warning("%s", store.readable(str(error)))
        return {}


def seconds(entry: Entry) -> float | None:
    """Seconds a step by the clock of the machine that trained it; the mean over seeds."""
    each = [
        found
        for run in entry.members or (entry,)
        if (found := kept_of_runs(_of_log, store.lines(run, "metrics"))) is not None
    ]
    return sum(each) / len(each) if each else None


def _of_log(log: store.Lines) -> float | None:
    return step_seconds(log.rows)
