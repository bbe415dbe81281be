"""Figures of the analyses: the numbers in them, against those that the records hold or that are
counted by hand.
"""

import math

import numpy as np
import pytest

from grace_geom.plots import (
    clouds,
    cuts,
    drift,
    features,
    landscape,
    layers,
    maps,
    panels,
    robustness,
    static,
    strips,
    zoom,
)
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import LIGHT, look
from grace_geom.plots.style import from_zero
from grace_geom.records import Finding, Measure, Part, Result
from grace_geom.records.statistics import wilson

LEGEND = Legend({"a": "a", "b": "b<i>"}, {"a": look("ft"), "b": look("at")})


def finding(
    run: str = "a", values: dict | None = None, arrays: dict | None = None, **settings: object
) -> Finding:
    parts = {run: Part(values or {}, arrays or {})}
    return Finding(run, Result("x", ({"label": run},), settings, parts), run)


def line_of(figure, name: str = "a"):
    return next(t for t in figure.data if t.name == name)


def test_long_lines_are_thinned_and_keep_their_ends():
    figure = panels.overlay({"a": panels.Curve(range(9000), range(9000))}, LEGEND, {}, {})
    x = figure.data[0].x
    assert len(x) == panels.MOST_POINTS and (x[0], x[-1]) == (0, 8999)


def test_a_band_is_as_wide_as_its_interval():
    figure = panels.overlay({"a": panels.Curve([0, 1], [1, 2], [0.5, 1.5], [2, 3])}, LEGEND, {}, {})
    band = line_of(figure, "a interval")
    assert list(band.y) == [0.5, 1.5, 3, 2]
    assert band.fill == "toself"


def test_a_dot_plot_holds_zero_and_no_marker_lies_over_the_names():
    found = [0.0, 2.0, None, float("nan")]
    assert from_zero(found) == pytest.approx([-0.1, 2.1])
    assert from_zero([-3.0, -1.0]) == pytest.approx([-3.15, 0.15])
    assert from_zero([]) == from_zero([0.0]) == [-1.0, 1.0]


def test_large_grids_are_averaged_on_both_sides():
    grid, (rows, columns) = maps.averaged(np.add.outer(np.arange(512.0), 10 * np.arange(300.0)))
    assert grid.shape == (256, 256)
    assert grid[0, 0] == pytest.approx(np.mean([[0, 10], [1, 11]]))
    assert (rows[1], columns[1]) == (2, 2)


def test_a_point_without_interval_shows_its_standard_error():
    found = panels.point(Measure(1.0, 0.5))
    assert found is not None and (found.low, found.high) == pytest.approx((1 - 0.98, 1 + 0.98))
    assert panels.point(Measure(float("nan"))) is None


def test_a_contour_s_levels_are_the_same_for_every_run_and_axes_are_equal():
    low, high = np.zeros((3, 3)), np.full((3, 3), 7.0)
    axis = np.array([-1.0, 0.0, 1.0])
    found = [
        finding(run, arrays={"contour": z, "contour_axis": axis})
        for run, z in (("a", low), ("b", high))
    ]
    one, two = landscape.contours(found, LEGEND).values()
    assert one.data[0].contours.to_plotly_json() == two.data[0].contours.to_plotly_json()
    assert (one.data[0].zmin, one.data[0].zmax) == (0, 7)
    assert one.layout.yaxis.scaleanchor == "x"
    solid = list(landscape.surfaces(found, LEGEND).values())
    assert solid[0].layout.scene.zaxis.range == solid[1].layout.scene.zaxis.range
    assert all(s.layout.scene.aspectmode == "manual" and s.layout.uirevision for s in solid)


def test_slices_of_other_shapes_are_refused():
    blocks = [
        {"blocks": np.array(["w"]), "block_shapes": np.array([shape])}
        for shape in ("(2,)", "(2,)", "(3,)")
    ]
    kept, refused = landscape.comparable(
        [finding(run, arrays=b) for run, b in zip("abc", blocks, strict=True)]
    )
    assert [f.run for f in kept] == ["a", "b"]
    assert [f.run for f in refused] == ["c"]


