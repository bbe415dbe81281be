"""Figures that are made at once are those whose parts were added one by one."""

import json

import plotly.graph_objects as go

from grace_geom.plots.palette import DARK
from grace_geom.plots.style import dress, dressed

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
