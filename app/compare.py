"""Runs against each other: who leads in a column, by how much over the baseline, and what may not
be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app import paired
from app.paired import Gap
from app.store import Entry, settings
from grace_geom.records import (
    SUITES_OF,
    Accuracy,
    Estimate,
    attack_said,
    by_construction,
    convention_notes,
    how_intervals,
    in_levels,
    questions,
    ten_to,
    titles,
)
from grace_geom.records.summary import OVER_SEEDS


@dataclass(frozen=True)
class Verdict:
    """Whether the best run is clearly ahead of another.

    Attributes:
        other: Who it is compared with.
        clear: Whether it is ahead.
        gap: The paired difference that says so; ``None`` where the two cannot be paired, or where
            their intervals do not even overlap.
        reason: Why there is no verdict; empty where there is one.
    """

    other: Entry
    clear: bool
    gap: Gap | None = None
    reason: str = ""


@dataclass(frozen=True)
class Lead:
    """Who is best in a column.

    Attributes:
        best: The run.
        estimate: Its number.
        delta: What it has over the baseline, in shares of 1; ``None`` where it is the baseline or
            cannot be compared.
        verdicts: On all others, the second best first.
    """

    best: Entry
    estimate: Estimate
    delta: float | None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def rivals(self) -> tuple[Entry, ...]:
        """Runs that may be as good."""
        return tuple(v.other for v in self.verdicts if not v.clear)


def lead(column: str, entries: Sequence[Entry], baseline: Entry | None) -> Lead | None:
    """The run with the highest number of a column; ``None`` where none has it."""
    known = [(e, found) for e in entries if (found := e.estimates.get(column)) is not None]
    if not known:
        return None
    (best, top), *others = sorted(known, key=lambda pair: -pair[1].value)
    verdicts = tuple(_verdict(column, (best, top), other, i == 0) for i, other in enumerate(others))
    return Lead(best, top, delta(best, baseline, column), verdicts)


def _verdict(
    column: str, best: tuple[Entry, Estimate], other: tuple[Entry, Estimate], second: bool
) -> Verdict:
    """By the paired difference where there is one, else by whether the intervals overlap.

    Intervals that do not overlap need no pairs: ``sd(a - b) <= sd(a) + sd(b)`` whatever the two
    have in common. Only of the second best the difference is always wanted, to be shown.
    """
    (ours, mine), (theirs, yours) = best, other
    if reason := incomparable(ours, theirs, SUITES_OF[column]):
        return Verdict(theirs, False, reason=reason)
    alike, apart = paired.same_kind(ours, theirs), yours.high < mine.low
    if alike and apart and not second:
        return Verdict(theirs, True)
    if (found := paired.gap(ours, theirs, column)) is not None:
        return Verdict(theirs, found.clear, found)
    if not alike:
        return Verdict(theirs, False, reason="a mean over seeds and a single run")
    return Verdict(theirs, apart)


def head_to_head(entries: Sequence[Entry], names: Mapping[str, str], most: int = 3) -> list[str]:
    """GRACE against the best other run by HM, a sentence for each of its runs; without GRACE the
    best against the next.

    Args:
        entries: Evaluated runs.
        names: How they are called, escaped for Markdown.
        most: Sentences at most, those with the highest HM.

    Returns:
        Such as
        ``**grace-s0**: HM 72.9 %, 0.4 [−0.8, 1.7] behind **at-s0**, not clearly. Against it, ...``.
    """
    ranked = sorted(
        (e for e in entries if e.estimates.get("HM")), key=lambda e: -_number(e, "HM")
    )  # fmt: skip
    ours = [e for e in ranked if e.method == "grace"] or ranked[:1]
    others = [e for e in ranked if e not in ours]
    if not others:
        ours, others = ranked[:1], ranked[1:]
    return [_against(e, others[0], names) for e in ours[:most]] if others else []


def _against(ours: Entry, other: Entry, names: Mapping[str, str]) -> str:
    head = f"**{names[ours.id]}**: HM {100 * _number(ours, 'HM'):.1f} %"
    if (value := delta(ours, other, "HM")) is None:
        return f"{head}; **{names[other.id]}**: HM {100 * _number(other, 'HM'):.1f} %, measured otherwise."
    front, behind = (other, ours) if value < 0 else (ours, other)
    gap = paired.gap(front, behind, "HM")
    size = _escaped(points(gap)) if gap else f"{100 * abs(value):.1f}"
    sure = ", not clearly" if gap and not gap.clear else ""
    said = f"{head}, {size.lstrip('+')} {'behind' if value < 0 else 'ahead of'} **{names[other.id]}**{sure}."
    known = {column: difference_of(ours, other, column) for column in ("ID", "OOD", "Adv")}
    each = ", ".join(f"{column} {_escaped(found)}" for column, found in known.items() if found)
    return f"{said} Against it, in points: {each}." if each else said


def difference_of(ours: Entry, other: Entry, column: str) -> str | None:
    """``+2.2 [1.0, 3.4]``, without an interval where there are no pairs; ``None`` where they cannot
    be compared.
    """
    if (value := delta(ours, other, column)) is None:
        return None
    found = paired.gap(ours, other, column)
    return points(found) if found else _signed(value)


def _escaped(interval: str) -> str:
    return interval.replace("[", "\\[").replace("]", "\\]")


def _number(entry: Entry, column: str) -> float:
    found = entry.estimates.get(column)
    return found.value if found else float("-inf")


def points(gap: Gap) -> str:
    """``+5.7 [2.3, 9.0]``."""
    return f"{_signed(gap.value)} [{_signed(gap.low).lstrip('+')}, {_signed(gap.high).lstrip('+')}]"


def _signed(share: float) -> str:
    """In points, with one digit and a true minus; never ``-0.0``."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "\u2212")


