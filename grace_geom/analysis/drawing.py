"""The figures of a result as files: an HTML page and a picture each."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go

from grace_geom.plots import export
from grace_geom.plots.legend import Identity, Legend, without_seed
from grace_geom.records import Finding, Result

Draw = Callable[[Sequence[Finding], Legend], Mapping[str, go.Figure]]
"""What was found on each checkpoint, and its look, to figures by name; the main one is ``""``."""

PAGE = 7.0
"""Inches: the width of a printed page."""


def findings(result: Result) -> list[Finding]:
    """One for each checkpoint, called by its label."""
    labels = [str(record["label"]) for record in result.checkpoints]
    return [Finding(label, result, label) for label in labels]


def legend_of(result: Result, apart: Collection[str] = ()) -> Legend:
    """Looks by the recorded method and seed, so that a run looks the same in every folder.

    Args:
        result: With the records of its checkpoints.
        apart: Labels of those that were measured on other images, which their names say.
    """
    who = {
        str(record["label"]): Identity(
            str(record.get("method", "")),
            without_seed(str(record["label"]).rpartition("/")[2]),
            record.get("seed"),
        )
        for record in result.checkpoints
    }
    names = {label: f"{label} (other images)" if label in apart else label for label in who}
    return Legend.of(who, names)


def save_figures(
    folder: Path, result: Result, draw: Draw, apart: Collection[str] = ()
) -> list[str]:
    """Write ``NAME.html`` and ``NAME.png``, and ``NAME-KEY`` for every further figure, each file
    whole or not at all.

    Returns:
        What the figures are called; none where no number can be drawn.
    """
    drawn = draw(findings(result), legend_of(result, apart))
    if "" not in drawn:  # pictures of an earlier result would stand for this one
        for ending in ("html", "png"):
            (folder / f"{result.name}.{ending}").unlink(missing_ok=True)
    for key, figure in drawn.items():
        stem = stem_of(result.name, key)
        export.save_html(figure, folder / f"{stem}.html", "")
        export.save(figure, folder / f"{stem}.png", PAGE)
    return [stem_of(result.name, key) for key in drawn]


def stem_of(name: str, key: str) -> str:
    """What the files of a figure are called: ``NAME``, ``NAME-KEY``."""
    return f"{name}-{key}" if key else name