def test_the_line_shows_percent_against_the_way():
    arrays = {
        "line/t": np.array([0, 1.0]),
        "line/id": np.array([0.5, 0.75]),
        "line/adv": np.array([0.0, 0.25]),
    }
    drawn = landscape.line([finding(arrays=arrays)], LEGEND, ["id", "adv"])
    assert list(drawn) == ["In distribution", "Under attack"]
    assert list(drawn["In distribution"].data[0].y) == [50, 75]
    near, whole = (drawn[head].layout.yaxis for head in ("In distribution", "Under attack"))
    assert whole.range == pytest.approx((-4.5, 79.5))  # all panels: 0 to 75
    assert near.range == pytest.approx((48.5, 76.5))  # a third of that
    assert (near.title.text, whole.title.text) == ("Accuracy (%), zoomed", "Accuracy (%)")
    assert zoom.said(drawn) == " Zoomed: “In distribution”."
    arrays["line/id"] = np.array([0.2, 0.75])
    drawn = landscape.line([finding(arrays=arrays)], LEGEND, ["id", "adv"])
    assert len({fig.layout.yaxis.range for fig in drawn.values()}) == 1 and not zoom.said(drawn)
    drawn = landscape.line([finding(arrays=arrays)], LEGEND, ["id"])  # nothing to compare it with
    assert not zoom.said(drawn)


def test_numbers_of_a_logarithmic_axis_have_one_form():
    assert panels.log_axis([[0.002, 0.5]])["ticktext"][:1] == ["0.001"]
    small = panels.log_axis([[2e-5, 0.5]])["ticktext"]
    assert small == [f"10<sup>{k}</sup>" for k in range(-5, 0)] + ["1"]
    heads = panels.log_axis([[4e-4, 3e-3]])["ticktext"]
    assert {"5·10<sup>-4</sup>", "10<sup>-3</sup>", "2·10<sup>-3</sup>"} <= set(heads)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 11])
def test_marks_of_a_row_stand_apart(n):
    runs = [f"run{i}" for i in range(n)]
    legend = Legend({r: r for r in runs}, {r: look("ft") for r in runs})
    figure = panels.rows({r: {"a": panels.Point(0.5)} for r in runs}, ["a", "b"], legend, {})
    at = np.sort([float(trace.y[0]) for trace in figure.data])
    inner = figure.layout.height - 70  # of two rows
    assert np.all(np.diff(at) * inner / 2 >= figure.data[0].marker.size)
    assert abs(at).max() < 0.5


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (-0.62, 0.48, ["0.5", "1", "2"]), (-0.34, -0.24, ["0.5", "0.55"]),
        (1.55, 1.64, ["36", "38", "40", "42"]), (-1, 0.8, ["0.1", "0.3", "1", "3"]),
        (-8.5, 0.1, ["10<sup>-8</sup>", "10<sup>-6</sup>", "10<sup>-4</sup>", "10<sup>-2</sup>", "1"]),
    ],
)  # fmt: skip
def test_ticks_of_a_low_logarithmic_panel_are_few_and_round(low, high, texts):
    found = panels.log_ticks(low, high)
    assert found["ticktext"] == texts
    assert all(low <= np.log10(tick) <= high for tick in found["tickvals"])


def test_many_lines_have_their_intervals_at_the_pointer_and_few_have_bands():
    arrays = {"line/t": np.array([0, 1.0]), "line/id": np.array([0.5, 0.75])}
    runs = [f"run{i}" for i in range(cuts.MOST_BANDS + 1)]
    legend = Legend({run: run for run in runs}, {run: look("ft") for run in runs})
    every = [finding(run, arrays=arrays) for run in runs]
    for f in every:
        f.part.n["id"] = 100
    low, high = (100 * end for end in wilson(75, 100))
    (few,) = landscape.line(every[:-1], legend, ["id"]).values()
    assert sum(t.fill == "toself" for t in few.data) == len(runs) - 1
    (many,) = landscape.line(every, legend, ["id"]).values()
    assert not any(t.fill for t in many.data) and len(many.data) == len(runs)
    assert many.data[0].customdata[1] == f"1 [{low:.1f}, {high:.1f}]"
    half = max(50 * (b - a) for a, b in (wilson(50, 100), wilson(75, 100)))
    assert landscape.widest(every, ["id", "adv"]) == pytest.approx(half)
    assert landscape.widest([finding(arrays=arrays)], ["id"]) == 0.0


