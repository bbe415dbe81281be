"""Differences around 0, a panel for each response."""

import numpy as np
import pytest

from grace_geom.plots import export
from grace_geom.plots.forest import forest
from grace_geom.plots.panels import Point

FOUND = {
    data: {
        column: {head: Point(i + k, i + k - 1.5, i + k + 2.0) for i, head in enumerate("abc")}
        for column in ("ID", "Adv")
    }
    for k, data in enumerate(("shapes", "<photos>"))
}


def test_every_difference_has_its_place_and_interval():
    figure = forest(FOUND)
    traces = {(t.name, t.xaxis): t for t in figure.data}
    assert len(traces) == 4, "two data sets in two panels"
    shapes, photos = traces["shapes", "x"], traces["&lt;photos&gt;", "x"]
    assert list(photos.x) == [1, 2, 3]
    assert list(photos.error_x.array) == [2.0] * 3 and list(photos.error_x.arrayminus) == [1.5] * 3
    for row, (one, other) in enumerate(zip(shapes.y, photos.y, strict=True)):
        assert one != other and abs(one - row) < 0.5 and abs(other - row) < 0.5
    assert shapes.marker.symbol != photos.marker.symbol
    assert shapes.marker.color != photos.marker.color
    assert sum(bool(t.showlegend) for t in figure.data) == 2


def test_one_data_set_needs_no_legend_and_zero_is_marked():
    figure = forest({"shapes": FOUND["shapes"]})
    assert not any(t.showlegend for t in figure.data)
    lines = [s for s in figure.layout.shapes if s.x0 == s.x1 == 0]
    assert len(lines) == 2, "one in each panel"


@pytest.mark.parametrize(
    ("low", "high"),
    [(-4.2, 6.8), (-1.0, 5.4), (-3.3, 11.0), (-9.0, 0.5), (0.2, 0.9), (0.0, 0.0), (-0.04, 0.03)],
)
def test_numbers_stand_on_each_side_that_bars_reach(low, high):
    bar = Point(*map(np.float64, ((low + high) / 2, low, high)))
    axis = forest({"s": {"ID": {"a": bar}}}).layout.xaxis
    ticks, (start, end) = axis.tickvals, axis.range
    assert start < min(low, 0) and end > max(high, 0)
    assert 0 in ticks and 3 <= len(ticks) <= 6
    assert all(start <= tick <= end for tick in ticks)
    assert max(high, 0) < 0.2 * (end - start) or max(ticks) > 0
    assert -min(low, 0) < 0.2 * (end - start) or min(ticks) < 0


def test_an_index_is_lowered_and_a_note_stands_below(tmp_path):
    bars = {"attacked_at: W_pert − W": Point(1.0, 0.5, 1.5), "<b>_c: x − y": Point(0.0, -1.0, 1.0)}
    bare, figure = (
        forest({"s": {"ID": bars}}),
        forest({"s": {"ID": bars}}, note="36 runs <b>. " * 9),
    )
    names = ("attacked at: W<sub>pert</sub> − W", "&lt;b&gt; c: x − y")
    assert figure.layout.yaxis.ticktext == names
    (note,) = figure.layout.annotations
    assert "36 runs &lt;b&gt;" in note.text.replace("\u00a0", " ") and "<br>" in note.text
    assert not bare.layout.annotations and figure.layout.height > bare.layout.height
    assert "36 runs" in export.save(figure, tmp_path / "f.svg", 7.0).read_text()
