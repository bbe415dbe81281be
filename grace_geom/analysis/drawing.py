"""The figures of a result as files: an HTML page and a picture each."""

import html
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from grace_geom.plots import export
from grace_geom.plots.interactive import Plotly
from grace_geom.plots.legend import Identity, Legend, without_seed
from grace_geom.plots.spoken import with_numbers
from grace_geom.plots.variants import Variant, shortened
from grace_geom.records import Finding, Result

Draw = Callable[[Sequence[Finding], Legend], Mapping[str, go.Figure]]
"""What was found on each checkpoint, and its look, to figures by name; the main one is ``""``."""

PAGE = 7.0
"""Inches: the width of a printed page."""
PIXELS = "Pixels"
"""Name of the text in a picture that says whether it shows images: ``of images``."""
SOURCE = "grace_geom: "
"""Before the name of a picture in the picture itself, which tells that an analysis drew it."""


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
    found = shortened(
        {str(r["label"]): _variant(r) for r in result.checkpoints}, {label: label for label in who}
    )
    names = {
        label: f"{name} (other images)" if label in apart else name
        for label, name in found.names.items()
    }
    return replace(Legend.of(who, names), said=found.said)


def _variant(record: Mapping[str, Any]) -> Variant | None:
    """What the label of a checkpoint says, if the analysis kept the options in it."""
    if "options" not in record:
        return None
    return Variant(str(record.get("method", "")), tuple(record["options"].items()), record["seed"])


def save_figures(
    folder: Path,
    result: Result,
    draw: Draw,
    apart: Collection[str] = (),
    plotlyjs: Plotly = "packed",
) -> list[str]:
    """Write ``NAME.html`` and ``NAME.png``, and ``NAME-KEY`` for every further figure, each file
    whole or not at all. Those that an earlier result left and this one has not are removed.

    Returns:
        What the figures are called; none where no number can be drawn.
    """
    legend = legend_of(result, apart)
    drawn = draw(findings(result), legend)
    narrow = draw(findings(result), replace(legend, narrow=True))
    stems = {(f"{result.name}-{key}" if key else result.name): fig for key, fig in drawn.items()}
    former = _written(folder, result.name)
    former += [folder / f"{result.name}.{ending}" for ending in ("html", "png")]
    for path in former:
        if path.stem not in stems:  # it would stand for this result
            path.unlink(missing_ok=True)
    for stem, figure in stems.items():
        title = html.unescape(figure.layout.title.text)
        about = {"Title": title, "Source": SOURCE + stem}
        about["Description"] = with_numbers(title, figure)
        if any(trace.type == "image" for trace in figure.data):
            about[PIXELS] = "of images"
        small = narrow.get(stem.removeprefix(result.name).removeprefix("-"))
        export.save_html(
            figure, folder / f"{stem}.html", "", plotlyjs, stem, about["Description"], small
        )
        export.save(figure, folder / f"{stem}.png", PAGE, about=about)
    return list(stems)


def pictures(folder: Path, name: str) -> dict[Path, str]:
    """The PNGs of an analysis in a folder and their titles, the main one first."""
    found = [path for path in _written(folder, name) if path.suffix == ".png"]
    found.sort(key=lambda path: path.stem)
    return {path: export.texts(path)["Title"] for path in found}


def shows_images(picture: Path) -> bool:
    """Whether there are images in a PNG of an analysis, beside lines and words."""
    return PIXELS in export.texts(picture)


def _written(folder: Path, name: str) -> list[Path]:
    """Pictures and pages that an analysis wrote under the names that they still have. Other files
    stay what they are, whatever they are called.
    """
    every = [path for stem in (name, f"{name}-*") for path in folder.glob(f"{stem}.*")]
    return [
        path
        for path in every
        if (path.suffix == ".png" and export.texts(path).get("Source") == SOURCE + path.stem)
        or (path.suffix == ".html" and export.source_of_page(path) == path.stem)
    ]
