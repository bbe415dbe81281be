"""Figures as files: the drawing holds the figure's numbers, and nothing is cut, hidden or lost."""

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from plotly.subplots import make_subplots
from scipy.interpolate import RegularGridInterpolator

from grace_geom.errors import UserError
from grace_geom.plots import export, grids, static, units
from grace_geom.plots.clouds import clouds
from grace_geom.plots.landscape import contours, surfaces
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.palette import GROUNDS, LIGHT
from grace_geom.plots.panels import Curve, Point, log_axis, overlay, rows
from grace_geom.plots.style import dress
from grace_geom.plots.texts import inline
from grace_geom.records import Finding, Measure, Part, Result

RUNS = {name: name for name in ("zero-shot", "ft", "at", "grace", "pmg-aft-s0")}
LEGEND = Legend.of({name: Identity.of_label(name) for name in RUNS}, RUNS)
X = np.logspace(-3, 0, 7)


def lines(**layout):
    curves = {run: Curve(X, X * (i + 1), X * (i + 0.5), X * (i + 2)) for i, run in enumerate(RUNS)}
    x = {"title": "Radius ρ", "type": "log"}
    y = {"title": "Rise of the loss"} | log_axis([X, 6 * X])
    return overlay(curves, LEGEND, x, y).update_layout(showlegend=True, **layout)


def bars():
    figure = make_subplots(1, 2, subplot_titles=("One", "Two"), shared_yaxes=True)
    for column in (1, 2):
        for i, name in enumerate(("clean", "attacked")):
            figure.add_bar(x=["ft", "at"], y=[0.5, 0.25 + 0.1 * i], name=name, legendgroup=name,
                           error_y={"array": [0.1, 0.2], "arrayminus": [0.05, 0.1]},
                           showlegend=column == 1, row=1, col=column)  # fmt: skip
    return dress(figure, LIGHT, 330, title="Accuracy of <b>all</b> methods on clean images")


def drawn(figure, width=3.4, height=None):
    made = static.draw(figure, width, height)
    made.draw_without_rendering()
    return made


def test_lines_hold_the_numbers_scales_and_limits_of_the_figure():
    figure = lines()
    ax = drawn(figure).axes[0]
    traces = [t for t in figure.data if t.fill is None]
    assert len(ax.lines) == len(traces)
    for line, trace in zip(ax.lines, traces, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([trace.x, trace.y], 1))
        assert to_hex(line.get_color()) == trace.line.color.lower()
        assert line.get_linewidth() == pytest.approx(1.8 * units.POINTS)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(np.log10(ax.get_ylim()), figure.layout.yaxis.range)
    bands = [t for t in figure.data if t.fill == "toself"]
    for patch, band in zip(ax.patches, bands, strict=True):
        np.testing.assert_array_equal(patch.get_xy()[:-1], np.stack([band.x, band.y], 1))


def test_error_bars_reach_from_low_to_high():
    points = {"ft": {"a": Point(0.5, 0.2, 0.6)}, "at": {"a": Point(0.7, 0.6, 0.95)}}
    ax = drawn(rows(points, ["a"], LEGEND, {"title": "CKA"})).axes[0]
    ends = [c.get_segments()[0][:, 0] for c in ax.collections if hasattr(c, "get_segments")]
    np.testing.assert_allclose(ends, [[0.2, 0.6], [0.6, 0.95]])
    assert ax.get_ylim() == (0.5, -0.5)


def test_heat_maps_hold_the_grid_its_names_and_its_colours():
    grid = np.array([[0.0, 1.0, np.nan], [0.25, 0.5, 0.75]])
    figure = heat(grid, list("abc"), ["x", "y"], (0, 1), "CKA", LIGHT, words=True)
    ax, bar = drawn(figure.update_yaxes(autorange="reversed")).axes
    (mesh,) = ax.collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array().filled(np.nan)), grid)
    assert mesh.get_clim() == (0, 1)
    assert to_hex(mesh.to_rgba(0.0)) == "#440154" and to_hex(mesh.to_rgba(1.0)) == "#fde725"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert bar.get_ylabel() == "CKA"
    assert len(ax.texts) == 5, "a word in each cell that has a number"


def test_bars_are_grouped_with_their_errors_on_a_shared_axis():
    left, right = drawn(bars(), 7.0).axes
    heights = [p.get_height() for p in left.patches]
    assert heights == [0.5, 0.25, 0.5, 0.35]
    middles = [p.get_x() + p.get_width() / 2 for p in left.patches]
    np.testing.assert_allclose(middles, [-0.2, 0.8, 0.2, 1.2])
    segments = [s[:, 1] for c in left.collections for s in c.get_segments()]
    np.testing.assert_allclose(segments[:2], [[0.45, 0.6], [0.15, 0.45]])
    assert left.get_ylim() == right.get_ylim()
    assert not [t for t in right.get_yticklabels() if t.get_visible() and t.get_text()]


