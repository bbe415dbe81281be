"""Panels as one figure: nothing of them is lost, and a run has one entry in the legend."""

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest

from grace_geom.plots import export, static
from grace_geom.plots.cells import PlacedFigure
from grace_geom.plots.compose import compose
from grace_geom.plots.landscape import contours, surfaces
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.maps import heat, log_ticks
from grace_geom.plots.moving import BACK
from grace_geom.plots.panels import Curve, Point, overlay, rows
from grace_geom.records import Finding, Part, Result

RUNS = {name: name for name in ("zero-shot", "ft", "grace")}
LEGEND = Legend.of({name: Identity.of_label(name) for name in RUNS}, RUNS)
X = np.logspace(-3, 0, 7)


def lines(**y):
    curves = {r: Curve(X, X * (i + 1), X * (i + 0.5), X * (i + 2)) for i, r in enumerate(RUNS)}
    return overlay(curves, LEGEND, {"title": "ρ", "type": "log"}, {"title": "Rise"} | y)


def dots():
    points = {run: {"In distribution": Point(0.5, 0.4, 0.6)} for run in RUNS}
    return rows(points, ["In distribution"], LEGEND, {"title": "CKA"})


def slices(make, *runs: str):
    side = np.linspace(-1, 1, 9)
    found = []
    for i, run in enumerate(runs or RUNS, 1):
        arrays = {"contour": i * np.add.outer(side**2, 2 * side**2), "contour_axis": side}
        found.append(Finding(run, Result("x", (), {}, {run: Part({}, arrays)}), run))
    return make(found, LEGEND)


def grid(title: str, top: float = 1.0):
    values = np.arange(6.0).reshape(2, 3)
    return heat(values, list("abc"), ["attn", "mlp"], (0, top), title, LEGEND.ground,
                square=False, bar=log_ticks((0, 1)))  # fmt: skip


def everything() -> go.Figure:
    marked = lines().add_vline(x=0.1).add_hline(y=1.0)
    marked.add_annotation(x=-1, y=0.9, yref="paper", text="here", showarrow=False)
    panels = [{"One": marked, "Two": lines(type="log")}, {"Dots": dots(), "Heat": grid("")}]
    panels += [slices(contours), slices(surfaces), {"Wide": lines()}]
    return compose("Everything & more", panels, LEGEND, "n = 60, seed 0")


def test_every_run_has_one_entry_with_its_look_and_all_its_traces_belong_to_it():
    figure = everything()
    shown = [t for t in figure.data if t.showlegend]
    assert [t.name for t in shown] == list(RUNS)
    assert [t.mode for t in shown] == ["lines+markers"] * len(RUNS)
    for run, entry in zip(RUNS, shown, strict=True):
        look = LEGEND.looks[run]
        assert (entry.line.color, entry.line.dash) == (look.color, look.dash)
        own = [t for t in figure.data if t.legendgroup == run]
        assert len(own) == 1 + 3 * 2 + 1, "the entry; line and band of three panels; a dot"
    assert {t.type for t in figure.data if t.legendgroup is None} == {
        "heatmap", "contour", "surface", "scatter"}  # fmt: skip


def test_only_runs_that_are_drawn_are_in_the_legend():
    one = overlay({"ft": Curve(X, X)}, LEGEND, {}, {})
    figure = compose("T", [{"a": one}], LEGEND)
    assert [t.name for t in figure.data if t.showlegend] == ["ft"]
    only_maps = compose("T", [{"a": grid("CKA")}], LEGEND)
    assert not only_maps.layout.showlegend


def test_other_named_traces_have_one_entry_a_name():
    def cloud() -> go.Figure:
        return go.Figure([go.Scatter(x=[1], y=[1], mode="markers", name=n) for n in ("ID", "adv")])

    figure = compose("T", [{"a": cloud(), "b": cloud()}], LEGEND)
    assert [(t.name, t.showlegend) for t in figure.data] == [
        ("ID", True), ("adv", True), ("ID", False), ("adv", False)]  # fmt: skip
    assert {t.legendgroup for t in figure.data} == {"ID", "adv"}