def test_cka_heat_maps_share_the_scale_from_0_to_1():
    grid = np.array([[1.0, 0.2], [0.3, 0.9]])
    f = finding(arrays={"layers": np.array(["block.0", "embedding"]), "cka_layers/id": grid})
    (figure,) = layers.layer_by_layer([f], LEGEND, "id").values()
    heat = figure.data[0]
    assert (heat.zmin, heat.zmax) == (0, 1)
    np.testing.assert_array_equal(heat.z, grid)
    assert (list(heat.x), list(heat.y)) == (["0", "embedding"], ["0", "embedding"])
    (small,) = layers.layer_by_layer([f], LEGEND, "id", small=True).values()
    for one, word in ((figure, "embedding"), (small, "E")):  # one word on both axes
        assert one.layout.xaxis.ticktext[-1] == one.layout.yaxis.ticktext[-1] == word
    assert figure.layout.height > small.layout.height


def test_layers_and_distributions_have_names_for_people():
    axis = layers.layer_axis([*map(str, range(12)), "embedding"])
    assert axis["ticktext"][-1] == "embedding"  # its neighbours leave it the room it needs
    assert axis["ticktext"][:-1] == [str(i) for i in range(11)]
    assert layers.layer_axis(["0", "1", "2"])["ticktext"] == ["0", "1", "2"]
    assert [layers.layer_name(n) for n in ("block.3", "3", "embedding")] == [
        "block 3", "block 3", "embedding"
    ]  # fmt: skip
    assert (layers.title("ood"), layers.brief("ood"), layers.where("ood")) == (
        "Under shift", "OOD", "under shift"
    )  # fmt: skip
    assert layers.where("sketch") == "on sketch" and layers.title("sketch") == "Under shift: sketch"


def test_panels_by_layer_share_their_scale_and_come_in_order():
    arrays = {f"cka/{s}": np.array([[v, v], [v - 0.1, v], [v, v + 0.1]]) for s, v in
              (("clean-adv", 0.9), ("adv", 0.2), ("sketch", 0.5), ("id", 0.7))}  # fmt: skip
    f = finding(arrays=arrays | {"layers": np.array(["block.0", "embedding"])})
    sets = layers.order(f.array_names("cka"))
    assert sets == ["id", "sketch", "adv", "clean-adv"]
    drawn = layers.by_layer([f], LEGEND, "cka", sets, "CKA")
    *others, within = (figure.layout.yaxis for figure in drawn.values())
    assert len({tuple(axis.range) for axis in others}) == 1
    assert others[0].range[0] < 0.1 and within.range[0] > 0.78  # its numbers are 0.8 to 1
    assert (others[0].title.text, within.title.text) == ("CKA", "CKA, zoomed")
    assert zoom.said(drawn) == " Zoomed: “Clean against attacked, within one run”."
    assert list(line_of(drawn["In distribution"]).y) == [0.7, 0.7]


def seed(run: str, *cka: float, start: float = 1.0) -> Finding:
    v = np.array([start, *cka])
    arrays = {"cka/id": np.stack([v, v - 0.01, v + 0.01])}
    arrays["layers"] = np.array([f"block.{i}" for i in range(len(v))])
    return Finding(run, Result("x", (), {}, {run: Part({}, arrays)}), run)


