"""Figures for elsewhere: light, whole or bare, as wide as a column, small pages, LaTeX."""

import base64
import gzip
import json
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.text import Text
from plotly.offline import get_plotlyjs

from grace_geom.plots import export, paper, static
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import DARK, GROUNDS, LIGHT, METHOD_ORDER, SHADES, look, on_light
from grace_geom.plots.panels import Curve, Point, overlay, rows
from grace_geom.plots.paper import Exhibit
from tests.plots.contact import METHODS, faults

X = np.arange(1.0, 8.0)


def exhibit(ground=DARK, count=2, panels=1) -> Exhibit:
    runs = METHODS[:count]
    legend = Legend.of({r: Identity.of_label(r) for r in runs}, {r: r for r in runs}, ground)
    curves = {run: Curve(X, X + i, X + i - 0.5, X + i + 0.5) for i, run in enumerate(runs)}
    drawn = {
        f"Panel {i}" if panels > 1 else "":
        overlay(curves, legend, {"title": "Radius ρ"}, {"title": "Rise of the loss"})
        for i in range(panels)
    }  # fmt: skip
    return Exhibit(drawn, legend, "Rise", "Bands: 95 % intervals, n = 60.", "Rise against radius")


def test_every_colour_of_dark_ground_has_one_of_light_ground():
    known = on_light()
    for method in METHOD_ORDER:
        for turn in range(SHADES):
            dark, light = (look(method, ground, turn=turn).color for ground in (DARK, LIGHT))
            assert known[dark.upper()] == light.upper()


@pytest.mark.parametrize("make", [
    lambda legend: overlay({"at": Curve(X, X, X - 1, X + 1)}, legend, {"title": "a"}, {}),
    lambda legend: rows({"at": {"id": Point(0.5, 0.4, 0.6)}}, ["id"], legend, {"title": "a"}),
])  # fmt: skip
def test_a_dark_figure_becomes_the_light_one(make):
    dark, light = (
        make(Legend.of({"at": Identity("at")}, {"at": "at"}, GROUNDS[name]))
        for name in ("dark", "light")
    )

    def plain(figure: go.Figure) -> object:
        return json.loads(figure.to_json().lower().replace(", ", ","))

    assert plain(dark) != plain(light)
    assert plain(paper.light(dark)) == plain(light)


def test_the_whole_sheet_has_title_legend_and_caption_and_the_bare_one_a_legend_alone():
    e = exhibit()
    full, bare = paper.whole(e), paper.bare(e, paper.COLUMN)
    assert full.layout.title.text == "Rise"
    assert any("95\u00a0%" in note.text for note in full.layout.annotations)
    assert not bare.layout.title.text
    assert not any("95" in (note.text or "") for note in bare.layout.annotations)
    for figure in (full, bare):
        shown = [t for t in figure.data if t.showlegend]
        assert [t.name for t in shown] == list(METHODS[:2])
        assert [t.line.color for t in shown] == [look(m, LIGHT).color for m in METHODS[:2]]


def test_panels_that_need_room_stand_two_in_a_row():
    e = exhibit(panels=3)
    for columns in (3, 2):
        sheet = replace(e, columns=columns)
        for figure in (paper.whole(sheet), paper.bare(sheet, paper.WIDE)):
            heights = {axis.domain for axis in figure.select_yaxes()}
            assert len(heights) == 4 - columns  # rows


@pytest.mark.parametrize(("width", "count", "panels"), [(3.3, 1, 1), (3.3, 12, 4), (6.9, 7, 3)])
def test_a_papers_figure_fits_its_column_in_8_points_of_times(width, count, panels):
    figure = paper.bare(exhibit(LIGHT, count, panels), width)
    made = static.draw(figure, width, None, paper.LETTERS, "serif")
    assert made.get_figwidth() == width and made.get_figheight() < 9
    assert faults(made) == []
    words = [t for t in made.findobj(Text) if t.get_text() and t.get_visible()]
    assert {t.get_fontsize() for t in words} == {8.0}
    assert {t.get_fontname() for t in words} == {"STIXGeneral"}


def test_its_fonts_are_embedded_as_truetype():
    data = paper.column(exhibit(), paper.COLUMN)
    assert data.startswith(b"%PDF") and b"/Type3" not in data
    assert b"STIXGeneral" in data and b"/FontFile2" in data


def test_a_page_is_small_and_holds_picture_caption_and_numbers():
    page = paper.page(exhibit(), "run,x\nat,1\nft,2\n")
    assert len(page) < 1_000_000
    assert 'alt="Rise against radius"' in page and "2 rows of numbers" in page and "at,1" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]*)", page)[1])
    assert b"<svg" in svg
    assert "are in the CSV file" in paper.page(exhibit(), "x\n" * 200_000)


def test_an_interactive_page_holds_plotly_once_and_compressed():
    page = paper.interactive(exhibit())
    assert len(page) < 2_500_000 and 'src="http' not in page
    (packed,) = re.findall(r'id="plotly">([^<]*)<', page)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert "</script" not in page.split("ready.then")[1].split("</script>")[0]


def test_what_only_a_browser_draws_is_not_composed_and_says_so(monkeypatch):
    odd = Exhibit({"": go.Figure(go.Parcoords(dimensions=[{"values": [1, 2]}]))}, exhibit().legend,
                  "All", "n = 2")  # fmt: skip
    assert not odd.printable and paper.whole(odd).layout.title.text == "All"
    monkeypatch.setattr(export, "browser", lambda: False)
    with pytest.raises(ValueError, match="needs kaleido"):
        paper.picture(odd, "png")
    with pytest.raises(ValueError, match="only a browser"):
        paper.column(odd, paper.COLUMN)


def test_captions_are_plain_and_safe_for_latex():
    assert paper.plain("**Loss** (`loss_task`): 5 \\% of *a\\_b* \\[1, 2\\].  \nNext") == (
        "Loss (loss_task): 5 % of a_b [1, 2]. Next"
    )
    assert paper.tex("95 % of ε_x & λ₁ < 2") == (
        r"95 \% of $\varepsilon$\_x \& $\lambda$$_1$ $<$ 2"
    )
    said = paper.latex("drift-wide", "A & B", paper.WIDE)
    assert r"\begin{figure*}[t]" in said and r"width=\textwidth]{drift-wide.pdf}" in said
    assert r"\caption{A \& B}" in said
