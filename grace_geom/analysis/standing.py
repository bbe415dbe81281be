"""Which of several checkpoints is best, from the evaluations beside them: the order, who is not
clearly worse in each column, and the sentence that says so.
"""

import math
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from grace_geom.evaluation.record_files import record_file
from grace_geom.plots.legend import Identity, Legend, without_seed
from grace_geom.plots.tradeoff import tradeoff
from grace_geom.plots.variants import too_long
from grace_geom.records import (
    Accuracy,
    Estimate,
    EvalRecord,
    RecordError,
    headline_attack,
    how_intervals,
    image_difference,
    summarise,
)
from grace_geom.records.attack import attack_said

COLUMNS = ("HM", "ID", "OOD", "Adv", "HM'", "ZS", "NatAdv")
"""In the order of the table, the first that a checkpoint has is what they are ordered by."""
WORDS = {
    "HM": "harmonic mean of ID, OOD and Adv",
    "ID": "test images of the training data",
    "OOD": "mean over shifted sets",
    "Adv": "under attack",
    "HM'": "harmonic mean with zero-shot and natural adversarial sets",
    "ZS": "mean over zero-shot sets",
    "NatAdv": "mean over natural adversarial sets",
}
"""What the columns are."""
CLEAR = 0.05
"""Two-sided p below which a difference counts."""
MOST_NAMED = 3
"""Checkpoints that the sentence names at most."""
MOST_POINTS, MOST_LETTERS = 8, 90
"""Points of a figure that have names, and letters of all of these; of more, points have the places
of the table.
"""


@dataclass(frozen=True)
class Ahead:
    """The best checkpoint of a column against another.

    Attributes:
        other: Label of the other.
        clear: Whether the best is surely ahead.
        gap: ``+1.0 points [−0.3, 2.3]``; empty where intervals alone tell, or nothing does.
        reason: Why the two may not be compared; empty where they may.
    """

    other: str
    clear: bool
    gap: str = ""
    reason: str = ""


@dataclass(frozen=True)
class RankedCheckpoints:
    """Evaluated checkpoints in order.

    Attributes:
        records: Label -> evaluation, the best first; those without the number come last.
        estimates: Label -> columns, in the same order.
        missing: Label -> why there is no evaluation.
        by: The column that orders them; empty where none has a number.
        files: Label -> checkpoint file, of all that were asked for.
    """

    records: Mapping[str, EvalRecord]
    estimates: Mapping[str, Mapping[str, Estimate | None]]
    missing: Mapping[str, str]
    by: str
    files: Mapping[str, Path]

    @property
    def columns(self) -> list[str]:
        """Those of :data:`COLUMNS` that some checkpoint has."""
        return [c for c in COLUMNS if any(known.get(c) for known in self.estimates.values())]

    @property
    def legend(self) -> Legend:
        """Their looks, by recorded method and seed."""
        who = {
            label: Identity(r.method, without_seed(label.rpartition("/")[2]), r.seed)
            for label, r in self.records.items()
        }
        return Legend.of(who, {label: label for label in who})

    def ranks(self) -> dict[str, str]:
        """``1`` for the best and so on, of those that have the number; none where some of them may
        not be compared.
        """
        if not self.by or self._unlike(self.by):
            return {}
        ranked = [label for label, known in self.estimates.items() if known.get(self.by)]
        return {label: str(i) for i, label in enumerate(ranked, 1)}

    def numbers(self) -> dict[str, str]:
        """Ranks, and letters for those without one, to stand at points where names are too long or
        too many; empty where they are not.
        """
        names, ranks = list(self.records), self.ranks()
        many = len(names) > MOST_POINTS or sum(map(len, names)) > MOST_LETTERS
        others = [label for label in names if label not in ranks]
        letters = {label: _letter(i) for i, label in enumerate(others)}
        return ranks | letters if many or too_long(names) else {}

    def _unlike(self, column: str) -> bool:
        """Whether the best of a column may not be compared with some other."""
        return any(a.reason for a in self.ahead(column)[1])

    def accuracies(self) -> Iterator[Accuracy]:
        """Every accuracy of every checkpoint."""
        for record in self.records.values():
            yield from record.accuracies

    def ahead(self, column: str) -> tuple[str, list[Ahead]]:
        """The best checkpoint of a column, and how it stands against each other one, the next best
        first.
        """
        known = {x: e for x, of in self.estimates.items() if (e := of.get(column)) is not None}
        best, *others = sorted(known, key=lambda label: -known[label].value)
        return best, [self._against(best, other, column) for other in others]

    def _against(self, best: str, other: str, column: str) -> Ahead:
        a, b = (self.records[label].accuracies for label in (best, other))
        found = image_difference(a, b, column)
        if found is None:
            return Ahead(other, False, reason="a number is missing")
        if math.isnan(found.p):
            return Ahead(other, False, reason=found.how.partition(": ")[2])
        low, high = (_signed(end).lstrip("+") for end in (found.low, found.high))
        gap = f"{_signed(found.value)} points [{low}, {high}]"
        return Ahead(other, found.p < CLEAR and found.low > 0, gap)

    def leaders(self, column: str) -> frozenset[str]:
        """The best of a column and those that are not clearly worse; none where nobody else has the
        number, or somebody has one that may not be compared.
        """
        best, others = self.ahead(column)
        if not others or any(a.reason for a in others):
            return frozenset()
        return frozenset([best, *(a.other for a in others if not a.clear)])

    def sentence(self) -> str:
        """Which checkpoint is best, by how much over the next, and which may be as good; in
        Markdown. Empty where none has a number.
        """
        if not self.by:
            return ""
        best, others = self.ahead(self.by)
        what = "the best trade-off" if self.by == "HM" else f"the highest {self.by}"
        if any(a.reason for a in others):
            what = f"the highest {self.by} on record"
        e = self.estimates[best][self.by]
        assert e is not None  # it is ahead by it
        head = f"**{best}** has {what}, {self.by} {100 * e.value:.1f} % "
        head += f"[{100 * e.low:.1f}, {100 * e.high:.1f}]"
        close = [a for a in others if not (a.clear or a.reason)]
        clear, unlike = [a for a in others if a.clear], [a for a in others if a.reason]
        parts = [f"not clearly ahead of {_listed(close)}"] if close else []
        if len(clear) > 1 and close:
            parts.append(f"clearly ahead of the other {len(clear)}")
        elif clear:
            parts.append(f"clearly ahead of {_listed(clear)}")
        parts += [f"not to be compared with {_listed(unlike)}"] if unlike else []
        return f"{head}: {'; '.join(parts)}." if parts else f"{head}."