def delta(entry: Entry, baseline: Entry | None, column: str) -> float | None:
    """``entry - baseline`` in a column; ``None`` for the baseline itself, where the two cannot be
    compared, and where the images were chosen by what the baseline gets wrong.
    """
    if (
        baseline is None
        or baseline.id == entry.id
        or incomparable(entry, baseline, SUITES_OF[column])
    ):
        return None
    if by_construction(column, baseline.method, baseline.accuracies):
        return None
    ours, theirs = entry.estimates.get(column), baseline.estimates.get(column)
    return ours.value - theirs.value if ours and theirs else None


@lru_cache(maxsize=4096)
def asked(entry: Entry) -> Mapping[tuple[str, str], Accuracy]:
    """What the summary of an entry is made of, by suite and data set."""
    return questions(entry.accuracies)


def incomparable(entry: Entry, other: Entry, suites: Sequence[str]) -> str:
    """Why the numbers of two runs may not be set against each other; empty where they may."""
    return _incomparable(entry, other, tuple(suites))


@lru_cache(maxsize=4096)
def _incomparable(entry: Entry, other: Entry, suites: tuple[str, ...]) -> str:
    ours, theirs = asked(entry), asked(other)
    for suite in suites:
        mine = {key: a for key, a in ours.items() if key[0] == suite}
        others = {key: a for key, a in theirs.items() if key[0] == suite}
        if mine and others and mine.keys() != others.keys():
            return f"other data sets in suite {suite}"
        for key in mine.keys() & others.keys():
            if reason := _difference(mine[key], others[key]):
                return f"{reason} ({'/'.join(key)})"
    return ""


def _difference(a: Accuracy, b: Accuracy) -> str:
    if a.spec != b.spec:
        return f"data {a.spec} and {b.spec}"
    if a.attack != b.attack:
        return "another attack or other attack settings"
    known = a.subset.get("ids_sha256"), b.subset.get("ids_sha256")
    if a.n != b.n or (all(known) and known[0] != known[1]):
        return f"other images, n = {a.n} and {b.n}"
    contents = a.subset.get("content"), b.subset.get("content")
    if all(contents) and contents[0] != contents[1]:  # the same numbers in a set that was changed
        return f"other images, labels or class names in {a.spec}"
    if bool(a.metric and a.labels) != bool(b.metric and b.labels):
        return "mean per-class accuracy of one, top-1 of the other: evaluate again"
    return ""


_PLACES = {
    "out",
    "resume",
    "provenance",
    "device",
    "report_to",
    "tensorboard",
    "workers",
    "stop_after",
}


_UNTRAINED = {
    "method",
    "seed",
    "model",
    "pretrained",
    "data",
    "ood",
    "data_root",
    "templates",
    "val_fraction",
    "split_seed",
    "val_images",
    "image_size",
    "precision",
}
"""Settings that mean something where nothing is trained."""


