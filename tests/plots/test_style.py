"""Figures that are made at once are those whose parts were added one by one."""

import json

import plotly.graph_objects as go
import pytest

from grace_geom.plots.palette import DARK
from grace_geom.plots.style import UNCHECKED, dress, dressed
from tests.figures import checked

LINE = {"x": [0.0, 1.0], "y": [2.0, 3.0], "mode": "lines", "name": "a", "line": {"width": 2}}
BARS = {"x": ["a", "b"], "y": [1, 2], "name": "b", "yaxis": "y2"}


def spec(figure: go.Figure) -> dict:
    return json.loads(figure.to_json())


def test_a_figure_made_at_once_is_the_one_whose_parts_were_added():
    slowly = go.Figure(layout={"yaxis2": {"anchor": "x"}})
    slowly.add_scatter(**LINE).add_bar(**BARS)
    dress(slowly, DARK, 300, xaxis={"title": {"text": "x"}}, showlegend=False)
    traces = [{"type": "scatter", **LINE}, {"type": "bar", **BARS}]
    axes = {"xaxis": {"title": {"text": "x"}}, "yaxis2": {"anchor": "x"}}
    quickly = dressed(traces, DARK, 300, **axes, showlegend=False)
    assert spec(quickly) == spec(slowly)
    assert quickly.layout.yaxis2.gridcolor == DARK.grid and quickly.layout.xaxis.title.font.size
    assert [set(trace) for trace in traces] == [{"type", *LINE}, {"type", *BARS}]  # as they were


def test_what_is_made_without_checks_is_what_plotly_would_have_made():
    marks = [{"type": "rect", "x0": 0, "x1": 1, "fillcolor": None}]
    bar = {"title": "c", "len": None}
    traces = [
        {"type": "scatter", **LINE, "text": None, "marker": {"colorbar": bar, "size": [3, 4]}}
    ]
    figure = dressed(traces, DARK, 300, xaxis={"title": "x"}, shapes=marks, title=None)
    assert (
        figure.layout.xaxis.title.text == "x" and figure.data[0].marker.colorbar.title.text == "c"
    )
    assert "text" not in spec(figure)["data"][0] and "title" not in spec(figure)["layout"]
    assert traces[0]["text"] is None and bar["title"] == "c"  # as they were


def test_tests_refuse_what_plotly_refuses():
    plain = checked(lambda traces, layout: go.Figure(traces, layout, **UNCHECKED))
    with pytest.raises(ValueError, match="Invalid property"):
        plain([{"type": "scatter", "colour": "red"}], {})
    with pytest.raises(AssertionError):
        plain([], {"xaxis": {"title": "x"}})  # a browser knows no title without parts