def test_histograms_count_what_plotly_counts():
    values = [0.0, 0.1, 0.5, 0.9, 1.0, 1.4]
    figure = go.Figure(go.Histogram(x=values, xbins={"start": 0, "end": 2, "size": 0.5}))
    assert [p.get_height() for p in drawn(figure).axes[0].patches] == [2, 2, 2, 0]
    with pytest.raises(ValueError, match="histogram without xbins"):
        static.draw(go.Figure(go.Histogram(x=values)), 3.4)


def finding():
    side = np.linspace(-1, 1, 9)
    arrays = {"contour": np.add.outer(side**2, 2 * side**2), "contour_axis": side}
    result = Result(
        "loss_landscape", ({"label": "ft"},), {}, {"ft": Part({"a": Measure(1.0)}, arrays)}
    )
    return [Finding("ft", result, "ft")]


@pytest.mark.parametrize("make", [contours, surfaces])
def test_slices_are_drawn(make):
    (figure,) = make(finding(), LEGEND).values()
    ax = drawn(figure).axes[0]
    if make is surfaces:
        (sheet,) = (c for c in ax.collections if isinstance(c, PolyCollection))
        assert (
            len(sheet.get_facecolors()) == 32**2
        )  # of 8 by 8, so fine that each has the colour of its height
        assert ax.get_zlim() == pytest.approx(figure.layout.scene.zaxis.range)
    else:
        lines = ax.collections[1]
        start, step = figure.data[0].contours.start, figure.data[0].contours.size
        assert lines.levels[:3] == pytest.approx([start, start + step, start + 2 * step])
        assert ax.get_aspect() == 1


