"""The overview's order: who leads in each column, who is not clearly worse, and the sentence that
says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app import compare, paired
from app.shell import text
from app.store import Entry
from grace_geom.plots.variants import too_long
from grace_geom.records import Estimate, headline_whole, mean_accuracy, mean_of

COLUMNS = ("HM", "ID", "OOD", "Adv", "HM'", "ZS", "NatAdv")
"""In the order of the table, the first that runs have is what they are ordered by."""
MOST_NAMED, MOST_LETTERS = 8, 90
"""Points of a small figure that have names, and letters of all of these; of more, points have the
numbers of the table's rows.
"""

MOST_KEYED = 24
"""Runs that a caption names."""


@dataclass(frozen=True)
class Ranking:
    """Runs in order.

    Attributes:
        entries: Best first; those without the number come last.
        by: The column that orders them; empty where no run has a number.
        leads: Who leads in each column that some run has.
        baseline: What differences are to.
    """

    entries: tuple[Entry, ...]
    by: str
    leads: Mapping[str, compare.Lead]
    baseline: Entry | None

    def bold(self, column: str) -> frozenset[str]:
        """Ids of the best run of a column and of those that are not clearly worse; none where
        nobody else has the number.
        """
        lead = self.leads.get(column)
        if lead is None or not lead.verdicts:
            return frozenset()
        close = [v.other.id for v in lead.verdicts if not v.clear and not v.reason]
        return frozenset([lead.best.id, *close])

    def numbers(self, names: Mapping[str, str]) -> dict[str, str]:
        """``1`` for the best and so on, to stand at points where names are too long or too many for
        that; empty where they are not.
        """
        shown = [names[e.id] for e in self.entries]
        many = len(shown) > MOST_NAMED or sum(map(len, shown)) > MOST_LETTERS
        if not many and not too_long(shown):
            return {}
        return {e.id: str(i) for i, e in enumerate(self.entries, 1)}

    def key(self, names: Mapping[str, str]) -> str:
        """``1: at; 2: grace``, for files, which have no table beside them; empty without numbers
        and of more runs than a caption holds.
        """
        numbers = self.numbers(names)
        if len(numbers) > MOST_KEYED:
            return ""
        return "; ".join(f"{number}: {text(names[run])}" for run, number in numbers.items())

    def unsure(self, column: str) -> int:
        """How many runs may be as good as the best."""
        return max(0, len(self.bold(column)) - 1)


def ranking(shown: Sequence[Entry], baseline: Entry | None) -> Ranking:
    """Order the runs by the first of :data:`COLUMNS` that one of them has."""
    leads = {
        column: found
        for column in COLUMNS
        if (found := compare.lead(column, shown, baseline)) is not None
    }
    by = next(iter(leads), "")
    ordered = sorted(shown, key=lambda e: _number(e, by), reverse=True)
    return Ranking(tuple(ordered), by, leads, baseline)


def _number(entry: Entry, column: str) -> float:
    found = entry.estimates.get(column)
    return found.value if found else float("-inf")


def sentence(ranked: Ranking, names: Mapping[str, str]) -> str:
    """The answer of the overview: the best run, and whether it is clearly ahead of the next one, of
    GRACE and of the baseline, by differences paired over images and seeds.

    Args:
        ranked: The runs.
        names: How they are called, escaped for Markdown.
    """
    lead = ranked.leads[ranked.by]
    best, found = lead.best, lead.estimate
    ends = f"\\[{100 * found.low:.1f}, {100 * found.high:.1f}\\]"
    what = "the best trade-off" if ranked.by == "HM" else f"the highest {ranked.by}"
    role = ", the baseline," if ranked.baseline and best.id == ranked.baseline.id else ""
    head = f"**{names[best.id]}**{role} has {what}, {ranked.by} {100 * found.value:.1f} % {ends}"
    if not lead.verdicts:
        return f"{head}; no other chosen run has this number."
    said: dict[str, list[str]] = {}
    for other in _rivals(ranked, lead):
        how, against = _ahead(best, other, lead, ranked, names)
        said.setdefault(how, []).append(against)
    parts = [f"{how} {_listed(names)}" for how, names in said.items()]
    return f"{head}: {', '.join(parts)}."


def _rivals(ranked: Ranking, lead: compare.Lead) -> list[Entry]:
    """The next best, the best run of GRACE, the baseline: those that are not the leader."""
    others = [v.other for v in lead.verdicts]
    grace = [e for e in others if e.method == "grace"][:1]
    base = [e for e in others if ranked.baseline and e.id == ranked.baseline.id]
    wanted = {e.id: e for e in (others[0], *grace, *base)}
    return [wanted[run] for run in wanted]


def _ahead(
    best: Entry, other: Entry, lead: compare.Lead, ranked: Ranking, names: Mapping[str, str]
) -> tuple[str, str]:
    """``clearly ahead of`` and ``**at-s0** (+5.7 points [2.3, 9.0])``."""
    role = "the baseline " if ranked.baseline and other.id == ranked.baseline.id else ""
    name = f"{role}**{names[other.id]}**"
    verdict = next(v for v in lead.verdicts if v.other.id == other.id)
    if verdict.reason:
        return "not to be compared with", f"{name} ({text(verdict.reason)})"
    how = "clearly ahead of" if verdict.clear else "not clearly ahead of"
    gap = verdict.gap or paired.gap(best, other, ranked.by)
    if gap is not None:
        size = compare.points(gap).replace(" [", " points [")
        return how, f"{name} ({text(size)})"
    value = compare.delta(best, other, ranked.by)
    apart = "intervals do not overlap" if verdict.clear else "intervals overlap"
    size = "" if value is None else f"{100 * value:+.1f}, "
    return how, f"{name} ({text(size)}{apart})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def autoattack(entry: Entry) -> Estimate | None:
    """Accuracy under the whole of AutoAttack where ``Adv`` is its APGD-CE part; ``None`` where it
    was not run.
    """
    each = [headline_whole(run.accuracies) for run in entry.members or (entry,)]
    wholes = [[a for a in some if a.attack_name == "autoattack"] for some in each]
    data = dict.fromkeys(a.data for some in wholes for a in some)
    sets = [[a for some in wholes for a in some if a.data == name] for name in data]
    if not sets or any(len(some) < len(each) for some in sets):
        return None
    return mean_of([mean_accuracy(some) for some in sets])
