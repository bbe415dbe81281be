"""How trainings go, from what they logged: how the loss ends, and whether accuracy on held-out
images fell below its best.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from grace_geom.plots.training import series
from grace_geom.records import number, wilson

PARTS = 5
"""Into how many parts a log is cut: the last is compared with the one before."""
LEAST = 4
"""Records of a part, at least: a short log has larger parts."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Trend:
    """How the loss ends.

    Attributes:
        kind: ``falls``, ``level`` (not clearly either), ``rises``, ``broken`` (the newest record is
            NaN or infinite) or ``short`` (too few records).
        last: Mean over the last records, a fifth of the log or four; NaN where there are too few.
        change: Less the mean over as many before.
        low, high: Welch's 95 % interval of the change, as if records were independent.
        n: How many the last records are.
    """

    kind: str
    last: float = math.nan
    change: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class HeldOut:
    """Accuracy on held-out images while a run trained.

    Attributes:
        best, last: In [0, 1].
        best_step, last_step: Where.
        change: ``last - best``.
        low, high: Newcombe's interval of the change, 95 % for the best of all checks at once.
        n: Images of a check.
        checks: How many there are.
    """

    best: float
    last: float
    best_step: int
    last_step: int
    change: float
    low: float
    high: float
    n: int
    checks: int

    @property
    def fell(self) -> bool:
        """Whether the end is clearly below the best."""
        return self.high < 0


