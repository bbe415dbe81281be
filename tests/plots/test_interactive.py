"""Interactive figures: as wide as a desktop or as narrow as a telephone, from the same numbers."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from grace_geom.plots import export, interactive
from grace_geom.plots.cells import NARROW
from grace_geom.plots.compose import compose
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import look

LEGEND = Legend({"ft": "ft"}, {"ft": look("ft")})


def panel(height: int = 300, **layout: object) -> go.Figure:
    figure = go.Figure(go.Scatter(x=[0, 1, 2], y=[3, 1, 2], legendgroup="ft"))
    return figure.update_layout(height=height, xaxis={"title": "Step"}, **layout)


def rows() -> list[dict[str, go.Figure]]:
    cloud = go.Figure(go.Scatter3d(x=[0, 1], y=[0, 1], z=[0, 1], mode="markers", name="id"))
    square = {"yaxis": {"scaleanchor": "x"}}
    return [
        {f"Panel {i}": panel() for i in range(3)},
        {f"Square {i}": panel(**square) for i in range(4)},
        {"Cloud a": cloud, "Cloud b": go.Figure(cloud)},
    ]


def both() -> tuple[go.Figure, go.Figure]:
    title = "A title of many words that no telephone shows in a single line"
    note = "a note of many words, " * 10
    legends = LEGEND, replace(LEGEND, narrow=True)
    wide, narrow = (compose(title, rows(), legend, note) for legend in legends)
    return wide, narrow


def domains(figure: go.Figure) -> list[tuple[float, float]]:
    flat = [tuple(axis.domain) for axis in figure.select_xaxes()]
    return flat + [tuple(scene.domain.x) for scene in figure.select_scenes()]


def test_panels_stand_below_each_other_on_a_telephone_and_small_squares_in_pairs():
    wide, narrow = both()
    starts = [round(low, 2) for low, _ in domains(narrow)]
    assert len({round(low, 2) for low, _ in domains(wide)}) > 3
    assert [s == 0 for s in starts] == [True] * 3 + [True, False] * 2 + [True] * 2
    uprights = [tuple(axis.domain) for axis in narrow.select_yaxes()]
    uprights += [tuple(scene.domain.y) for scene in narrow.select_scenes()]
    every = list(zip(domains(narrow), uprights, strict=True))
    for (x, y), (u, v) in itertools.combinations(every, 2):  # no panel lies over another
        assert x[1] <= u[0] or u[1] <= x[0] or y[1] <= v[0] or v[1] <= y[0]
    assert narrow.layout.title.text.count("<br>") == 1
    lines = narrow.layout.annotations[-1].text.split("<br>")
    assert max(map(len, lines)) * 5.3 < NARROW


def test_a_page_holds_the_numbers_once_and_gives_both_figures_back(tmp_path: Path):
    wide, narrow = both()
    path = export.save_html(wide, tmp_path / "a.html", "", narrow=narrow)
    assert path.read_text().count("Cloud a") == 2  # in both layouts
    again = interactive.narrow_of_page(path)
    assert again is not None and again.layout == narrow.layout and again.data == narrow.data
    assert interactive.figure_of_page(path).data == wide.data
    assert '"traces": {}' in path.read_text()
    other = go.Figure(go.Bar(x=[1], y=[2]))
    path = export.save_html(wide, tmp_path / "b.html", "", narrow=other)
    again = interactive.narrow_of_page(path)
    assert again is not None and again.data == other.data
    export.save_html(wide, tmp_path / "c.html", "")
    assert interactive.narrow_of_page(tmp_path / "c.html") is None


def test_a_script_cannot_be_ended_by_a_name():
    drawn = interactive.embedded(go.Figure(go.Bar(x=["</script>"], y=[1])), "a")
    assert drawn.count("</script>") == 1


@pytest.mark.parametrize("where", ["packed", "inside", "cdn", "beside"])
def test_a_page_has_plotly_from_where_it_is_asked_to(tmp_path: Path, where: interactive.Plotly):
    wide, narrow = both()
    path = export.save_html(wide, tmp_path / "a.html", "", where, narrow=narrow)
    page, small = path.read_text(), where in ("cdn", "beside")
    assert (len(page) < 1_000_000) == small
    assert interactive.figure_of_page(path).data == wide.data
    assert interactive.narrow_of_page(path) is not None
    theirs = {"cdn": "cdn", "beside": "directory"}.get(where, False)
    other = go.Figure().to_html(include_plotlyjs=theirs, full_html=False)
    tags = re.findall(r'<script[^>]* src="[^>]*>', page)
    assert tags == re.findall(r'<script[^>]* src="[^>]*>', other)
    assert (get_plotlyjs() in page) == (where == "inside")
    assert [file.name for file in tmp_path.glob("*.js")] == ["plotly.min.js"] * (where == "beside")


def test_plotly_lies_once_beside_its_pages_and_is_written_again_where_it_is_another(tmp_path: Path):
    file = tmp_path / "plotly.min.js"
    file.write_text("of another version")
    page = export.html(both()[0], "", "beside")
    export.save_html(both()[0], tmp_path / "a.html", "", "beside")
    assert file.read_text() == get_plotlyjs()
    before = file.stat().st_mtime_ns
    export.save_html(both()[0], tmp_path / "b.html", "", "beside")
    assert file.stat().st_mtime_ns == before
    assert interactive.alone(page) == export.html(both()[0], "")
    assert interactive.alone(export.html(both()[0], "", "cdn")) == export.html(both()[0], "", "cdn")
