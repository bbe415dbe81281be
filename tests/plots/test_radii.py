"""Where accuracy halves, the strongest attack, the classes hit most; bands of the line."""

import math
import re

import numpy as np
import pytest

from grace_geom.plots import cuts, landscape, robustness
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import look
from grace_geom.plots.panels import Point
from grace_geom.records import Finding, Measure, Part, Result


def one(values: dict, arrays: dict | None = None, n: dict | None = None, **settings) -> Finding:
    return Finding("r", Result("x", (), settings, {"r": Part(values, arrays or {}, n or {})}), "r")


def curve(attack: str, *shares: float) -> dict[str, Measure]:
    return {
        f"{attack}/{2**i}/255": Measure(s, None, s - 0.1, s + 0.1) for i, s in enumerate(shares)
    }


def test_half_of_the_accuracy_is_lost_between_two_radii():
    clean = {"clean": Measure(0.8, None, 0.7, 0.9)}
    f = one(clean | curve("pgd", 0.5, 0.3, 0.1), attacks=["pgd"])
    # from 0.5 at 1 to 0.3 at 2; the lower end is 0.4 at 1, the upper 0.4 at 2
    half = robustness.half_life(f, "pgd")
    assert (half.value, half.low, half.high) == pytest.approx((1.5, 1.0, 2.0))
    robust = robustness.half_life(one(clean | curve("pgd", 0.8, 0.7)), "pgd")
    assert robust is not None and math.isinf(robust.value)
    assert robustness.half_life(one(clean), "pgd") is None
    nothing = one(clean | curve("pgd", math.nan))  # not defined for these data
    assert robustness.half_life(nothing, "pgd") is None


def test_a_ring_is_where_half_of_the_accuracy_is_left():
    legend = Legend({"r": "r"}, {"r": look("ft")})
    f = one({"clean": Measure(0.8, None, 0.7, 0.9)} | curve("pgd", 0.5, 0.3), attacks=["pgd"])
    figure = robustness.curves([f], legend)["PGD"]
    (ring,) = (t for t in figure.data if t.mode == "markers")
    assert (list(ring.x), list(ring.y)) == ([1.5], [40.0])
    robust = one({"clean": Measure(0.8, None, 0.7, 0.9)} | curve("pgd", 0.8), attacks=["pgd"])
    assert {t.mode for t in robustness.curves([robust], legend)["PGD"].data} == {
        "lines", "lines+markers"
    }  # fmt: skip


def test_the_gap_to_a_run_is_that_of_the_same_images():
    inf = math.inf
    own, better = [0, 0.004, inf, 0.01, inf], [0.01, 0.01, inf, inf, inf]
    found = []
    for run, falls in (("base", own), ("other", better)):
        part = Part({}, {"falls/pgd": np.array(falls)})
        found.append(Finding(run, Result("x", (), {"radii": [0.004, 0.01]}, {run: part}), run))
    legend = Legend({"base": "base", "other": "other"}, {r: look("ft") for r in ("base", "other")})
    (title, figure), *_ = robustness.gaps(found, legend, "base", "pgd").items()
    assert title == "PGD, less “base”"
    (line,) = (t for t in figure.data if t.fill is None)
    assert list(line.y) == pytest.approx([20, 40, 20])  # of five images one, two, one alone
    assert list(line.x) == pytest.approx([0, 1.02, 2.55])
    assert robustness.gaps(found[:1], legend, "base", "pgd") == {}
    assert robustness.gaps(found, legend, "base", "apgd-ce") == {}


def test_intervals_of_paired_differences_cover_as_often_as_they_say():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        cell = rng.choice(4, 60, p=[0.5, 0.2, 0.1, 0.2])
        _, low, high = robustness.paired_gap(np.isin(cell, (0, 1)), np.isin(cell, (0, 2)))
        inside += low <= 0.1 <= high  # 0.2 - 0.1
    assert abs(inside / 1000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 1000)


def test_the_strongest_attack_leaves_the_least():
    values = {"clean": Measure(0.8)} | curve("pgd", 0.5, 0.4) | curve("apgd-ce", 0.5, 0.3)
    f = one(values | curve("apgd-t", math.nan), attacks=["pgd", "apgd-ce", "apgd-t"])
    assert robustness.strongest([f]) == "apgd-ce"
    assert robustness.strongest([one({}, attacks=["pgd"])]) == ""


def test_classes_stand_by_what_they_lose():
    drops = {"a": {"cat": Point(10), "dog": Point(30)}, "b": {"cat": Point(50), "fox": Point(29)}}
    assert robustness.hit_most(drops) == ["cat", "dog", "fox"]  # means 30, 30 and 29


def test_accuracies_on_the_line_have_the_intervals_of_their_images():
    arrays = {"line/t": np.array([0.0, 1.0]), "line/adv": np.array([0.5, math.nan]),
              "line/ood": np.array([0.6, 0.5]), "line/ood/x": np.array([0.7, 0.5]),
              "line/ood/y": np.array([0.5, 0.5])}  # fmt: skip
    f = one({}, arrays, {"id": 100, "x": 100, "y": 400})
    t, (half, unknown) = landscape.shares(f, "adv")
    assert list(t) == [0, 1] and unknown.low is None
    assert (half.low, half.high) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson, 50 of 100
    _, (mean, _) = landscape.shares(f, "ood")
    spread = 1.96 * math.sqrt(0.7 * 0.3 / 100 + 0.25 / 400) / 2
    assert (mean.low, mean.high) == pytest.approx((0.6 - spread, 0.6 + spread))
    assert landscape.shares(one({}, arrays), "adv")[1][0].low is None  # how many is not on record
    assert landscape.shares(f, "id") is None


def test_a_rise_is_over_the_loss_at_the_checkpoint():
    a = np.array([[-1.0, 0.0, 1.0], [3.0, 1.0, 2.0]])
    assert cuts.rise(a) == 1.5


def test_a_cell_of_transfer_has_its_interval_below_the_percent():
    values = {"transfer/r": Measure(0.84, None, 0.77, 0.9), "transfer/s": Measure(0, None, 0, 0.03)}
    other = Result("x", (), {}, {"s": Part({"transfer/r": Measure(0.5)}, {}, {})})
    found = [one(values), Finding("s", other, "s")]
    names = Legend({"r": "r", "s": "s"}, {run: look("ft") for run in "rs"})
    written = [t for t in robustness.transfer(found, names).data if t.type == "scatter"]
    texts = [re.sub("<span[^>]+>|</span>", "", text) for t in written for text in t.text]
    assert sorted(texts) == ["0<br>0\u20133", "50", "84<br>\u00b16"]