@pytest.mark.parametrize("width", [3.4, 7.0])
@pytest.mark.parametrize(
    "make", [lines, bars, lambda: lines(title="<b>Rise</b> of the loss", legend={"y": -0.2}),
             lambda: lines(legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"})],
)  # fmt: skip
def test_all_letters_lie_on_the_sheet_apart_and_large_enough(make, width):
    made = drawn(make(), width)
    outer = [t for t in made.texts if t.get_text()] + [
        label for ax in made.axes for label in (ax.xaxis.label, ax.yaxis.label) if label.get_text()
    ]
    (legend,) = made.legends
    boxes = [t.get_window_extent() for t in outer] + [legend.get_window_extent()]
    ticks = [tick.label1 for ax in made.axes for axis in (ax.xaxis, ax.yaxis)
             for tick in axis._update_ticks() if tick.label1.get_visible()]  # fmt: skip
    assert len(ticks) > 5
    for box in [*boxes, *(t.get_window_extent() for t in ticks)]:
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= made.bbox.x1 and box.y1 <= made.bbox.y1
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    assert not any(a.overlaps(t.get_window_extent()) for a in boxes for t in ticks)
    assert all(t.get_fontsize() >= 7 for t in made.findobj(Text) if t.get_text())


def test_no_room_is_said():
    with pytest.raises(ValueError, match=r"no room at 0\.8 x 0\.6 inches"):
        static.draw(lines(), 0.8, 0.6)


@pytest.mark.parametrize(
    ("figure", "lost"),
    [
        (go.Figure(go.Pie(values=[1, 2])), "'pie'"),
        (go.Figure(go.Scatter(y=[1, 2], line={"shape": "spline"})), "spline"),
        (go.Figure(go.Scatter(y=[1, 2], stackgroup="a")), "scatter.stackgroup"),
        (go.Figure(go.Scatter(y=[1, 2], marker={"symbol": "star-diamond"})), "star-diamond"),
        (go.Figure(go.Scatter(x=["2020-01-01"], y=[1])).update_xaxes(type="date"), "'date'"),
        (go.Figure(go.Heatmap(z=[[1, 2]])), "colorscale"),
        (go.Figure(go.Heatmap(z=[[1, 2]], colorscale="Viridis", zsmooth="best")), "zsmooth"),
        (go.Figure().add_shape(type="path", path="M0,0L1,1"), "path"),
        (go.Figure(go.Scatter(y=[1])).update_xaxes(rangebreaks=[{}]), "x-axis.rangebreaks"),
        (go.Figure(layout={"title": "<u>a</u>"}), "<u>"),
        (go.Figure(layout={"title": "$a^2$"}), "LaTeX"),
        (dress(go.Figure(go.Scatter(y=[1])), GROUNDS["dark"], 300), "dark ground"),
    ],
)
def test_what_would_be_lost_is_refused_by_name(figure, lost):
    with pytest.raises(ValueError, match=r"cannot draw|dark ground") as error:
        static.draw(figure, 3.4)
    assert lost in str(error.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a &lt; b &amp; $5", r"a < b & \$5"),
        ("one<br>two", "one\ntwo"),
        ("10<sup>-7</sup>", r"10$^{\mathregular{-7}}$"),
        ("<b>a b</b>", r"${\mathbf{a\ b}}$"),
        ("λ<sub>1</sub>", r"λ$_{\mathregular{1}}$"),
        ("x <span style='opacity:0.65'>(ID)</span>", "x (ID)"),
    ],
)
def test_texts_are_read_as_plotly_reads_them(text, shown):
    assert inline(text) == shown
    static.draw(go.Figure(go.Scatter(y=[1, 2]), {"xaxis": {"title": {"text": text}}}), 3.4)


@pytest.mark.parametrize(
    ("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_files_are_what_they_say_and_the_same_each_time(tmp_path, kind, magic):
    paths = [export.save(lines(), tmp_path / f"{i}.{kind}", 3.4, 2.4) for i in range(2)]
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(magic)
    assert first == second
    if kind == "pdf":
        assert b"/FontType 42" in first or b"/CIDFontType2" in first
        assert b"/Type3" not in first
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_an_unknown_ending_or_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        export.save(lines(), tmp_path / "a.jpg", 3.4)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        export.save(lines(), tmp_path / "file" / "a.png", 3.4)


def test_a_png_carries_texts_in_any_letters_and_no_other_file_does(tmp_path):
    about = {"Title": "σ of „A < B“", "Source": "here"}
    path = export.save(go.Figure(go.Scatter(y=[1, 2])), tmp_path / "a.png", 2, 2, about=about)
    assert about.items() <= export.texts(path).items()
    path.write_bytes(path.read_bytes()[:20])
    assert export.texts(path) == {}
    with pytest.raises(ValueError, match="only a PNG"):
        export.save(go.Figure(), tmp_path / "a.svg", 2, 2, about=about)


def test_a_missing_browser_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="needs kaleido"):
        export.save(lines(), tmp_path / "a.png", 3.4, engine="browser")


def test_a_page_holds_its_caption_and_needs_no_network():
    page = export.html(lines(), "Mean of 3 seeds, n < 100")
    assert page.index("Mean of 3 seeds, n &lt; 100") > page.index("Plotly.newPlot")
    assert 1_000_000 < len(page) < 3_000_000, "plotly's code is inside, compressed"
    assert 'src="http' not in page


def test_a_note_stands_below_the_title_and_the_labels_at_every_resolution():
    figure = lines(title="Rise").update_yaxes(title="a long title<br>of two lines")
    figure.add_annotation(text="n = 5", x=0, y=0, xref="paper", yref="paper", xanchor="left",
                          yanchor="top", xshift=8, yshift=-2, showarrow=False)  # fmt: skip
    made = static.draw(figure, 3.4)
    note = next(t for t in made.texts if t.get_text() == "n = 5")
    for dpi in (200, 300):
        made.set_dpi(dpi)
        made.draw_without_rendering()
        below, box = made.axes[0].get_tightbbox(), note.get_window_extent()
        assert box.x0 == pytest.approx(0.04 * dpi, abs=1)
        assert box.y1 == pytest.approx(below.y0 - 0.04 * dpi, abs=1)


def test_axes_in_space_are_as_dark_as_others_and_their_numbers_do_not_meet_at_a_corner():
    rng = np.random.default_rng(0)
    arrays = {f"pca/{s}": rng.uniform(-1, 1, (40, 3)) for s in ("id", "adv")}
    result = Result(
        "x", (), {}, {"ft": Part({}, arrays | {"pca_share": np.array([0.5, 0.3, 0.1])})}
    )
    (figure,) = clouds([Finding("ft", result, "ft")], LEGEND, ["id", "adv"], solid=True).values()
    ax = drawn(figure).axes[0]
    for axis, ends in (
        (ax.xaxis, ax.get_xlim()),
        (ax.yaxis, ax.get_ylim()),
        (ax.zaxis, ax.get_zlim()),
    ):
        assert to_hex(axis.line.get_color()) == LIGHT.muted.lower()
        assert [t for t in axis.get_majorticklocs() if abs(t) > 0.85 * max(ends)] == []
        assert len(axis.get_majorticklocs()) >= 3


def test_a_surface_is_refined_on_straight_lines_between_its_points():
    z = np.random.default_rng(0).normal(size=(5, 7))
    fine = grids._refined(z)
    rows, columns = (np.linspace(0, n - 1, m) for n, m in zip(z.shape, fine.shape, strict=True))
    peer = RegularGridInterpolator((np.arange(5), np.arange(7)), z)
    at = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    np.testing.assert_allclose(fine, peer(at), atol=1e-12)
    assert min(fine.shape) > grids.FACETS
