"""Where each run stands as a table: what decides comes first, and what all runs share is a sentence
below it.
"""

from collections.abc import Mapping

from app import logged, verdict
from app.kept import kept_of_runs
from app.logs import Lines
from app.progress import RunProgress, duration
from grace_geom.records import wilson
from grace_geom.records.printed import Cell, Figure, Printed

ENDED = ("finished", "untrained")
TREND = (
    "Trend: whether the loss, mean over the last fifth of the log and at least 4 records, is "
    "clearly below or above that over as many before; its change with Welch's 95 % interval, as if "
    "records were independent."
)
CHANGE = (
    "Change: from the best check to the last, with Newcombe's interval, widened for all checks that "
    "could have been the best."
)
CHOSEN = (
    "How many epochs lie between two checks, and by how many steps of PGD they are attacked, is "
    "chosen when training starts (`--eval-every`, `--val-pgd`)."
)


def standing(
    names: Mapping[str, str],
    found: Mapping[str, tuple[RunProgress, Lines]],
    trends: Mapping[str, verdict.Trend],
    checks: Mapping[str, verdict.HeldOut],
) -> Printed:
    """A row for each run: where it stands, and what its verdict is based on.

    Columns that would say nothing, or the same of all runs, are left out.

    Args:
        names: Run -> name.
        found: Run -> where it stands, with its log.
        trends: Run -> how its loss ends.
        checks: Run -> best and last check of held-out images.
    """
    states = [state.state for state, _ in found.values()]
    ended = "finished" in states and all(state in ENDED for state in states)
    columns: dict[str, list[Cell]] = {"run": [names[run] for run in found]}
    if not ended:
        columns["state"] = list(states)
    fell = any(held.change for held in checks.values())
    rows = [
        _trend(trends.get(run))
        | _checks(checks.get(run), fell)
        | _loss(trends.get(run))
        | _pace(state, log, ended)
        for run, (state, log) in found.items()
    ]
    columns |= {head: [row[head] for row in rows] for head in (rows[0] if rows else ())}
    told = {head: cells for head, cells in columns.items() if any(cells)}
    notes = [_ended(states)] if ended else []
    notes += [TREND] if "loss" in told else []
    notes += [_counted(checks), CHANGE if fell else _best(len(checks)), CHOSEN] if checks else []
    return Printed(list(told), [list(row) for row in zip(*told.values(), strict=True)], notes)


def _trend(trend: verdict.Trend | None) -> dict[str, Cell]:
    known = trend is not None and (trend.kind == "broken" or trend.n >= verdict.LEAST)
    kind = trend.kind if trend is not None and known else ""
    return {"trend": {"level": "no clear change"}.get(kind, kind)}


def _loss(trend: verdict.Trend | None) -> dict[str, Cell]:
    if trend is None or trend.n < verdict.LEAST:
        return {"loss": None, "change of loss": ""}
    ends = f"{trend.change:+.2g} [{trend.low:+.2g}, {trend.high:+.2g}]".replace("-", "\u2212")
    return {"loss": Figure(trend.last, digits=None), "change of loss": ends}


def _checks(held: verdict.HeldOut | None, fell: bool) -> dict[str, Cell]:
    """``fell``: whether the last check of any run is below its best one."""
    cells: dict[str, Cell] = {"held out (%)": None}
    if fell:
        cells |= {"best (%)": None, "at step": None, "change (points)": ""}
    if held is None:
        return cells
    low, high = wilson(round(held.last * held.n), held.n)
    cells["held out (%)"] = Figure(100 * held.last, 100 * low, 100 * high)
    if fell:
        ends = [100 * x for x in (held.change, held.low, held.high)]
        change = f"{ends[0]:+.1f} [{ends[1]:+.1f}, {ends[2]:+.1f}]".replace("-", "\u2212")
        cells["best (%)"] = Figure(100 * held.best)
        cells["at step"] = Figure(held.best_step, digits=0)
        cells["change (points)"] = change if held.change else "0"
    return cells


def _pace(state: RunProgress, log: Lines, ended: bool) -> dict[str, Cell]:
    """How far and how fast; ``ended``: whether no run has steps to come."""
    speed, seconds = kept_of_runs(logged.pace, log)
    steps: Cell = f"{state.step} of {state.total}" if state.total else str(state.step)
    if ended:
        steps = Figure(state.step, digits=0) if state.step else None
    return {
        "steps": steps,
        "trained for": duration(seconds if state.step else None),
        "ends in": duration(state.left),
        "images a second": None if speed is None else Figure(speed, digits=0),
        "lines not readable": str(log.broken) if log.broken else "",
    }


def _ended(states: list[str]) -> str:
    if len(states) == 1:
        return "The run is finished."
    return "All trained runs are finished." if "untrained" in states else "All runs are finished."


def _counted(checks: Mapping[str, verdict.HeldOut]) -> str:
    """What ``held out`` is."""
    ends = [sorted({getattr(held, name) for held in checks.values()}) for name in ("n", "checks")]
    n, many = [" to ".join(dict.fromkeys(map(str, (each[0], each[-1])))) for each in ends]
    return (
        f"Held out: accuracy in the last of {many} checks, of {n} images each, \u00b1 half of "
        "Wilson's 95 % interval."
    )


def _best(runs: int) -> str:
    return f"The last check is the best one{' of every run' if runs > 1 else ''}."
