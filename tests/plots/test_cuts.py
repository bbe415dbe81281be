"""Straight cuts through the loss: bands, further directions, and the rise at their ends."""

import numpy as np
import pytest

from grace_geom.plots import cuts
from grace_geom.plots.legend import Identity, Legend
from grace_geom.records import Finding, Measure, Part, Result

RUNS = [*"abcde"]
LEGEND = Legend.of({r: Identity("ft", "ft", i) for i, r in enumerate(RUNS)}, {r: r for r in RUNS})
SIDE = np.array([-1.0, 0.0, 1.0])
BANDED = np.stack([SIDE, [2.5, 2.0, 3.0], [0.2, 0.0, 0.4]])


def finding(run: str = "a", values=None, arrays=None) -> Finding:
    return Finding(run, Result("x", (), {}, {run: Part(values or {}, arrays or {})}), run)


def test_a_cut_has_a_band_of_its_rise_where_its_points_have_intervals():
    (figure,) = cuts.slices([finding(arrays={"random": BANDED})], LEGEND).values()
    band, line = figure.data
    assert band.fill == "toself" and list(line.y) == [0.5, 0, 1]
    np.testing.assert_allclose(band.y, [0.3, 0, 0.6, 1.4, 0, 0.7])  # lower ends, upper ones back
    (plain,) = cuts.slices([finding(arrays={"random": BANDED[:2]})], LEGEND).values()
    assert [t.fill for t in plain.data] == [None]
    lost = np.stack([SIDE, BANDED[1], np.full(3, np.nan)])
    assert cuts.banded(BANDED) and not cuts.banded(BANDED[:2]) and not cuts.banded(lost)


def test_intervals_of_many_cuts_stand_at_the_pointer():
    every = [finding(run, arrays={"eigen": BANDED}) for run in RUNS]
    (figure,) = cuts.slices(every, LEGEND).values()
    assert len(figure.data) == len(RUNS) > cuts.MOST_BANDS and not any(t.fill for t in figure.data)
    assert figure.data[0].customdata[2] == "1 [0.600, 1.400]"


def test_further_random_directions_are_thin_lines_that_rise_from_the_checkpoint():
    more = {"random": BANDED, "random_more": np.array([[2.1, 2.0, 2.2], [4.0, 2.0, 4.0]])}
    drawn = cuts.slices([finding(arrays=more | {"eigen": BANDED})], LEGEND)
    random, eigen = drawn.values()
    thin = [t for t in random.data if t.hoverinfo == "skip" and t.fill is None]
    assert [np.round(t.y, 6).tolist() for t in thin] == [[0.1, 0, 0.2], [2, 0, 2]]
    assert len(eigen.data) == 2 and random.data[-1].name == "a"  # the first one lies on top


def test_the_rise_at_the_ends_of_a_slice_stands_with_its_interval():
    known = finding("a", {"random/rise": Measure(0.3, 0.1, 0.1, 0.5)})
    ((title, figure),) = cuts.rises([known, finding("b")], LEGEND).items()
    assert title == "Rise at its ends, mean"
    (row,) = figure.data
    assert (row.x[0], row.error_x.array[0], row.error_x.arrayminus[0]) == pytest.approx(
        (0.3, 0.2, 0.2)
    )
    assert cuts.rises([finding("a", {"random/rise": Measure(0.3)})], LEGEND) == {}
