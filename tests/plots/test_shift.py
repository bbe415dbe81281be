"""How panels beside the line fill their rows, and that names keep clear of it."""

import pytest

from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.placing import place_labels
from grace_geom.plots.shift import ShiftPanel, above_the_line
from grace_geom.records import Estimate
from grace_geom.records.effective import line_through


def near(value: float) -> Estimate:
    return Estimate(value, 0.01, value - 0.02, value + 0.02)


@pytest.mark.parametrize(("n", "columns", "key"), [(1, 1, 0), (3, 3, 0), (4, 2, 0), (5, 3, 1)])
def test_panels_fill_their_rows_or_the_last_place_says_what_marks_mean(n, columns, key):
    shares = {"zero-shot": (0.6, 0.4), "ft": (0.7, 0.52), "lora": (0.8, 0.6), "grace": (0.75, 0.6)}
    line = line_through(list(shares.values())[:3])
    points = {run: (near(a), near(b)) for run, (a, b) in shares.items()}
    legend = Legend.of({run: Identity(run, run) for run in shares}, {run: run for run in shares})
    panels = [ShiftPanel(f"set {i}", line, points, ("zero-shot", "ft", "lora")) for i in range(n)]
    figure = above_the_line(panels, legend)
    starts = {round(axis.domain[0], 6) for axis in figure.select_xaxes()}
    assert len(starts) == columns
    assert len(list(figure.select_xaxes())) == n  # no empty axes
    said = [note.text for note in figure.layout.annotations]
    assert len(said) == key and all("Hollow" in text for text in said)


def test_names_keep_clear_of_a_line():
    point = {"a": (Estimate(0.5, 0, 0.5, 0.5), Estimate(0.5, 0, 0.5, 0.5))}
    spans = [[0.0, 100.0], [0.0, 100.0]]
    rising = [(x / 2, x / 2) for x in range(201)]
    assert place_labels(point, {"a": "a run"}, spans, (420, 360))["a"] == "top right"
    moved = place_labels(point, {"a": "a run"}, spans, (420, 360), line=rising)["a"]
    assert moved in ("top left", "bottom right")