def test_of_several_trainings_the_mean_is_drawn_with_its_interval():
    first, seeds = seed("a", 0.5), [seed("a", 0.5), seed("ft-s1", 0.7), seed("ft-s2", 0.6)]
    a = layers.of_layers(first, "cka/id", {"a": seeds})
    half = 4.302653 * 0.1 / math.sqrt(3)  # t at 2 degrees of freedom, sd 0.1
    np.testing.assert_allclose(a[:, 1], [0.6, 0.6 - half, 0.6 + half], rtol=1e-6)
    np.testing.assert_allclose(a[:, 0], [1, 1, 1])
    deep = seed("ft-s3", 0.1, 0.1)  # another tower is no training of the same
    np.testing.assert_allclose(
        layers.of_layers(first, "cka/id", {"a": [first, deep]}), first.array("cka/id")
    )
    panel = layers.by_layer([first], LEGEND, "cka", ["id"], "CKA", seeds={"a": seeds})
    assert list(line_of(panel["In distribution"]).y) == pytest.approx([1, 0.6])


def test_of_many_lines_the_extremes_stand_in_front():
    found = [seed(f"m{i}", i / 10) for i in range(8)]
    legend = Legend({f.run: f.run for f in found}, {f.run: look("ft") for f in found})
    front = layers.ends(found, "cka", ["id"], {}, 4)
    assert front == ["m0", "m1", "m6", "m7"]
    behind = [f.run for f in found if f.run not in front]
    (figure,) = layers.by_layer(found, legend, "cka", ["id"], "CKA", behind=behind).values()
    assert [t.name for t in figure.data[:4]] == behind  # below the others
    assert {t.line.width for t in figure.data[:4]} == {1} and figure.data[0].line.color != (
        figure.data[5].line.color
    )
    assert sum(t.fill == "toself" for t in figure.data) == 4  # bands of those in front alone


def test_numbers_by_layer_over_decades_have_a_logarithmic_axis():
    def kind(low: float, key: str = "procrustes", band: float = 1.1) -> str | None:
        v = np.array([0.5, low])
        arrays = {f"{key}/id": np.stack([v, v / band, v * band])}
        f = finding(arrays=arrays | {"layers": np.array(["block.0", "embedding"])})
        return layers.by_layer([f], LEGEND, key, ["id"], "d")["In distribution"].layout.yaxis.type

    assert kind(1e-3) == "log" and kind(1e-2) != "log"
    assert kind(1e-3, "cka") != "log"  # a similarity has its own scale
    assert kind(1e-3, band=-1.1) != "log"  # whose bands would reach below the axis


def test_clouds_show_the_components_of_each_distribution_with_equal_axes():
    points = np.arange(12.0).reshape(4, 3)
    arrays = {"pca/id": points, "pca/adv": points + 1, "pca_share": np.array([0.5, 0.3, 0.1]),
              "pca_label/id": np.array([0, 1, 0, -1]), "pca_label/adv": np.zeros(4, int),
              "class_names": np.array(["cat", "<b>dog"])}  # fmt: skip
    (flat,) = clouds.clouds([finding(arrays=arrays)], LEGEND, ["id", "adv"]).values()
    assert list(flat.data[0].x) == [0, 3, 6, 9]
    assert flat.data[0].text == ("cat", "&lt;b&gt;dog", "cat", "a class that ID lacks")
    assert flat.layout.yaxis.scaleanchor == "x"
    (solid,) = clouds.clouds([finding(arrays=arrays)], LEGEND, ["id", "adv"], solid=True).values()
    assert list(solid.data[1].z) == [3, 6, 9, 12]
    assert solid.layout.scene.aspectmode == "data"


def test_points_of_images_with_a_picture_have_a_ring():
    points = np.arange(9.0).reshape(3, 3)
    arrays = {"pca/id": points, "pca_share": np.array([0.5, 0.3, 0.1]), "umap/id": points[:, :2],
              "pca_label/id": np.zeros(3, int), "pca_index/id": np.array([7, 8, 9]),
              "class_names": np.array(["cat"])}  # fmt: skip
    f, colors = finding(arrays=arrays), {"id": "#888888"}
    figure = clouds.cloud(f, colors, LIGHT, [[0, 9]] * 3, pictured={"id": {8}})
    every, ringed = figure.data
    assert [list(one) for one in every.customdata] == [["id", 7], ["id", 8], ["id", 9]]
    assert [list(one) for one in ringed.customdata] == [["id", 8]] and list(ringed.x) == [3]
    assert ringed.marker.line.width > 0
    static.draw(figure, 7).draw_without_rendering()
    ends = clouds.reach([f], ["id"], "umap")
    assert len(ends) == 2 and ends[0][0] < 0 and ends[0][1] > 6
    mapped = clouds.cloud(f, colors, LIGHT, ends, kind="umap")
    assert mapped.layout.xaxis.title.text == "UMAP 1"
    assert list(mapped.data[0].y) == [1, 4, 7]


