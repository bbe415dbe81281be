"""Names at the ends of lines."""

import numpy as np
import pytest
from scipy.optimize import minimize

from grace_geom.plots import static
from grace_geom.plots.coinciding import said
from grace_geom.plots.ends import LINE, name_ends, stacked
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.panels import Curve, overlay
from grace_geom.plots.spoken import spoken

RUNS = [*"abcd"]
LEGEND = Legend.of({r: Identity("ft", "ft", i) for i, r in enumerate(RUNS)}, {r: r for r in RUNS})


def names(figure):
    return {t.text[1].strip(): t for t in figure.data if t.mode == "lines+text"}


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_a_thin_line_leads_from_the_last_point_to_the_name(kind):
    lines = {"a": Curve([0, 1, 2], [1, 2, 10.0]), "b": Curve([0, 1, 2], [1, 2, np.nan])}
    plain = overlay(lines, LEGEND, {}, {"type": kind}, behind=["b"])
    figure = name_ends(plain, LEGEND, ["b"])
    a, b = (names(figure)[run] for run in "ab")
    assert (a.x[0], a.y[0], b.x[0], b.y[0]) == pytest.approx((2, 10, 1, 2))
    assert a.x[1] == b.x[1] > 2 and (a.y[1], b.y[1]) == pytest.approx((10, 2))
    low, high = figure.layout.xaxis.range
    assert low < 0 and high > a.x[1] and figure.layout.yaxis.type == kind
    assert b.textfont.color == LEGEND.ground.muted != a.textfont.color
    assert not names(plain) and spoken(figure) == spoken(plain)
    assert said({"": figure}, {r: r for r in RUNS}) == ""  # two thin lines are no runs
    static.draw(figure, 7).draw_without_rendering()
    assert name_ends(overlay({}, LEGEND, {}, {}), LEGEND).data == ()


def test_names_are_spread_as_little_as_can_be():
    wanted = {"a": 50.0, "b": 52.0, "c": 20.0, "d": 199.0, "e": 55.0}
    found = stacked(wanted, 200)
    order = [*found]
    goal = np.array([wanted[name] for name in order])
    gaps = [{"type": "ineq", "fun": lambda x, i=i: x[i + 1] - x[i] - LINE} for i in range(4)]
    best = minimize(
        lambda x: ((x - goal) ** 2).sum(),
        goal,
        constraints=gaps,
        bounds=[(LINE / 2, 200 - LINE / 2)] * 5,
    )
    np.testing.assert_allclose([*found.values()], best.x, atol=1e-3)
    crowded = [*stacked(dict.fromkeys(RUNS, 200.0), 200).values()]
    assert crowded == [200 - LINE * (n + 0.5) for n in (3, 2, 1, 0)]


def test_where_there_is_no_room_for_all_names_those_in_grey_are_left_out():
    close = {run: Curve([0, 1], [0.0, 50]) for run in RUNS}
    low = overlay(close, LEGEND, {}, {"range": [0, 100]}, height=90 + 2 * LINE, behind="ac")
    assert set(names(name_ends(low, LEGEND, "ac"))) == {"b", "d"}
