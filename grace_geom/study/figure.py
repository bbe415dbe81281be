"""The trade-off in one picture: robustness and accuracy under shift, each against ID accuracy."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from grace_geom.plots.export import save
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.sample import images_range
from grace_geom.plots.tradeoff import tradeoffs
from grace_geom.study.rows import Row

COLUMNS = ("ID", "Adv", "OOD")
PAGE = 7.0
"""Inches."""


def tradeoff(
    rows: Sequence[Row], path: Path, adversarial: str = "Adversarial accuracy (%)"
) -> Path | None:
    """ID against adversarial accuracy and ID against OOD accuracy, with 95 % intervals and a label
    at each point.

    Args:
        rows: The methods; those without both columns of a panel are left out of it.
        path: PNG, SVG or PDF to write.
        adversarial: Label of the axis that says which attack.

    Returns:
        ``path``, or ``None`` where no panel has two points.
    """
    figure = drawn(rows, adversarial)
    if figure is None:
        return None
    return save(figure, path, PAGE if "xaxis2" in figure.layout else PAGE / 2)


def drawn(rows: Sequence[Row], adversarial: str) -> go.Figure | None:
    """The same as a plotly figure."""
    estimates = {row.label: {c: row.estimate(c) for c in COLUMNS} for row in rows}
    names = {label: label for label in estimates}
    legend = Legend.of({label: Identity.of_label(label) for label in estimates}, names)
    ys = (("Adv", adversarial), ("OOD", "OOD accuracy (%), mean over sets"))
    return tradeoffs(estimates, legend, ("ID", "ID accuracy (%)"), ys, note=_note(rows))


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
    return f"bars: 95 % intervals over {over}; n = {', '.join(n)} images{which}"
