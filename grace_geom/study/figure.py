"""The trade-off in one picture: robustness and accuracy under shift, each against ID accuracy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go

from grace_geom.plots.export import save
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.sample import images_range
from grace_geom.plots.shift import ShiftPanel, above_the_line
from grace_geom.plots.tradeoff import tradeoffs
from grace_geom.plots.variants import of_label, shortened
from grace_geom.records import headline_attack, is_mean_per_class, questions
from grace_geom.records.attack import attack_said
from grace_geom.study.effective import Effective
from grace_geom.study.rows import Row

COLUMNS = ("ID", "Adv", "OOD")
PAGE = 7.0
"""Inches."""
ALONE = 4.5
"""Inches of one panel of accuracies: at 3.5 its note leaves it no room."""


def tradeoff(rows: Sequence[Row], path: Path) -> Path | None:
    """ID against adversarial accuracy and ID against OOD accuracy, with 95 % intervals and a label
    at each point.

    Args:
        rows: The methods; those without both columns of a panel are left out of it.
        path: PNG, SVG or PDF to write.

    Returns:
        ``path``, or ``None`` where no panel has two points.
    """
    figure = drawn(rows)
    if figure is None:
        return None
    return save(figure, path, PAGE if "xaxis2" in figure.layout else ALONE)


def drawn(rows: Sequence[Row]) -> go.Figure | None:
    """The same as a plotly figure."""
    estimates = {row.label: {c: row.estimate(c) for c in COLUMNS} for row in rows}
    legend = _legend(list(estimates))
    ys = (("Adv", attack_label(rows)), ("OOD", "OOD accuracy (%), mean over sets"))
    return tradeoffs(estimates, legend, ("ID", "ID accuracy (%)"), ys, note=_note(rows))


def effective_robustness(found: Effective, path: Path) -> Path | None:
    """OOD accuracy against ID accuracy with the line of :mod:`.effective`, a panel for each set.

    Args:
        found: Of the study.
        path: PNG, SVG or PDF to write.

    Returns:
        ``path``, or ``None`` where no set has a line.
    """
    legend = _legend(list({p.label: None for shift in found.shifts for p in shift.placed}))
    panels = [
        ShiftPanel(
            s.data, s.line, {p.label: (p.clean, p.shifted) for p in s.placed},
            {p.label for p in s.placed if p.on_line},
        )
        for s in found.shifts
    ]  # fmt: skip
    figure = above_the_line(panels, legend)
    if figure is None:
        return None
    return save(figure, path, PAGE if len(panels) > 1 else PAGE / 2)


def _legend(labels: Sequence[str]) -> Legend:
    """Rows of a study under names that fit beside a point."""
    found = shortened({label: of_label(label) for label in labels}, {n: n for n in labels})
    who = {label: Identity.of_label(label) for label in labels}
    return replace(Legend.of(who, found.names), said=found.said)


def attack_label(rows: Sequence[Row]) -> str:
    """Label of the axis of ``Adv``: the attack that it is made of, which of an attack of several
    parts is the first.
    """
    counted = [a for row in rows for r in row.seeds.values() for a in headline_attack(r.accuracies)]
    attacks = dict.fromkeys(attack_said(a.attack, "name") for a in counted if a.attack)
    return f"Accuracy under {' or '.join(attacks)} (%)" if attacks else "Adversarial accuracy (%)"


def _note(rows: Sequence[Row]) -> str:
    """What bars are, how many images and which seeds: ``n = 2000 (ID), 300 (Adv)``."""
    used: dict[str, set[int]] = {}
    for record in (record for row in rows for record in row.seeds.values()):
        for accuracy in record.accuracies:
            used.setdefault(accuracy.suite, set()).add(accuracy.n)
    suites = {"id": "ID", "adv": "Adv", "ood": "each OOD set"}
    n = [f"{images_range(sorted(used[s]))} ({word})" for s, word in suites.items() if s in used]
    seeds = sorted({seed for row in rows if row.trains for seed in row.seeds})
    over = "images and seeds" if len(seeds) > 1 else "images"
    which = f"; seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""
    counted = [
        a for row in rows for r in row.seeds.values() for a in questions(r.accuracies).values()
    ]
    by_class = dict.fromkeys(a.data for a in counted if is_mean_per_class(a))
    metric = f"; mean per-class accuracy: {', '.join(by_class)}" if by_class else ""
    return f"bars: 95 % intervals over {over}; n = {', '.join(n)} images{which}{metric}"