def test_panels_keep_their_numbers_axes_shapes_and_notes():
    panels = {"One": lines().add_vline(x=0.1), "Two": lines(type="log", range=[-3, 1])}
    panels["Two"].add_annotation(x=-1, y=0.9, yref="paper", text="here", showarrow=False)
    figure = compose("T", [panels], LEGEND)
    for i, panel in enumerate(panels.values()):
        n = "" if i == 0 else "2"
        mine = [t for t in figure.data if t.xaxis == f"x{n}" and t.x[0] is not None]
        assert len(mine) == len(panel.data)
        for new, old in zip(mine, panel.data, strict=True):
            np.testing.assert_array_equal(new.y, old.y)
            assert (new.fill, new.line, new.marker) == (old.fill, old.line, old.marker)
        for which in "xy":
            new, old = (f.layout[f"{which}axis{m}"] for f, m in ((figure, n), (panel, "")))
            assert (new.type, new.range, new.title.text) == (old.type, old.range, old.title.text)
    (line,) = figure.layout.shapes
    assert (line.xref, line.yref, line.x0) == ("x", "y domain", 0.1)
    (note,) = (a for a in figure.layout.annotations if a.text == "here")
    assert (note.xref, note.yref, note.x, note.y) == ("x2", "y2 domain", -1, 0.9)


def test_equal_scales_stay_within_their_panel():
    figure = compose("T", [slices(contours, "ft", "grace")], LEGEND)
    assert (figure.layout.yaxis.scaleanchor, figure.layout.yaxis2.scaleanchor) == ("x", "x2")


def test_a_map_is_no_higher_than_wide_so_that_its_bar_is_as_high():
    panel = heat(np.eye(2), "ab", "ab", (0, 1), "CKA", LEGEND.ground, height=900)
    cell = PlacedFigure.of("", panel, 600)
    cell.x = 0.0, 0.25
    assert cell.height == cell.width == 150


