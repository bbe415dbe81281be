"""Figures in words: their own numbers, with the names of what has them."""

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.numbers import Column, parallel
from grace_geom.plots.palette import LIGHT
from grace_geom.plots.panels import Curve, Point, measures, overlay, rows
from grace_geom.plots.spoken import MOST, spoken, with_numbers
from grace_geom.records import Finding, Measure, Part, Result

RUNS = ("ft", "grace")
LEGEND = Legend.of({run: Identity.of_label(run) for run in RUNS}, {run: run for run in RUNS})


def test_lines_have_their_ends_and_bands_are_silent():
    band = Curve([0, 1, 2], [0.5, 0.75, -2], [0, 0, -3], [1, 1, 1])
    figure = overlay({"ft": band, "grace": Curve([1], [4.0])}, LEGEND, {}, {})
    assert spoken(figure) == "ft: 0.5 at 0 to \u22122 at 2; grace: 4 at 1."
    names = {"tickvals": [0, 2], "ticktext": ["a", "emb"]}
    assert spoken(overlay({"ft": band}, LEGEND, names, {})) == "ft: 0.5 at a to \u22122 at emb."
    powers = {"type": "log", "tickvals": [1, 10], "ticktext": ["one", "ten"]}
    line = Curve([1, 2, 3], [np.nan, 1234.4, np.nan])  # an end that is not drawn is not said
    assert spoken(overlay({"ft": line}, LEGEND, powers, {})) == "ft: 1234 at 2."


def test_what_lies_under_a_line_is_not_said_again():
    figure = overlay({"ft": Curve([0, 1], [5.0, 7.0])}, LEGEND, {}, {})
    figure.add_scatter(x=[0, 1], y=[4, 8], name="ft", mode="lines", hoverinfo="skip")
    assert spoken(figure) == "ft: 5 at 0 to 7 at 1."


def test_each_panel_has_the_names_of_its_own_axis():
    rows = {"mode": "markers", "x": [3.0, 4.0], "y": [0, 1]}
    figure = go.Figure([{**rows, "name": "ft"}, {**rows, "name": "at", "yaxis": "y2"}])
    ticks = {"tickvals": [0, 1]}
    figure.update_layout(yaxis={**ticks, "ticktext": ["a", "b"]},
                         yaxis2={**ticks, "ticktext": ["c", "d"]})  # fmt: skip
    assert spoken(figure) == "ft: 3 (a) to 4 (b); at: 3 (c) to 4 (d)."


def test_a_row_of_its_own_says_its_name_once():
    part = {"ft": Part({"trace": Measure(3.0)})}
    found = [Finding("ft", Result("x", ({"label": "ft"},), {}, part), "ft")]
    figure = measures(found, LEGEND, "trace", "Trace")
    assert figure is not None and spoken(figure) == "ft: 3."
    long = Legend({"ft": "at · attack steps 1 · alpha 5/255"}, LEGEND.looks)
    figure = measures(found, long, "trace", "Trace")
    assert list(figure.layout.yaxis.ticktext) == ["at · attack…5/255"]
    assert spoken(figure) == "at · attack steps 1 · alpha 5/255: 3."


def test_parallel_axes_have_their_ends_and_names():
    columns = [Column("lr", {"ft": 0.1, "grace": 0.3}), Column("gv", {"ft": "off"}, few=True)]
    figure = parallel(columns, RUNS, LEGEND)
    assert figure is not None
    assert spoken(figure) == "runs: ft, grace; Lr: 0.1 to 0.3; Gv: \u2013, off."


def test_rows_have_the_lowest_and_the_highest():
    points = {"ft": {"cat": Point(3.0), "dog": Point(2.0), "<b> & c": Point(1.0)}}
    figure = rows(points, ["cat", "dog", "<b> & c"], LEGEND, {})
    assert figure is not None
    assert spoken(figure) == "ft: 1 (<b> & c) to 3 (cat)."


def test_maps_have_their_extremes_as_written_not_as_coloured():
    grid = np.array([[1e-3, 1e-1], [np.nan, 1e-2]])
    figure = heat(grid, ["left", "right"], ["below", "above"], (-3, -1), "\u03ba", LIGHT,
                  shown=np.log10(grid))  # fmt: skip
    assert spoken(figure) == "lowest 0.001 (below, left), highest 0.1 (below, right)."
    ends = np.stack([grid / 2, grid * 2])
    bounded = heat(grid, ["left", "right"], ["below", "above"], (-3, -1), "\u03ba", LIGHT,
                   shown=np.log10(grid), interval=ends)  # fmt: skip
    assert spoken(bounded) == spoken(figure)


def test_many_are_counted_and_nothing_is_said_of_nothing():
    cloud = go.Figure(go.Scatter(x=np.arange(50), y=np.arange(50), mode="markers", name="ID"))
    assert spoken(cloud) == "ID: 50 points."
    many = go.Figure([go.Bar(x=["a", "b"], y=[1, -i], name=str(i)) for i in range(MOST + 3)])
    assert spoken(many).endswith("; and 3 more.") and "4: at most 4 (b)" in spoken(many)
    across = go.Figure(go.Bar(x=[1, -7], y=["a", "b"], name="ft", orientation="h"))
    assert spoken(across) == "ft: at most 7 (b)."
    assert spoken(go.Figure()) == "" and with_numbers("A figure", go.Figure()) == "A figure"
    assert with_numbers("Ends. ", cloud) == "Ends. ID: 50 points."
