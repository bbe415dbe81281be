"""How far class centroids moved: against numbers made by hand."""

import numpy as np
import pytest

from grace_geom.plots import centroids, static
from grace_geom.plots.legend import Identity, Legend
from grace_geom.records import Finding, Measure, Part, Result

RUNS = ("ft", "grace", "at")
LEGEND = Legend.of({run: Identity.of_label(run) for run in RUNS}, {run: run for run in RUNS})


def finding(run: str, **cosines: Measure) -> Finding:
    part = Part({f"centroid_cosine/{name}": m for name, m in cosines.items()})
    return Finding(run, Result("feature_stability", (), {}, {run: part}), run)


FOUND = [
    finding("ft", sketch=Measure(0.4, None, 0.3, 0.5), adv=Measure(0.9, None, 0.88, 0.93)),
    finding("grace", sketch=Measure(0.8, None, 0.7, 0.85), adv=Measure(0.99)),
    finding("at", sketch=Measure(0.7)),
]


def test_a_cosine_stands_by_its_distance_to_1_on_one_logarithmic_scale():
    drawn = centroids.moved(FOUND, LEGEND, ["sketch", "adv"], "ft")
    assert list(drawn) == ["Under shift: sketch", "Under attack"]
    sketch, adv = drawn.values()
    assert sketch.layout.xaxis.range == adv.layout.xaxis.range
    assert sketch.layout.xaxis.type == "log" and 10 ** adv.layout.xaxis.range[0] < 0.01
    # Rows in one order, what moved least over both panels on top; names are on the rows.
    assert sketch.layout.yaxis.ticktext == adv.layout.yaxis.ticktext == ("grace", "at", "<b>ft</b>")
    at = {trace.name: trace for trace in sketch.data}
    assert {run: trace.y[0] for run, trace in at.items()} == {"grace": 0, "at": 1, "ft": 2}
    assert at["ft"].x[0] == pytest.approx(0.6)
    assert at["ft"].error_x.array[0] == pytest.approx(0.1)  # to 1 − 0.3
    assert at["grace"].error_x.array[0] == pytest.approx(0.1)  # to 1 − 0.7
    assert at["grace"].error_x.arrayminus[0] == pytest.approx(0.05)  # to 1 − 0.85
    assert {trace.name for trace in adv.data} == {"ft", "grace"}
    assert [s.x0 for s in adv.layout.shapes if s.type == "line"] == pytest.approx([0.1])
    assert not any(trace.showlegend for figure in drawn.values() for trace in figure.data)
    for figure in drawn.values():
        static.draw(figure, 3).draw_without_rendering()


def test_a_cosine_of_1_stands_where_the_digits_end():
    found = [finding("ft", adv=Measure(1.0, None, 0.99, 1.0)), finding("at", adv=Measure(0.9))]
    (figure,) = centroids.moved(found, LEGEND, ["adv"]).values()
    assert figure.data[0].x[0] == centroids.DIGITS
    assert np.isfinite(figure.layout.xaxis.range).all()
    assert centroids.moved(found, LEGEND, []) == centroids.moved([], LEGEND, ["adv"]) == {}


def test_lines_between_powers_of_ten_have_no_numbers_but_the_last():
    found = centroids._ticks(-3.1, -0.1)
    assert [text for text in found["ticktext"] if text] == ["0.001", "0.01", "0.1", "0.5"]
    assert found["tickvals"] == [1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    assert centroids._ticks(-2.1, -0.1)["ticktext"] == ["0.01", "0.03", "0.1", "0.3"]
