"""Two runs on the same question, as the page of images compares them: which ones, what they were
asked, and the sentence that says who is right more often.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from app.paired import LEVEL
from app.shell import Choice, inline, text
from app.store import Entry
from grace_geom.plots import confusion
from grace_geom.plots.accuracies import SUITE_TITLES
from grace_geom.records import Accuracy, RecordError, attack_said, questions, set_difference


@dataclass(frozen=True)
class TwoRuns:
    """The two runs that are compared, and what they are asked.

    Attributes:
        choice: Of this session.
        runs: One or two of them, the one that others are compared with first.
        asked: The number of each on the same question; fewer where it is not on record.
    """

    choice: Choice
    runs: tuple[Entry, ...]
    asked: tuple[Accuracy, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(run.id for run in self.runs)

    def name(self, i: int) -> str:
        """Of a run, as plain text."""
        return self.choice.names[self.runs[i].id]

    def color(self, i: int) -> str:
        """Of a run."""
        return self.choice.legend.looks[self.runs[i].id].color

    @property
    def attacked(self) -> bool:
        """Whether the question is about attacked images."""
        return any(a.attack for a in self.asked) or not self.asked

    @property
    def set(self) -> str:
        """The set of the question, as the gallery calls it."""
        a = self.asked[0] if self.asked else None
        return a.data if a and a.suite not in ("id", "adv") else "id"


def chosen(choice: Choice, pictured: Collection[str] = ()) -> TwoRuns:
    """The controls, behind one button: two runs and a question that both were asked.

    Args:
        choice: Of this session.
        pictured: Runs whose images were measured; where there are two, they are offered first.
    """
    entries = {e.id: e for e in choice.single}
    first_seen = [e for e in entries if e in pictured] if len(pictured) > 1 else [*entries]
    base = choice.base_run.id if choice.base_run else ""
    base = base if base in first_seen else first_seen[0]
    with st.popover("Choose runs and images", key="images_choice"):
        second = _run("Run", _best(entries, first_seen, base), entries, choice, "images_run")
        others = {i: e for i, e in entries.items() if i != second}
        first = None
        if others:
            default = next((i for i in (base, *first_seen) if i in others), next(iter(others)))
            first = _run("Against", default, others, choice, "images_other")
        runs = tuple(entries[i] for i in (first, second) if i is not None)
        both = _shared(runs)
        key = None
        if both:
            titles = {title(a[0]): key for key, a in both.items()}
            attacked = next((t for t, k in titles.items() if k[0] == "adv"), next(iter(titles)))
            said = st.selectbox(
                "Images", list(titles), list(titles).index(attacked), key="images_asked",
                width=300, bind="query-params", filter_mode="contains",
            )  # fmt: skip
            key = titles[said]
    return TwoRuns(choice, runs, both[key] if key else ())


def _run(label: str, default: str, entries: Mapping[str, Entry], choice: Choice, key: str) -> str:
    ids = list(entries)
    return st.selectbox(
        label, ids, ids.index(default), key=key, width=300, bind="query-params",
        filter_mode="contains", format_func=lambda run: choice.names.get(run, run),
    )  # fmt: skip


def _best(entries: Mapping[str, Entry], among: Sequence[str], base: str) -> str:
    """The run of highest harmonic mean that is not the baseline."""

    def score(run: str) -> float:
        known = [e for c in ("HM", "Adv", "ID") if (e := entries[run].estimates.get(c))]
        return known[0].value if known else -1.0

    others = [run for run in among if run != base]
    return max(others, key=score) if others else base


def _shared(runs: Sequence[Entry]) -> dict[tuple[str, str], tuple[Accuracy, ...]]:
    """Numbers that all runs have on the same question and images, by suite and data set."""
    each = [questions(run.accuracies) for run in runs]
    found = {}
    for key, first in each[0].items():
        there = [own[key] for own in each if key in own]
        same = all(a.attack == first.attack and a.paired_with(first) for a in there[1:])
        if len(there) == len(runs) and same:
            found[key] = tuple(there)
    return found


def title(a: Accuracy) -> str:
    """A question: ``shapes (ID)``; ``shapes under APGD-CE, ε = 4/255``."""
    if a.attack:
        return f"{a.data} under {attack_said(a.attack, 'name')}"
    return f"{a.data} ({SUITE_TITLES.get(a.suite, a.suite)})"


def of_pictures(asked: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    """``a weaker attack (PGD, 10 steps)``: the attack of the pictures, where it is another one than
    that of the question; else empty. It is called weaker where the other one has as large a radius
    and as many steps of the same kind, or is an ``apgd`` or AutoAttack of as many.

    Args:
        asked: As :attr:`Accuracy.attack`; ``None`` for clean images.
        settings: Of ``image_gallery``.
    """
    if asked is None:
        return ""
    steps, eps = settings.get("attack_steps"), float(settings.get("eps", 0))
    parts = list(asked.get("parts", ())) or [asked]
    theirs, name = parts[0].get("steps"), str(asked.get("name", ""))
    radius, linf = float(asked.get("eps", 0)), asked.get("norm", "linf") == "linf"
    same_radius = linf and math.isclose(radius, eps)
    if name == "pgd" and theirs == steps and same_radius:
        return ""
    known = isinstance(theirs, int) and isinstance(steps, int) and theirs >= steps
    kind = name in ("pgd", "autoattack") or name.startswith("apgd")
    weaker = known and kind and linf and radius >= eps * (1 - 1e-9)
    return f"{'a weaker' if weaker else 'another'} attack (PGD, {inline(steps)} steps)"


def answer(pair: TwoRuns) -> str:
    """How many images only one of the two gets right, and whether that is more than chance."""
    if len(pair.runs) < 2:
        return "Choose two runs or more in the sidebar: images are compared between two."
    if not pair.asked:
        return (
            "These two runs were not evaluated on the same images: `python -m grace_geom.evaluate` "
            "on both of them makes them comparable."
        )
    a, b = pair.asked
    try:
        first, second = a.right(), b.right()
    except RecordError:
        return lacking(a, "which ones a run gets right")
    one, other = (f"**{text(pair.name(i))}**" for i in (0, 1))
    gap = set_difference(b, a)
    parts = []
    if gap is not None and not np.isnan(gap.p):
        clear = gap.p < LEVEL and (gap.low > 0 or gap.high < 0)
        ahead = "ahead" if gap.value > 0 else "behind" if gap.value < 0 else "apart"
        parts.append(
            f"is {'' if clear else 'not clearly '}{ahead} ({_points(gap.value)} points "
            f"[{_points(gap.low)}, {_points(gap.high)}])"
        )
    parts += [gained] if (gained := _gained(a, b)) else []
    return (
        f"Of {a.n} images of {text(title(a))}, {other} alone is right on "
        f"**{(second & ~first).sum()}**, {one} alone on **{(first & ~second).sum()}**, both on "
        f"{(first & second).sum()}{': the first ' if parts else ''}{' and '.join(parts)}."
    )


def _gained(a: Accuracy, b: Accuracy) -> str:
    """The class on which the second gains most; empty where it gains on none, or where no classes
    are on record, which the sections on classes say.
    """
    try:
        found = confusion.split(a, b)
    except RecordError:
        return ""
    top = found.most_gained
    most = found.only_b[top] - found.only_a[top]
    if most <= 0:
        return ""
    return f"gains most on **{text(found.names[top])}** ({most:+d} of {found.n[top]})"


def lacking(a: Accuracy, what: str) -> str:
    """That the records do not say something of each image of a question, and how to get it.

    Args:
        a: The number that was asked for.
        what: What is missing.
    """
    images = f"{'attacked images' if a.attack else 'images'} of {text(a.data)}"
    return (
        f"The records do not say of the {images} {what}; evaluate again, with "
        "`python -m grace_geom.evaluate CHECKPOINT --fresh`."
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
