"""Figures of the drift of weights."""

import numpy as np
import pytest

from grace_geom.plots import drift, static
from grace_geom.plots.legend import Identity, Legend
from grace_geom.records import Measure
from tests.plots.test_weight_figures import LEGEND, MATRICES, a_drift, found, panel


def test_drift_names_its_matrices_and_has_intervals_over_images():
    figure = drift.figures(found(a_drift), LEGEND)[""]
    (moved, _) = panel(figure, "Relative drift of each matrix")
    assert list(moved.customdata) == ["stem convolution", "", "block 0, MLP in", "", "projection"]
    assert np.isnan(np.asarray(moved.y, float)).tolist() == [False, True, False, True, False]
    (first, _) = panel(figure, "Singular values of the change of block 0, MLP in")
    assert list(first.y) == [3, 1]
    (lost, _) = panel(figure, "Drift against zero-shot accuracy lost")
    assert (lost.y[0], lost.error_y.array[0]) == pytest.approx((5, 10))
    note = figure.layout.annotations[-1].text.replace("\N{NO-BREAK SPACE}", " ")
    assert note.endswith("bars: 95 % intervals over images, n = 20 in each zero-shot set")


def test_of_many_runs_the_drift_of_the_extremes_is_in_colour_before_the_others():
    runs = dict.fromkeys("abcde", "ft")
    legend = Legend.of(
        {r: Identity(m, m, i) for i, (r, m) in enumerate(runs.items())}, {r: r for r in runs}
    )
    many = found(a_drift, runs)[::-1]
    front = drift.extremes(many, 3)
    assert front == ["a", "d", "e"] and drift.extremes(many, 5) == [*"abcde"]
    figure = drift.by_matrix(many, legend, [run for run in runs if run not in front])
    colors = {t.legendgroup: t.line.color for t in figure.data}
    assert colors["b"] == colors["c"] and len(set(colors.values())) == 4
    alone = next(t for t in figure.data if t.legendgroup == "b")  # the projection has no line
    assert (alone.mode, alone.marker.color) == ("lines+markers", colors["b"])


def test_the_map_of_drift_has_the_run_that_moved_farthest_on_top():
    def moved(i: int):
        values, arrays = a_drift(i)
        if i:  # leaves the stem alone
            values[f"relative/{MATRICES[1]}"] = Measure(0.0)
        return values, arrays

    figure = drift.map_by_matrix(found(moved), LEGEND)
    (cells,) = figure.data
    assert list(cells.y) == ["ft-s0", "grace-s0"]  # the first row lies below
    assert list(cells.x) == ["stem convolution", "block 0, MLP in", "projection"]
    np.testing.assert_allclose(cells.z[0], np.log10([0.02, 0.03, 0.01]))
    assert np.isnan(cells.z[1][0]) and cells.customdata[1][1] == pytest.approx(0.03)
    for make, said in ((moved, True), (a_drift, False)):  # a logarithmic axis has no 0
        note = drift.figures(found(make), LEGEND)[""].layout.annotations[-1].text
        assert ("without a mark" in note.replace("<br>", " ")) == said
    marked = drift.map_by_matrix(found(moved), LEGEND, "grace-s0")
    assert list(marked.layout.yaxis.ticktext) == ["ft-s0", "<b>grace-s0</b>"]
    static.draw(figure, 7).draw_without_rendering()
    assert drift.map_by_matrix(found(lambda i: ({}, {})), LEGEND) is None


def test_the_rank_of_a_change_is_where_its_singular_values_fall_to_rounding():
    fall = np.array([3.0, 2.0, 1e-6, 9e-7])
    assert drift.rank(fall) == 2
    assert drift.rank(np.array([3.0, 2.0, 0.05])) is None  # far, but not to rounding
    assert drift.rank(np.array([3.0, 1e-4, 1e-5])) == 1
    assert drift.rank(np.geomspace(1, 1e-6, 30)) is None  # nowhere of a sudden

    def low_rank(i: int):
        values, arrays = a_drift(i)
        spectra = np.tile(fall if i else np.array([3.0, 2.0, 1.5, 1.2]), (3, 1))
        return values, arrays | {"singular_values": spectra}

    figure, rows = drift.singular(found(low_rank), LEGEND, MATRICES[0])
    assert len(rows) == 8  # all values, those beyond the rank too
    assert [note.text for note in figure.layout.annotations] == ["rank 2: grace-s0"]
    assert figure.layout.shapes[0].x0 == 2.5
    assert figure.layout.xaxis.dtick == 1  # indices are whole


def test_drift_without_zero_shot_sets_speaks_of_no_bars():
    def without(i: int):
        values, arrays = a_drift(i)
        return {k: v for k, v in values.items() if k != "zero_shot_loss"}, arrays

    note = drift.figures(found(without), LEGEND)[""].layout.annotations[-1].text
    assert note == "Weights: image tower, seed 3"