@pytest.mark.parametrize(
    ("count", "columns"), [(1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (7, [3, 2, 2])]
)
def test_rows_wrap_evenly_in_equal_columns_without_overlap(count, columns):
    figure = compose("T", [{f"panel {i}": lines() for i in range(count)}], LEGEND)
    places = [(figure.layout[f"xaxis{i or ''}"].domain, figure.layout[f"yaxis{i or ''}"].domain)
              for i in (0, *range(2, count + 1))]  # fmt: skip
    by_row = [len(list(row)) for _, row in itertools.groupby(places, key=lambda p: p[1])]
    assert by_row == columns
    assert len({round(x[1] - x[0], 9) for x, _ in places}) == 1
    for (x, y), (u, v) in itertools.combinations(places, 2):
        assert x[1] < u[0] or u[1] < x[0] or y[1] < v[0] or v[1] < y[0]
    assert all(0 <= low < high <= 1 + 1e-9 for pair in places for low, high in pair)


def test_a_scene_in_a_panel_is_seen_from_farther_and_printed_the_same():
    alone = next(iter(slices(surfaces, "ft").values()))
    figure = compose("T", [slices(surfaces, "ft")], LEGEND)
    near, far = (f.layout.scene.camera.eye.to_plotly_json() for f in (alone, figure))
    assert BACK > 1 and far == pytest.approx({which: BACK * at for which, at in near.items()})
    views = [static.draw(f, 4).axes[0] for f in (alone, figure)]
    assert views[0].elev == pytest.approx(views[1].elev) and views[0].azim == views[1].azim


def test_a_panel_alone_in_its_row_is_as_wide_as_the_row_above():
    figure = compose("T", [{"a": lines(), "b": lines()}, {"c": lines()}], LEGEND)
    above = figure.layout.xaxis.domain[0], figure.layout.xaxis2.domain[1]
    assert figure.layout.xaxis3.domain == pytest.approx(above)


@pytest.mark.parametrize(
    ("panels", "bars"),
    [
        ({"a": grid("CKA"), "b": grid("CKA")}, [False, True]),
        ({"a": grid("CKA"), "b": grid("CKA", 2.0)}, [True, True]),
        ({"a": grid("CKA"), "b": grid("other")}, [True, True]),
        (slices(contours), [False, False, True]),
    ],
)
def test_a_row_of_one_scale_has_one_bar(panels, bars):
    figure = compose("T", [panels], LEGEND)
    maps = [t for t in figure.data if t.type in ("heatmap", "contour")]
    assert [t.showscale is not False for t in maps] == bars
    for trace in maps:
        if trace.showscale is not False:
            axis = figure.layout[f"xaxis{trace.xaxis[1:]}"]
            assert trace.colorbar.x == axis.domain[1]


def test_titles_are_text_and_long_ones_wrap():
    long = "a <b> that " + "is much longer than any panel " * 3
    figure = compose("A <b> & more", [{long: lines(), "b": lines(), "c": lines()}], LEGEND)
    assert figure.layout.title.text == "A &lt;b&gt; &amp; more"
    assert figure.layout.annotations[0].text.startswith("a &lt;b&gt; that")
    assert "<br>" in figure.layout.annotations[0].text


def test_nothing_to_compose_is_refused():
    with pytest.raises(ValueError, match="no panel"):
        compose("T", [{}], LEGEND)


def test_it_is_printed_with_all_letters_on_the_sheet_and_apart():
    made = static.draw(everything(), 7.0)
    made.draw_without_rendering()
    heads = [t for ax in made.axes for t in getattr(ax, "texts", []) if t.get_text()]
    outer = [t for t in made.texts if t.get_text()] + heads
    outer += [label for ax in made.axes for label in (ax.xaxis.label, ax.yaxis.label)
              if label.get_text() and not hasattr(ax, "zaxis")]  # fmt: skip
    boxes = [t.get_window_extent() for t in outer] + [made.legends[0].get_window_extent()]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= made.bbox.x1 and box.y1 <= made.bbox.y1
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    assert all(t.get_fontsize() >= 7 for t in outer)


def test_it_is_a_page(tmp_path):
    path = export.save_html(everything(), tmp_path / "a.html", "")
    assert "Everything &amp; more" in path.read_text()


def test_pictures_are_composed_with_what_is_written_at_them():
    pixels = np.zeros((2, 2, 3), np.uint8)
    panel = go.Figure(go.Image(z=pixels, x0=3)).add_annotation(x=3, y=0, text="cat")
    figure = compose("T", [{"a": lines()}, {"b": panel}], LEGEND)
    (picture,) = (t for t in figure.data if t.type == "image")
    note = next(a for a in figure.layout.annotations if a.text == "cat")
    assert (note.xref, note.yref) == (picture.xaxis, picture.yaxis) == ("x2", "y2")
    static.draw(figure, 7).draw_without_rendering()


def test_in_every_row_the_first_of_neighbours_with_one_vertical_axis_names_it():
    def panel(top: float):
        return lines().update_yaxes(range=[0, top], title="Density")

    row = {"other": panel(9), **{name: panel(1) for name in "abcde"}}
    figure = compose("T", [row], LEGEND)
    axes = [figure.layout[f"yaxis{i or ''}"] for i in (0, 2, 3, 4, 5, 6)]
    named = [axis.title.text == "Density" for axis in axes]
    assert named == [True, True, False, True, False, False]
    assert [axis.showticklabels is not False for axis in axes] == named


def test_numbers_below_panels_of_one_vertical_axis_keep_apart():
    def dots():
        figure = lines().update_xaxes(
            type="linear", range=[0, 1], tickvals=[0, 1], ticktext=["0.00", "1.00"]
        )
        return figure.update_yaxes(range=[-3, 3], tickvals=[0], ticktext=["0"])

    made = static.draw(compose("T", [{name: dots() for name in "abc"}], LEGEND), 7.0)
    made.draw_without_rendering()
    ends = [ax.xaxis.get_majorticklabels() for ax in made.axes]
    for left, right in itertools.pairwise(ends):
        gap = right[0].get_window_extent().x0 - left[-1].get_window_extent().x1
        assert gap > 0.06 * made.dpi  # as within a panel
