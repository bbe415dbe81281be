"""Interactive figures of a report: each in a place of its own, and those whose pages cannot be
taken apart.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from plotly.subplots import make_subplots

from grace_geom.analysis import report_page as report
from grace_geom.plots import export, interactive, layers
from grace_geom.plots.compose import compose
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import look
from grace_geom.records import Finding, Part, Result


def interactive_page(folder: Path, name: str) -> str:
    """A report of one analysis with one figure of three panels."""
    figure = make_subplots(1, 3)
    for column in (1, 2, 3):
        figure.add_scatter(x=[0, 1], y=[0, 1], row=1, col=column)
    export.save_html(figure, folder / f"{name}.html", "")
    info = PngInfo()
    info.add_text("Title", "Three panels")
    Image.new("RGB", (4, 4)).save(folder / f"{name}.png", pnginfo=info)
    drawn = {folder / f"{name}.png": "Three panels"}
    section = report.Section(name, "What for.", "python x.py", "", drawn)
    return report.page("A report", ["a"], [section], interactive=True)


def test_a_figure_is_drawn_into_its_own_element_and_not_over_its_section(tmp_path: Path) -> None:
    page = interactive_page(tmp_path, "sharpness")
    ids = re.findall(r'<\w+[^>]* id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    (target,) = re.findall(r'Plotly\.newPlot\("([^"]*)"', page)
    assert f'<div id="{target}"' in page and '<section id="sharpness">' in page


def test_a_figure_keeps_the_width_that_its_panels_need_on_a_telephone(tmp_path: Path) -> None:
    page = interactive_page(tmp_path, "sharpness")
    assert "min-width:900px" in page and "overflow-x: auto" in page
    assert 'name="viewport" content="width=device-width' in page


def test_maps_of_equal_scales_need_less_width_and_a_caption_replaces_the_title(
    tmp_path: Path,
) -> None:
    ticks = ["block.0", "block.1", "block.2", "block.3", "embedding"]
    grid = {"layers": np.array(ticks), "cka_layers/id": np.eye(5)}
    name = "a-long-name-of-a-run-that-nobody-can-read-at-a-glance-of-two"
    parts = {f"{name}{i}": Part({}, grid) for i in range(3)}
    found = [Finding(run, Result("x", (), {"n": 4}, parts), run) for run in parts]
    legend = Legend({run: run for run in parts}, {run: look("ft") for run in parts})
    maps = layers.layer_by_layer(found, legend, "id", 230)
    (axis,) = {str(figure.layout.xaxis.ticktext) for figure in maps.values()}
    assert axis == str(("0", "1", "2", "3", "emb."))  # level, with room for the name
    assert next(iter(maps.values())).layout.yaxis.ticktext == ("0", "1", "2", "3", "embedding")
    figure = compose("Maps", [maps], legend, "", 6)
    assert interactive.least_width(figure) == 3 * interactive.SQUARE
    heads = [a.text for a in figure.layout.annotations]
    assert all("<br>" in head for head in heads)  # none lies over its neighbour
    export.save_html(figure, tmp_path / "maps.html", "")
    Image.new("RGB", (4, 4)).save(tmp_path / "maps.png")
    drawn = report._drawn(tmp_path / "maps.png", "Maps", interactive=True)
    assert f"height:{figure.layout.height - 36}px" in drawn and ">Maps<" not in drawn


def test_a_page_that_holds_no_figure_leaves_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(file)
    file.with_suffix(".html").write_text("<p>no figure</p>")
    assert report._drawn(file, "A title", interactive=True).startswith(
        '<img class="chart" alt="A title"'
    )
    said = " ".join(capsys.readouterr().err.split())
    assert "holds no figure that can be taken out; the report has its picture" in said
