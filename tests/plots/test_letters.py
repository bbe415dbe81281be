"""Printed figures keep their letters apart and on the sheet, at one run and at twelve."""

import numpy as np
import plotly.graph_objects as go
import pytest

from grace_geom.plots import static
from grace_geom.plots.compose import compose
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.palette import LIGHT
from grace_geom.plots.panels import Curve, log_axis, overlay
from grace_geom.plots.style import unbroken
from tests.plots.contact import METHODS, PAGE, faults

X = np.arange(1.0, 8.0)
RANGE = {"title": "Accuracy (%)", "range": [0, 100]}


def legend(count: int) -> Legend:
    runs = [f"{method}-s0" for method in METHODS[:count]]
    who = {run: Identity.of_label(run.removesuffix("-s0"), 0) for run in runs}
    return Legend.of(who, {run: run for run in runs})


def lines(count: int, scale: float = 1.0, start: float = 0.0, **y: object) -> go.Figure:
    key = legend(count)
    curves = {run: Curve(start + scale * X, scale * (X + i), scale * X, scale * (X + i + 1))
              for i, run in enumerate(key.looks)}  # fmt: skip
    return overlay(curves, key, {"title": "Share of the images"}, {"title": "Rise"} | y)


@pytest.mark.parametrize("count", [1, 12])
def test_numbers_close_together_are_fewer_before_they_are_turned_into_the_row_below(count):
    rows = [
        {"a": lines(count), "b": lines(count, 7e-5, 0.9995), "c": lines(count, 7e-5, 0.9995)}
    ] * 2
    made = static.draw(compose("Cosines", rows, legend(count), "n = 60, 95 %"), PAGE)
    assert faults(made) == []
    turned = [t for ax in made.axes for t in ax.get_xticklabels() if t.get_rotation()]
    assert not turned


def test_a_power_of_ten_stands_at_each_number_and_not_in_the_title():
    made = static.draw(
        compose("T", [{"A title as long as its panel": lines(2, 1e-6)}], legend(2)), 3
    )
    assert faults(made) == []
    (ax,) = made.axes
    words = [t.get_text() for t in ax.get_yticklabels()]
    assert any(r"\cdot10^{-6}" in word for word in words)
    assert not ax.yaxis.get_offset_text().get_text()


def test_numbers_close_together_are_written_whole():
    made = static.draw(compose("T", [{"A": lines(1, 1e-3, 5000.0)}], legend(1)), 3)
    words = [t.get_text() for t in made.axes[0].get_xticklabels() if t.get_text()]
    assert words and all("{5000.00" in word for word in words), words


def test_long_names_below_a_map_are_turned_before_they_touch():
    names = list(legend(12).looks)
    grid = np.arange(84.0).reshape(12, 7)
    figure = heat(grid, names[5:], names, (0, 84), "Accuracy (%)", LIGHT, ("Seen by", "Found at"),
                  square=False, words=True, height=500)  # fmt: skip
    made = static.draw(compose("Transfer", [{"": figure}], legend(12)), PAGE)
    assert faults(made) == []
    labels = [t for t in made.axes[0].get_xticklabels() if t.get_text()]
    assert {t.get_rotation() for t in labels} == {90.0}


def test_panels_of_one_vertical_scale_name_it_once():
    rows = [{"one": lines(2, **RANGE), "two": lines(2, **RANGE), "three": lines(2)}]
    apart = compose("T", rows, legend(2))
    assert apart.layout.yaxis2.showticklabels is False
    assert apart.layout.yaxis3.showticklabels is not False, "the third has another scale"
    del rows[0]["three"]
    figure = compose("T", rows, legend(2))
    assert figure.layout.yaxis.title.text == "Accuracy (%)"
    assert figure.layout.yaxis2.showticklabels is False and not figure.layout.yaxis2.title.text
    assert figure.layout.yaxis2.matches == "y"
    made = static.draw(figure, PAGE)
    assert made.axes[0].get_ylim() == made.axes[1].get_ylim() == (0, 100)


def test_bands_of_many_runs_leave_their_lines_visible():
    strengths = [
        float(lines(count).data[0].fillcolor.rpartition(",")[2].strip(" )")) for count in (1, 12)
    ]
    assert strengths == [0.18, 0.05]


def test_ticks_of_logarithms_are_numbers_or_powers():
    assert "200" in log_axis([[100.0, 1000.0]])["ticktext"]
    assert "2·10<sup>-7</sup>" in log_axis([[1e-7, 1e-6]])["ticktext"]


def test_no_line_breaks_before_a_percent_sign_or_within_an_equation():
    assert unbroken("95 % of n = 60") == "95\u00a0% of n\u00a0=\u00a060"
