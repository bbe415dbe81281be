"""What a study tells of the learning rates that it tried, on a grid or in a search."""

from collections.abc import Mapping

from grace_geom.study.search import RateSearch
from grace_geom.study.trials import best_rate, beyond
from grace_geom.tables import Cell, Table

Trials = Mapping[str, Mapping[str, float | None]]
Searches = Mapping[str, RateSearch]
SCORE = (
    "for methods that train on attacked images, its harmonic mean with held-out PGD-10 accuracy."
)


def rates_table(trials: Trials) -> Table:
    """One line a trial."""
    cells: list[list[Cell | str]] = [
        [label, f"{float(rate):.3g}", "failed" if score is None else f"{100 * score:.1f}"]
        for label, tried in trials.items() for rate, score in tried.items()
    ]  # fmt: skip
    note = "Held-out ID accuracy after a short run of the same length for every method; " + SCORE
    return Table(["method", "lr", "score"], cells, notes=[note, *edges(trials)])


def edges(trials: Trials) -> list[str]:
    """A sentence for each method whose best rate is the smallest or the largest that was tried."""
    found = []
    for label, tried in trials.items():
        best, rates = best_rate(tried), sorted(map(float, tried))
        if best is not None and beyond(rates, best) is not None:
            side = "smallest" if best == rates[0] else "largest"
            found.append(
                f"{label}: the best rate, {best:.3g}, is the {side} tried; a wider --lr-grid may "
                "be fairer"
            )
    return found


def budget_table(searches: Searches) -> Table:
    """One line a method: range, trials, steps spent, the rate that was taken."""
    cells: list[list[Cell | str]] = []
    for label, search in searches.items():
        where, halving, best = search.where, search.halving, search.halving.best()
        failed = sum(bool(trial.error) for trial in halving.trials)
        cells.append(
            [
                label,
                f"{where.low:.3g} to {where.high:.3g}",
                str(len(halving.trials)) + (f" ({failed} failed)" if failed else ""),
                str(halving.steps),
                f"{best.lr:.3g}" if best else "-",
                f"{100 * best.scores[-1]:.1f}" if best else "-",
            ]
        )
    plans = dict.fromkeys(search.halving.ladder.text() for search in searches.values())
    note = (
        f"Asynchronous successive halving: {'; or '.join(plans)}. A trial that goes on continues "
        "its run; every schedule is that of the longest trials. Score: held-out ID accuracy at the "
        "last rung; " + SCORE
    )
    heads = ["method", "range", "trials", "steps spent", "lr", "score"]
    return Table(heads, cells, notes=[note, *search_notes(searches)])


def search_table(searches: Searches) -> Table:
    """One line a trial, with its score at each rung."""
    steps = list(dict.fromkeys(s for one in searches.values() for s in one.halving.ladder.steps))
    cells: list[list[Cell | str]] = []
    for label, search in searches.items():
        for trial in search.halving.trials:
            scores = dict(zip(search.halving.ladder.steps, trial.scores, strict=False))
            shown = [f"{100 * scores[s]:.1f}" if s in scores else "" for s in steps]
            if trial.error:
                shown[steps.index(search.halving.ladder.steps[trial.rung])] = "failed"
            cells.append([label, f"{trial.lr:.3g}", *shown])
    return Table(["method", "lr", *(f"step {s}" for s in steps)], cells)


def search_edges(searches: Searches) -> list[str]:
    """A sentence for each method whose best rate lies at an end of its range."""
    found = []
    for label, search in searches.items():
        best = search.halving.best()
        if best is not None and (side := search.edge()):
            end = "lower" if side == "smallest" else "upper"
            found.append(
                f"{label}: the best rate, {best.lr:.3g}, lies at the {end} end of the range; a "
                "wider --lr-range may be fairer"
            )
    return found


def search_notes(searches: Searches) -> list[str]:
    """:func:`search_edges`, and a sentence for each method whose trials all failed, or that spent
    less than the others.
    """
    found = search_edges(searches)
    for label, search in searches.items():
        halving = search.halving
        if not halving.over:
            continue
        if halving.best() is None:
            found.append(f"{label}: every trial failed; it trains with the recorded rate")
        if halving.steps < halving.ladder.budget:
            found.append(
                f"{label}: it spent {halving.steps} of {halving.ladder.budget} steps, for too many "
                "trials failed"
            )
    return found


def rates_text(trials: Trials, searches: Searches) -> str:
    """The part of ``table.md`` on learning rates; empty where none were tried."""
    parts = []
    if trials:
        parts.append("## Learning rates tried\n\n" + rates_table(trials).markdown())
    if searches:
        parts.append("## Search for learning rates\n\n" + budget_table(searches).markdown())
        parts.append(search_table(searches).markdown())
    return "\n".join(parts)
