"""Figures in words: their own numbers, with the names of what has them."""

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.palette import LIGHT
from grace_geom.plots.panels import Curve, Point, overlay, rows
from grace_geom.plots.spoken import MOST, spoken, with_numbers

RUNS = ("ft", "grace")
LEGEND = Legend.of({run: Identity.of_label(run) for run in RUNS}, {run: run for run in RUNS})


def test_lines_have_their_ends_and_bands_are_silent():
    band = Curve([0, 1, 2], [0.5, 0.75, -2], [0, 0, -3], [1, 1, 1])
    figure = overlay({"ft": band, "grace": Curve([1], [4.0])}, LEGEND, {}, {})
    assert spoken(figure) == "ft: 0.5 at 0 to \u22122 at 2; grace: 4 at 1."
    named = overlay({"ft": band}, LEGEND, {"tickvals": [0, 2], "ticktext": ["a", "emb"]}, {})
    assert spoken(named) == "ft: 0.5 at a to \u22122 at emb."


def test_rows_have_the_lowest_and_the_highest():
    points = {"ft": {"cat": Point(3.0), "dog": Point(1.0), "<b>": Point(2.0)}}
    figure = rows(points, ["cat", "dog", "<b>"], LEGEND, {})
    assert figure is not None
    assert spoken(figure) == "ft: 1 (dog) to 3 (cat)."


def test_maps_have_their_extremes_as_written_not_as_coloured():
    grid = np.array([[1e-3, 1e-1], [np.nan, 1e-2]])
    figure = heat(grid, ["left", "right"], ["below", "above"], (-3, -1), "\u03ba", LIGHT,
                  shown=np.log10(grid))  # fmt: skip
    assert spoken(figure) == "lowest 0.001 (below, left), highest 0.1 (below, right)."


def test_many_are_counted_and_nothing_is_said_of_nothing():
    cloud = go.Figure(go.Scatter(x=np.arange(50), y=np.arange(50), mode="markers", name="ID"))
    assert spoken(cloud) == "ID: 50 points."
    many = go.Figure([go.Bar(x=["a", "b"], y=[1, -i], name=str(i)) for i in range(MOST + 3)])
    assert spoken(many).endswith("; and 3 more.") and "4: at most 4 (b)" in spoken(many)
    assert spoken(go.Figure()) == "" and with_numbers("A figure", go.Figure()) == "A figure"
    assert with_numbers("Ends. ", cloud) == "Ends. ID: 50 points."
