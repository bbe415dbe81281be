"""Differences around 0, a panel for each response."""

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
