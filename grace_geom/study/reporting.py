"""What experiment trackers get of a study beside its runs: the table."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grace_geom.records import COLUMNS
from grace_geom.study.effective import effective
from grace_geom.study.report import by_design
from grace_geom.study.rows import Row, difference
from grace_geom.tracking import Trackers

KEY = "study"
FIGURES = ("tradeoff", "effective_robustness")


def table_numbers(rows: Sequence[Row], baseline: Row | None) -> dict[str, float]:
    """In shares of 1: ``mean/METHOD/HM`` with ``low/...`` and ``high/...`` of its 95 % interval,
    ``difference/METHOD/HM`` to the baseline, ``p/METHOD/HM`` of it, and
    ``effective-robustness/METHOD/SET``.
    """
    found: dict[str, float] = {}
    for row in rows:
        for column in COLUMNS:
            at = f"{row.label}/{column}"
            if (e := row.estimate(column)) is not None:
                found |= {f"mean/{at}": e.value, f"low/{at}": e.low, f"high/{at}": e.high}
            if baseline is None or row.label == baseline.label or by_design(column, baseline):
                continue
            if (d := difference(row, baseline, column)) is not None:
                found[f"difference/{at}"] = d.value
                found |= {f"p/{at}": d.p} if d.p == d.p else {}  # NaN: no test
    for shift in effective(rows).shifts:
        for placed in shift.placed:
            found[f"effective-robustness/{placed.label}/{shift.data}"] = placed.above.value
    return found


def report_table(
    rows: Sequence[Row],
    baseline: Row | None,
    out: Path,
    settings: Mapping[str, Any],
    names: Sequence[str],
    say: Callable[[str], object],
) -> None:
    """Give the table of a study and its figures to trackers; the same folder is the same run.

    Args:
        rows: The methods.
        baseline: What the others are compared with.
        out: Folder of the study.
        settings: Of the study, as plain values.
        names: Of the trackers.
        say: Shows a line to the user.
    """
    trackers = Trackers(names, out, KEY, say=say)
    trackers.start(settings, f"{out.resolve().name}/{KEY}")
    trackers.log(0, table_numbers(rows, baseline))
    for figure in FIGURES:
        if (path := out / f"{figure}.png").is_file():
            trackers.figure(figure, path)
    trackers.finish("finished")