def _listed(some: Sequence[Ahead]) -> str:
    """``**a** (+1.0 points [−0.3, 2.3]) and 4 more``."""
    shown = some if len(some) <= MOST_NAMED else some[: MOST_NAMED - 1]
    words = [f"**{a.other}** ({a.gap or a.reason})" for a in shown]
    words += [f"{len(some) - len(shown)} more"] if len(some) > len(shown) else []
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _letter(i: int) -> str:
    """``a`` to ``z``, then ``a2`` and so on."""
    return string.ascii_lowercase[i % 26] + (str(i // 26 + 1) if i >= 26 else "")


def _signed(share: float) -> str:
    """In points, with one digit and a true minus; never ``-0.0``."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "\u2212")


def standing(files: Mapping[str, Path], contents: Mapping[str, str]) -> RankedCheckpoints:
    """Read the evaluations beside checkpoints, and order them.

    Args:
        files: Label -> checkpoint file.
        contents: Label -> its SHA-256: an evaluation of another content does not count.
    """
    records: dict[str, EvalRecord] = {}
    missing: dict[str, str] = {}
    for label, file in files.items():
        try:
            record = EvalRecord.load(record_file(file))
        except RecordError as error:
            missing[label] = str(error) if record_file(file).exists() else "not evaluated"
            continue
        if contents[label] != record.checkpoint:
            missing[label] = "evaluated before the checkpoint was last written"
            continue
        records[label] = record
    estimates = {x: summarise(r.accuracies, COLUMNS) for x, r in records.items()}
    by = next((c for c in COLUMNS if any(known.get(c) for known in estimates.values())), "")

    def number(label: str) -> float:
        found = estimates[label].get(by)
        return found.value if found else -math.inf

    ordered = sorted(records, key=number, reverse=True)
    return RankedCheckpoints(
        {x: records[x] for x in ordered}, {x: estimates[x] for x in ordered}, missing, by, files
    )


def how_measured(standing: RankedCheckpoints) -> str:
    """Estimators, attack, images and intervals of the numbers, in plain text."""
    attacked = [a for r in standing.records.values() for a in headline_attack(r.accuracies)]
    attacks = dict.fromkeys(
        f"{attack_said(a.attack, 'name')} on {a.n} images" for a in attacked if a.attack
    )
    clean = sorted({a.n for a in standing.accuracies() if a.attack is None})
    n = " to ".join(dict.fromkeys(map(str, (clean[0], clean[-1])))) if clean else ""
    parts = [f"{column}: {WORDS[column]}" for column in standing.columns]
    if attacks and "Adv" in standing.columns:
        at = standing.columns.index("Adv")
        parts[at] = f"Adv: under {' or '.join(attacks)}"
    values = [e for known in standing.estimates.values() for e in known.values()]
    head = f"Top-1 accuracy in % on {n} images a set" if n else "Top-1 accuracy in %"
    return (
        f"{head}, {how_intervals(values)}, which say nothing of other training seeds. "
        "Bold: the best of a column and those that are not clearly worse on the same images; none "
        "where some differ in attack or images. "
        f"{'; '.join(parts)}."
    )


def figures(standing: RankedCheckpoints) -> dict[str, tuple[str, go.Figure]]:
    """Adversarial and OOD accuracy against ID accuracy, by file name and with a title; those
    without two checkpoints that have the numbers are left out.
    """
    drawn = {}
    for column, title in (
        ("Adv", "Accuracy under attack (%)"),
        ("OOD", "Accuracy under shift (%)"),
    ):
        known = {x: of for x, of in standing.estimates.items() if of.get("ID") and of.get(column)}
        titles, size = ("ID accuracy (%)", title), (380, 230)
        if len(known) < 2:
            continue
        figure = tradeoff(
            known, standing.legend, "ID", column, titles, size, standing.numbers() or None
        )
        if figure is not None:
            drawn[f"standing-{column.lower()}"] = (
                f"{title.removesuffix(' (%)')} against ID accuracy",
                figure,
            )
    return drawn
