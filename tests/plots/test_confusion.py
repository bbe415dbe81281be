"""Who is right, class by class, and what is taken for what: against counts made by hand."""

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.colors import sample_colorscale

from grace_geom.plots import confusion, static
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import DARK, LIGHT
from grace_geom.plots.shades import TEXT, contrast
from grace_geom.records import Accuracy, RecordError, pack, paired_interval, wilson
from grace_geom.records.accuracy import pack_numbers

RUNS = ("ft", "grace")
LEGEND = Legend.of({run: Identity.of_label(run) for run in RUNS}, {run: run for run in RUNS})
LABELS = np.array([0, 0, 0, 1, 1, 3])
NAMES = ("cat", "dog", "never", "<i>fox")


def accuracy(answers: list[int], ids: str = "x", names: tuple[str, ...] = NAMES) -> Accuracy:
    right = np.array(answers) == LABELS
    return Accuracy(
        "id", "pets", "pets", 6, int(right.sum()), right.mean(), 0, 1, 0.0,
        subset={"ids_sha256": ids}, outcomes=pack(right), class_names=names,
        labels=pack_numbers(LABELS), predictions=pack_numbers(np.array(answers)),
    )  # fmt: skip


FT, GRACE = accuracy([0, 0, 1, 0, 1, 0]), accuracy([0, 1, 1, 1, 1, 3])


def test_images_are_counted_by_class_and_who_is_right():
    found = confusion.split(FT, GRACE)
    assert found.n.tolist() == [3, 2, 0, 1]
    assert found.only_a.tolist() == [1, 0, 0, 0]
    assert found.only_b.tolist() == [0, 1, 0, 1]
    assert found.both.tolist() == [1, 1, 0, 0]
    assert found.names[found.most_gained] == "dog"
    assert found.shown().tolist() == [3, 1, 0]  # by share of the class; none without images
    assert len(found.shown(2)) == 2


def test_other_images_are_not_compared():
    with pytest.raises(RecordError, match="same images"):
        confusion.split(FT, accuracy([0] * 6, ids="y"))


def test_bars_go_to_both_sides_in_percent_of_the_class():
    figure = confusion.by_class(confusion.split(FT, GRACE), RUNS, LEGEND)
    left, right = figure.data
    assert list(left.y) == ["&lt;i&gt;fox", "dog", "cat"]
    np.testing.assert_allclose(left.x, [0, 0, -100 / 3])
    np.testing.assert_allclose(right.x, [100, 50, 0])
    assert "-" not in "".join(figure.layout.xaxis.ticktext)
    ends = [100 * end for end in wilson(1, 2)]  # of two dogs only the second gets one right
    assert list(right.customdata[1][3:]) == pytest.approx(ends)
    ends = [100 * end for end in wilson(1, 3)]  # of three cats only the first gets one right
    assert list(left.customdata[2][3:]) == pytest.approx(ends)
    assert left.error_x.array is None and right.error_x.array is None  # they would overlap
    assert figure.layout.xaxis.range[1] >= 100
    static.draw(figure, 7).draw_without_rendering()
    assert confusion.by_class(confusion.split(FT, FT), RUNS, LEGEND) is None


def test_gains_are_hollow_unless_their_paired_interval_leaves_zero_out():
    found = confusion.Split(("cat", "dog", "fox"), *map(np.array, ([40, 40, 40], [1, 20, 6],
                                                                   [20, 1, 7], [0, 0, 0])))  # fmt: skip
    figure = confusion.gains(found, RUNS, LEGEND)
    drawn = {trace.text[0]: trace for trace in figure.data}
    assert [figure.layout.yaxis.ticktext[int(t.y[0])] for t in drawn.values()] == [*drawn]
    assert drawn["cat"].marker.color == LEGEND.looks["grace"].color and drawn["cat"].x[0] == 47.5
    assert drawn["dog"].marker.color == LEGEND.looks["ft"].color and drawn["dog"].x[0] == -47.5
    assert drawn["fox"].marker.color == LEGEND.ground.paper
    low, high = (100 * end for end in paired_interval(6, 7, 40))
    assert tuple(drawn["fox"].customdata[0]) == pytest.approx((low, high)) and low < 0 < high
    static.draw(figure, 7).draw_without_rendering()
    assert confusion.gains(confusion.split(FT, FT), RUNS, LEGEND) is None


def first_names(figure: go.Figure) -> list[str]:
    return list(figure.data[0].x)


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_numbers_have_the_contrast_of_text_with_their_cells(ground):
    legend = Legend.of({r: Identity.of_label(r) for r in RUNS}, {r: r for r in RUNS}, ground)
    seen = 0
    for figure in confusion.matrices([("ft", FT), ("grace", GRACE)], legend).values():
        cells, *texts = figure.data
        z = np.asarray(cells.z, float)
        for trace in texts:
            for x, y in zip(trace.x, trace.y, strict=True):
                value = z[list(cells.y).index(y), list(cells.x).index(x)]
                share = (value - cells.zmin) / (cells.zmax - cells.zmin)
                (rgb,) = sample_colorscale(
                    [[at, color] for at, color in cells.colorscale], [share], colortype="tuple"
                )
                color = "#" + "".join(f"{round(255 * v):02x}" for v in rgb)
                assert contrast(trace.textfont.color, color) >= TEXT, (value, color)
                seen += 1
    assert seen > 8


def test_matrices_are_in_percent_and_a_mistake_more_is_a_loss():
    drawn = confusion.matrices([("ft", FT), ("grace", GRACE)], LEGEND)
    assert list(drawn) == ["ft", "grace", "Gain of “grace” over “ft”"]
    first, second, gap = (np.asarray(f.data[0].z, float) for f in drawn.values())
    np.testing.assert_allclose(first, [[200 / 3, 100 / 3, 0], [50, 50, 0], [100, 0, 0]])
    right = np.eye(3, dtype=bool)
    np.testing.assert_allclose(gap[right], (second - first)[right])
    np.testing.assert_allclose(gap[~right], (first - second)[~right])
    assert gap[0, 1] < 0 and not np.signbit(gap[gap == 0]).any()  # one more cat is a dog
    assert drawn["Gain of “grace” over “ft”"].data[0].colorbar.title.text == "Gain (points)"
    assert (
        drawn["Gain of “grace” over “ft”"].data[0].zmax
        == -drawn["Gain of “grace” over “ft”"].data[0].zmin
        == 100
    )
    words = {(t.y[i], t.x[i]): t.text[i] for t in drawn["ft"].data[1:] for i in range(len(t.x))}
    assert [words.get(("cat", name)) for name in first_names(drawn["ft"])] == ["67", "33", None]
    for figure in drawn.values():
        static.draw(figure, 7).draw_without_rendering()
    assert list(confusion.matrices([("ft", FT)], LEGEND)) == ["ft"]
    few = confusion.matrices([("ft", FT), ("grace", GRACE)], LEGEND, most=2)
    assert list(few["ft"].data[0].y) == ["cat", "dog"]  # which changed most


def test_the_commonest_mistakes_come_first_with_the_counts_of_each_run():
    rows = confusion.mistakes([FT, GRACE])
    assert rows[0] == ("cat", "dog", 3, [1, 2])
    assert ("<i>fox", "cat", 1, [1, 0]) in rows
    assert all(label != other for label, other, *_ in rows)