def differing(entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Settings in which the runs differ, by run; where a run has no such setting, or it has no
    effect, it is left out.

    A zero-shot run records defaults of the training that it never did.
    """
    return {run: dict(known) for run, known in _differing(tuple(entries)).items()}


@lru_cache(maxsize=256)
def _differing(entries: tuple[Entry, ...]) -> dict[str, dict[str, Any]]:
    flat = {}
    for e in entries:
        known = {k: v for k, v in settings(e).items() if k not in _PLACES}
        idle = known.keys() - _UNTRAINED if known.get("method") == "zero-shot" else set()
        flat[e.id] = known, idle
    keys = dict.fromkeys(key for plain, _ in flat.values() for key in plain)
    wanted = [
        key
        for key in keys
        if len({repr(plain.get(key)) for plain, idle in flat.values() if plain and key not in idle})
        > 1
    ]
    return {
        run: {key: plain[key] for key in wanted if key in plain and key not in idle}
        for run, (plain, idle) in flat.items()
    }


def written(key: str, value: Any) -> str:
    """A setting as people write it: perturbations of pixels as ``4/255``; ``alpha`` may be a share
    of weights too.
    """
    chosen = in_levels(value) if key in ("eps", "alpha") and isinstance(value, float) else None
    return chosen or str(value)


def told(key: str, value: Any) -> str:
    """The same for tables and sentences: ``on``, ``none``, ``100,000`` and powers of ten."""
    said = titles.weights(str(value)) if key == "targets" else written(key, value)
    if isinstance(value, float) and said == str(value):
        return _figure(value)
    if key == "curvature_labels" and said == "true":  # no switch: the labels are the true ones
        return "of the data"
    said = said.replace(" {}", " {class}")  # of a template for texts
    return {"True": "on", "False": "off", "None": "none", "{}": "none"}.get(said, said)


def _figure(value: float) -> str:
    """Whole numbers without a point, and powers of ten as such."""
    factor, _, power = str(value).partition("e")
    if power:
        tens = ten_to(int(power))
        said = tens if factor == "1" else f"{factor}\u00b7{tens}"
    else:
        said = f"{value:,.0f}" if value.is_integer() else factor
    return said.replace("-", "\u2212")


def how_measured(entries: Sequence[Entry], suites: Sequence[str], bars: str = "bars") -> str:
    """Estimator, n, attack, seeds and interval of what is drawn, as one sentence or two.

    Args:
        entries: That are drawn.
        suites: Of the numbers.
        bars: What the intervals are called where they are not drawn as bars.
    """
    drawn = [a for e in entries for key, a in asked(e).items() if key[0] in suites]
    clean = sorted({a.n for a in drawn if a.attack is None})
    attacked = sorted({a.n for a in drawn if a.attack is not None})
    parts = (
        [f"Top-1 accuracy on {_range(clean)} images a data set"] if clean else ["Top-1 accuracy"]
    )
    if attacked:
        attacks = {attack_said(a.attack) for a in drawn if a.attack is not None}
        parts.append(f"{'; '.join(sorted(attacks))} on {_range(attacked)} images")
    of_runs = [
        a for e in entries for run in e.members or (e,)
        for key, a in asked(run).items() if key[0] in suites
    ]  # fmt: skip
    return " ".join([", ".join(parts) + ".", *convention_notes(of_runs), _bars(entries, bars)])


def _bars(entries: Sequence[Entry], word: str) -> str:
    """What the intervals are, of means over seeds and of single runs."""
    sentences = []
    means = [e for e in entries if e.members]
    if means:
        by_seed = all(len({m.seed for m in e.members}) == len(e.members) for e in means)
        seeds = sorted({m.seed for e in means for m in e.members})
        of = (
            f"training seeds {_listed(seeds)}" if by_seed else "runs that differ in more than seeds"
        )
        over = OVER_SEEDS if by_seed else OVER_SEEDS.replace("seeds", "runs")
        sentences.append(f"Means over {of}; {word}: {over}.")
    single = sorted(
        {
            e.seed
            for e in entries
            if not e.members and e.evaluation and e.evaluation.seed is not None
        }
    )
    if single or not means:
        alone = [e for e in entries if not e.members]
        columns = [found for e in alone for found in e.estimates.values()]
        of = f"Single runs (seed {_listed(single)}): {word}" if single else word.capitalize()
        sentences.append(
            f"{of} are {how_intervals(columns)}, which say nothing of other training seeds."
        )
    return " ".join(sentences)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