def trend(rows: Rows, key: str = "loss") -> Trend:
    """How a logged loss ends: its last fifth, or four records, against as many before."""
    raw = [row[key] for row in rows if key in row]
    if raw and number(raw[-1]) is None:
        return Trend("broken")
    values = np.asarray(series(rows, key, most=10**9)[1])
    size = max(len(values) // PARTS, LEAST)
    if 2 * size > len(values):
        return Trend("short")
    before, last = values[-2 * size : -size], values[-size:]
    change = float(last.mean() - before.mean())
    low, high = _welch(last, before)
    kind = "falls" if high < 0 else "rises" if low > 0 else "level"
    return Trend(kind, float(last.mean()), change, low, high, size)


def _welch(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """95 % interval of the difference of two means (Welch 1947)."""
    parts = [float(x.var(ddof=1)) / len(x) for x in (a, b)]
    change, total = float(a.mean() - b.mean()), sum(parts)
    if total == 0:
        return change, change
    freedom = total**2 / sum(p**2 / (len(x) - 1) for p, x in zip(parts, (a, b), strict=True))
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(total)
    return change - half, change + half


def held(rows: Rows, key: str = "val_acc_pgd") -> HeldOut | None:
    """Best and last check of a number of held-out images; ``None`` without two checks.

    The best of ``k`` checks is high by chance too, so the interval is widened to hold for all ``k -
    1`` comparisons (Bonferroni). Images are the same at every check but their outcomes are not on
    record, so it is that of two samples (Newcombe 1998, method 10): too wide rather than too
    narrow.
    """
    count = {"val_acc_pgd": "val_pgd_n", "val_acc": "val_n"}[key]
    known = [
        (int(row["step"]), value, int(n))
        for row in rows
        if (value := number(row.get(key))) is not None and 0 <= value <= 1
        and (n := number(row.get(count))) is not None and n >= 1
    ]  # fmt: skip
    if len(known) < 2:
        return None
    best, last = max(known, key=lambda check: check[1]), known[-1]
    change = last[1] - best[1]
    level = 1 - 0.05 / (len(known) - 1)
    (l1, u1), (l2, u2) = (wilson(round(value * n), n, level) for _, value, n in (last, best))
    low = change - math.hypot(last[1] - l1, u2 - best[1])
    high = change + math.hypot(u1 - last[1], best[1] - l2)
    if best[0] == last[0]:
        low = high = 0.0
    return HeldOut(best[1], last[1], best[0], last[0], change, low, high, last[2], len(known))


def sentence(
    names: Mapping[str, str],
    states: Mapping[str, str],
    trends: Mapping[str, Trend],
    checks: Mapping[str, HeldOut],
    attacked: bool,
) -> str:
    """Yes or no to whether training goes well; then where the runs are, how their losses end, and
    whether held-out accuracy fell.

    Args:
        names: Run -> name in Markdown.
        states: Run -> state, as of :attr:`app.progress.RunProgress.ends`.
        trends: Run -> how its loss ends; only trained runs.
        checks: Run -> best and last check; runs with at least two.
        attacked: Whether the checks were under attack.
    """
    parts = [_states(names, states)]
    if trends:
        parts.append(_losses(names, trends))
    if trends:
        parts.append(_checks(names, checks, attacked, len(trends)))
    said = "; ".join(part for part in parts if part) + "."
    return _led(_head(_concerns(states, trends, checks), states), said)


_CONCERNS = {
    "broken": ("has a loss that is NaN or infinite", "have a loss that is NaN or infinite"),
    "fell": ("fell below its best check", "fell below their best checks"),
    "rises": ("gets worse", "get worse"),
    "stopped": ("ended before its last step", "ended before their last step"),
    "falls": ("still improves", "still improve"),
    "short": ("has too few records to tell", "have too few records to tell"),
}
"""Why a training does not go well or is not known to, for one run and for several."""
_OPEN = ("falls", "short")
"""What more training, or a longer log, may settle."""
_ENDS = ("stalled", "silent", "stopped")


def _concerns(
    states: Mapping[str, str], trends: Mapping[str, Trend], checks: Mapping[str, HeldOut]
) -> dict[str, str]:
    """Run -> the first that is true of it of :data:`_CONCERNS`; a run that is being written may
    still improve.
    """
    found = {}
    for run, state in states.items():
        kind = trends[run].kind if run in trends else ""
        true = {
            "broken": kind == "broken",
            "fell": run in checks and checks[run].fell,
            "rises": kind == "rises",
            "stopped": state in _ENDS,
            "falls": kind == "falls" and state != "running",
            "short": kind == "short" or state == "no record",
        }
        if (first := next((name for name, holds in true.items() if holds), None)) is not None:
            found[run] = first
    return found


def _head(found: Mapping[str, str], states: Mapping[str, str]) -> str:
    """The answer in a few words; empty where nothing was trained."""
    trained = sum(state != "untrained" for state in states.values())
    if not trained:
        return ""
    if not found:
        return "Yes, so far" if "running" in states.values() else "Yes"
    level = trained - len(found)
    if set(found.values()) == {"falls"} and level > len(found) and "running" not in states.values():
        one, many = _CONCERNS["falls"]
        end = one if len(found) == 1 else many
        return f"Mostly: {len(found)} of {trained} {end}, {level} show no clear change."
    said = []
    for kind, (one, many) in _CONCERNS.items():
        if count := sum(other == kind for other in found.values()):
            who = f"{count} of {trained}"
            if count == trained:
                who = {1: "it", 2: "both"}.get(trained, f"all {trained}")
            said.append(f"{who} {one if count == 1 else many}")
    word = "No" if any(kind not in _OPEN for kind in found.values()) else "Not yet"
    if len(found) < trained:
        word = "Not all"
    return f"{word}: {', '.join(said)}."


def _led(head: str, said: str) -> str:
    """A sentence behind its short answer."""
    if not head or head.endswith("."):
        return f"{head} {said}".strip()
    return f"{head}: {said[:1].lower()}{said[1:]}"


def _few(names: Mapping[str, str], runs: Sequence[str]) -> str:
    """Up to three names, else how many."""
    if len(runs) > 3:
        return f"{len(runs)} runs"
    shown = [f"**{names[run]}**" for run in runs]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


_STATES = {
    "running": ("is being written", "are being written"),
    "stalled": ("stopped writing before its last step", "stopped writing before their last step"),
    "silent": ("writes no more", "write no more"),
    "stopped": ("stopped before its end", "stopped before their end"),
    "finished": ("is finished", "are finished"),
    "untrained": ("was not trained", "were not trained"),
    "no record": ("has no log", "have no log"),
}


def _states(names: Mapping[str, str], states: Mapping[str, str]) -> str:
    said = []
    for state, (one, many) in _STATES.items():
        runs = [run for run, found in states.items() if found == state]
        if runs and len(runs) == len(states) > 1:
            return f"{'Both' if len(runs) == 2 else f'All {len(runs)}'} runs {many}"
        if runs:
            said.append(f"{_few(names, runs)} {one if len(runs) == 1 else many}")
    return ", ".join(said)


_TRENDS = {
    "broken": "is NaN or infinite in",
    "rises": "rises in",
    "falls": "still falls in",
    "level": "shows no clear change in",
    "short": "has too few records for a verdict in",
}


def _losses(names: Mapping[str, str], trends: Mapping[str, Trend]) -> str:
    said = []
    for kind, words in _TRENDS.items():
        runs = [run for run, found in trends.items() if found.kind == kind]
        if not runs:
            continue
        every = len(runs) == len(trends) > 3
        who = f"all {len(runs)}" if every else _few(names, runs)
        one = trends[runs[0]]
        numbers = ""
        if len(runs) == 1 and one.n >= LEAST:
            numbers = (
                f" ({one.last:.3g} over its last {one.n} records, {_signed(one.change)} "
                f"[{_signed(one.low)}, {_signed(one.high)}] against the {one.n} before)"
            )
        elif kind in ("falls", "rises"):
            shares = sorted(abs(t.change / (t.last - t.change)) for t in map(trends.get, runs) if t)
            ends = dict.fromkeys(f"{100 * share:.2g}" for share in (shares[0], shares[-1]))
            numbers = f" (by {' to '.join(ends)} % over its last fifth)"
        said.append(f"{words} {who}{numbers}")
    return "at the end of the log, the training loss " + ", ".join(said)


def _signed(value: float, form: str = ".2g") -> str:
    return f"{value:+{form}}".replace("-", "\u2212")


def _checks(
    names: Mapping[str, str], checks: Mapping[str, HeldOut], attacked: bool, trained: int
) -> str:
    what = "held-out accuracy" + (" under PGD" if attacked else ", without attack,")
    if not checks:
        return "held-out accuracy was checked less than twice, so it says nothing"
    fell = [run for run, found in checks.items() if found.fell]
    of = "" if len(checks) == trained else f" of {len(checks)} that were checked"
    if not fell:
        words = f"{what} ends not clearly below its best in any run{of}"
    else:
        worst = min(fell, key=lambda run: checks[run].change)
        w = checks[worst]
        points = [_signed(100 * x, ".1f") for x in (w.change, w.low, w.high)]
        numbers = (
            f"{100 * w.last:.1f} % at step {w.last_step} against {100 * w.best:.1f} % at step "
            f"{w.best_step}, {points[0]} [{points[1]}, {points[2]}] points, n = {w.n}"
        )
        most = f"most in **{names[worst]}**: " if len(fell) > 1 else ""
        overfit = ", robust overfitting" if attacked else ""
        words = f"{what} ends below its best in {_few(names, fell)}{of} ({most}{numbers}{overfit})"
    return words