def test_features_by_layer_take_their_intervals():
    values = {
        f"features/id/lid/{layer}": Measure(v, None, v - 1, v + 1)
        for layer, v in (("block.0", 3.0), ("embedding", 5.0))
    }
    f = finding(values=values, arrays={"features/layers": np.array(["block.0", "embedding"])})
    figure = features.by_layer([f], LEGEND, "lid", ["id"], "LID")["In distribution"]
    assert list(line_of(figure).y) == [3, 5]
    assert list(line_of(figure, "a interval").y) == [2, 4, 6, 4]


def test_accuracy_against_the_radius_begins_with_the_clean_one():
    values = {
        "clean": Measure(0.9, None, 0.8, 0.95),
        "pgd/8/255": Measure(0.1),
        "pgd/0.5/255": Measure(0.7),
    }
    c = robustness.curve(finding(values=values), "pgd")
    assert c is not None
    assert (list(c.x), list(c.y)) == ([0, 0.5, 8], pytest.approx([90, 70, 10]))
    assert (c.low[0], c.high[0]) == (80, 95)


def test_class_drops_count_images_that_were_right_and_fell():
    arrays = {
        "falls/pgd": np.array([0, 0.01, 0.02, np.inf, 0.01]),
        "labels": np.array([0, 0, 0, 0, 1]),
        "class_names": np.array(["cat", "dog", "never"]),
    }
    found = robustness.drops(finding(arrays=arrays), "pgd", 0.01)
    assert list(found) == ["cat", "dog"]
    assert (found["cat"].value, found["dog"].value) == (25, 100)
    assert (found["cat"].low, found["cat"].high) == pytest.approx([100 * x for x in wilson(1, 4)])


def test_examples_stand_side_by_side_with_the_perturbation_magnified_around_grey():
    clean, adv = np.full((1, 2, 2, 3), 100, np.uint8), np.full((1, 2, 2, 3), 104, np.uint8)
    arrays = {
        "example_clean": clean,
        "example_adv": adv,
        "example_delta": np.full((1, 2, 2, 3), 4 / 255, np.float32),
        "example_before": np.array(["cat"]),
        "example_after": np.array(["dog"]),
    }
    ((picture, before, after),) = robustness.examples(finding(arrays=arrays))
    assert picture.shape == (2, 6 + 2 * strips.GAP, 3)
    assert (picture[0, 0, 0], picture[0, -1, 0], before, after) == (100, 104, "cat", "dog")
    assert picture[0, 2 + strips.GAP, 0] == round(127.5 + 16 * 4)


def test_all_singular_values_are_drawn_and_the_matrix_that_moved_most_is_found():
    values = {
        "effective_rank/u": Measure(1),
        "effective_rank/v": Measure(1),
        "norm/u": Measure(1),
        "norm/v": Measure(9),
    }
    f = finding(
        values=values,
        arrays={"blocks": np.array(["u", "v"]), "singular_values": np.array([[1, 0], [9, 1e-12]])},
    )
    assert drift.matrices([f]) == ["u", "v"]  # the order of the network, as far as it is known
    assert drift.moved_most([f]) == ("v", "a", 9.0)
    figure, rows = drift.singular([f], LEGEND, "v")
    assert list(figure.data[0].y) == [9, 1e-12]  # what rounding leaves, too
    assert [row["singular_value"] for row in rows] == [9, 1e-12]
    assert [note.text for note in figure.layout.annotations] == ["rank 1: a"]
