"""Which lines lie over each other, and the sentence that says so."""

import numpy as np
import plotly.graph_objects as go
import pytest

from grace_geom.plots.coinciding import SAME, coinciding, said

X = np.linspace(0, 10, 11)
NAMES = {run: f"run {run}" for run in "abcdefg"}


@pytest.mark.parametrize(("apart", "same"), [(0.9 * SAME, True), (1.1 * SAME, False)])
def test_lines_coincide_up_to_a_share_of_the_axis(apart, same):
    bump = np.where(X == 5, apart * 200, 0)
    found = coinciding({"a": (X, 3 * X), "b": (X, 3 * X + bump)}, 10, 200)
    assert found == ([("a", "b")] if same else [])


def test_lines_of_other_places_are_compared_in_between_and_shorter_ones_are_others():
    finer = np.linspace(0, 10, 41)
    lines = {"a": (X, 2 * X), "b": (finer, 2 * finer), "c": (X[:6], 2 * X[:6])}
    lines["d"] = X, np.where(X == 3, np.nan, 2 * X)
    lines["e"] = X, np.full(11, np.nan)
    assert coinciding(lines, 10, 20) == [("a", "b", "d")]


@pytest.mark.parametrize("order", [("few", "many"), ("many", "few")])
def test_a_line_with_few_places_is_not_one_that_leaves_it_between_them(order):
    known = {"few": ([0, 10], [0, 0]), "many": (X, np.where(X == 5, 9.0, 0.0))}
    assert coinciding({run: known[run] for run in order}, 10, 10) == []


def test_a_row_of_close_lines_is_not_one_group():
    lines = {run: (X, np.full(11, 0.8 * SAME * i)) for i, run in enumerate("abc")}
    assert coinciding(lines, 10, 1) == [("a", "b")]


def line(run: str, y: np.ndarray, **more: object) -> dict[str, object]:
    return {"type": "scatter", "mode": "lines", "legendgroup": run, "x": X, "y": y, **more}


def test_the_sentence_names_runs_and_the_panels_where_not_all_agree():
    one = go.Figure([line("a", X), line("b", X), line("c", -X)])
    two = go.Figure([line("a", X), line("b", X**2), line("c", X)])
    assert said({"One": one}, NAMES) == "Lines of run a and run b coincide."
    both = said({"One": one, "Two": two}, NAMES)
    assert both == "Lines of run a and run b (One); of run a and run c (Two) coincide."
    assert said({"One": one, "Again": one}, NAMES) == "Lines of run a and run b coincide."
    assert said({"Two": go.Figure([line("a", X), line("b", -X)])}, NAMES) == ""
    many = go.Figure([line(run, X) for run in "abcdefg"])
    assert said({"": many}, NAMES) == "Lines of run a, run b, run c and 4 more coincide."


def test_bands_are_no_lines_and_logarithms_are_compared_as_they_are_drawn():
    band = line("b", X, hoverinfo="skip")
    assert said({"": go.Figure([line("a", X), band])}, NAMES) == ""
    close = [line("a", np.full(11, 1e-3)), line("b", np.full(11, 2e-3)), line("c", X + 1)]
    assert said({"": go.Figure(close)}, NAMES) == "Lines of run a and run b coincide."
    axis = {"yaxis": {"type": "log", "range": [-4, 2]}}
    assert said({"": go.Figure(close, axis)}, NAMES) == ""


def test_panels_of_one_figure_are_told_apart_by_their_axes():
    traces = [line("a", X), line("b", X), line("a", X, yaxis="y2"), line("b", -X, yaxis="y2")]
    heads = [
        {"text": name, "yref": f"{axis} domain"} for name, axis in (("Loss", "y"), ("Acc", "y2"))
    ]
    figure = go.Figure(traces, {"yaxis": {}, "yaxis2": {}, "annotations": heads})
    assert said({"": figure}, NAMES) == "Lines of run a and run b (Loss) coincide."
