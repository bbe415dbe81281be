"""Interactive figures of a report: each in a place of its own, and those whose pages cannot be
taken apart.
"""

import re
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from plotly.subplots import make_subplots

from grace_geom.analysis import report
from grace_geom.plots import export


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


def test_a_page_that_holds_no_figure_leaves_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(file)
    file.with_suffix(".html").write_text("<p>no figure</p>")
    assert report._drawn(file, "A title", interactive=True).startswith('<img alt="A title"')
    said = " ".join(capsys.readouterr().err.split())
    assert "holds no figure that can be taken out; the report has its picture" in said
