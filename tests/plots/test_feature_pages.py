"""The figures of the feature analyses and of the robustness curve: every number in its panel, runs
of other towers and sets beside each other, and nothing that print refuses.
"""

import base64
import io
import itertools

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from grace_geom.plots import clouds, features, layers, robustness, static
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import LIGHT, of_sets
from grace_geom.plots.panels import Point, below
from grace_geom.plots.sample import intervals
from grace_geom.records import Finding, Measure, Part, Result

RUNS = ("ft", "grace")
LEGEND = Legend.of({run: Identity.of_label(run) for run in RUNS}, {run: run for run in RUNS})
SETTINGS = {"n": 40, "seed": 3, "eps": 4 / 255, "attack_steps": 5, "steps": 7,
            "reference": "pretrained", "rank": 4, "rho": 0.005, "attacks": ["pgd"]}  # fmt: skip


HALVED = "6 half-samples of the images"
LEFT_OUT = "16 groups of images left out in turn, corrected for bias"


def finding(run: str, values: dict, arrays: dict) -> Finding:
    parts = {run: Part(values, arrays, {"id": 40})}
    return Finding(run, Result("x", ({"label": run},), SETTINGS, parts), run)


def drift_of(run: str, depth: int, sets: tuple[str, ...]) -> Finding:
    arrays = {"layers": np.array([*(f"block.{i}" for i in range(depth)), "embedding"])}
    n, values = depth + 1, {}
    for s in sets:
        for key, top in (("cka", 0.9), ("procrustes", 0.3), ("gram_chord", 0.5)):
            how = LEFT_OUT if key == "procrustes" else HALVED
            values[f"{key}/{s}/embedding"] = Measure(top / 2, None, 0, top, estimator=f"x; {how}")
            arrays[f"{key}/{s}"] = np.linspace(top, top / 2, n) + np.array([[0], [-0.05], [0.05]])
        arrays[f"cka_layers/{s}"] = np.eye(n)
        arrays[f"cka_layers_interval/{s}"] = np.stack([0.9 * np.eye(n), 1.1 * np.eye(n)])
    return finding(run, values, arrays)


def stability_of(run: str, scale: float = 1.0, sets: tuple[str, ...] = ("id", "sketch", "adv")):
    rng = np.random.default_rng(0)
    arrays = {"pca_share": np.array([0.5, 0.3, 0.1]), "class_names": np.array(["cat", "dog"]),
              "lid_k": np.array([5, 10, 20])}  # fmt: skip
    values = {}
    for s in sets:
        arrays |= {
            f"pca/{s}": scale * rng.normal(size=(40, 3)),
            f"pca_label/{s}": np.arange(40) % 2,
            f"lid_sweep/{s}": np.array([4.0, 5.0, 6.0]),
            f"lid_sweep_interval/{s}": np.array([[3.0, 4.0, 5.0], [5.0, 6.0, 7.0]]),
        }
        values[f"centroid_cosine/{s}"] = Measure(0.9, None, 0.85, 0.95, estimator=f"x; {HALVED}")
    arrays |= {key: rng.uniform(0.2, 1, 40) for key in features.PER_IMAGE}
    return finding(run, values, arrays)


def curve_of(run: str) -> Finding:
    values = {
        "clean": Measure(0.9, None, 0.8, 0.95),
        "pgd/4/255": Measure(0.3, None, 0.2, 0.4),
        "transfer/ft": Measure(0.4, None, 0.3, 0.5),
        "transfer/grace": Measure(0.6, None, 0.5, 0.7),
    }
    clean = np.full((2, 4, 4, 3), 100, np.uint8)
    arrays = {
        "margin": np.linspace(-1, 3, 40),
        "example_clean": clean,
        "example_adv": clean + np.uint8(4),
        "example_delta": np.full(clean.shape, 4 / 255, np.float32),
        "example_before": np.array(["cat", "<b>dog"]),
        "example_after": np.array(["dog", "cat"]),
    }
    return finding(run, values, arrays)


def heads(figure: go.Figure) -> list[str]:
    return [a.text for a in figure.layout.annotations if "domain" in str(a.yref) and a.y == 1]


def of_run(figure: go.Figure, run: str) -> list:
    """Its lines without its entry in the legend."""
    return [t for t in figure.data if t.legendgroup == run and t.fill is None and not t.showlegend]


def test_towers_of_other_depths_stand_at_their_own_layers():
    found = [drift_of("ft", 2, ("id", "adv")), drift_of("grace", 3, ("id", "clean-adv"))]
    drawn = layers.figures(found, LEGEND)
    assert list(drawn)[:3] == ["", "procrustes", "gram"]
    assert {key.partition("-")[0] for key in list(drawn)[3:]} == {"layers"}
    cka = drawn[""]
    assert list(cka.layout.xaxis.ticktext) == ["0", "1", "2", "embedding"]
    (shallow, _), (deep, _) = of_run(cka, "ft"), of_run(cka, "grace")
    assert list(shallow.x) == [0, 1, 3] and list(deep.x) == [0, 1, 2, 3]
    np.testing.assert_allclose(shallow.y, [0.9, 0.675, 0.45])
    note = cka.layout.annotations[-1].text.replace("\N{NO-BREAK SPACE}", " ")
    assert "n = 40, seed 3" in note


def test_each_figure_says_what_its_own_intervals_are():
    found = [drift_of("ft", 2, ("id",)), drift_of("grace", 2, ("id",))]
    drawn = layers.figures(found, LEGEND)
    notes = {
        page: figure.layout.annotations[-1]
        .text.replace("<br>", " ")
        .replace("\N{NO-BREAK SPACE}", " ")
        for page, figure in drawn.items()
    }
    for page in ("", "gram"):
        assert notes[page].endswith(f"bands: 95 % intervals from {HALVED}")
    assert notes["procrustes"].endswith(f"bands: 95 % intervals from {LEFT_OUT}")
    assert "intervals" not in notes["layers-id"]
    without = finding("ft", {"cka/id/embedding": Measure(1.0)}, found[0].part.arrays)
    assert "bands" not in layers.figures([without], LEGEND)[""].layout.annotations[-1].text
    assert intervals([without, *found], "procrustes", "cka").count(" or ") == 1
    whole = next(name for name, m in found[0].part.values.items() if m.low is not None)
    assert intervals(found, whole) != "" == intervals(found, whole[:-1])


def test_heat_maps_are_a_sheet_a_set_and_tell_the_interval():
    found = [drift_of("ft", 2, ("id", "adv")), drift_of("grace", 3, ("id",))]
    sheets = layers.figures(found, LEGEND)
    figure = sheets["layers-id"]
    assert heads(figure) == ["ft", "grace"] and heads(sheets["layers-adv"]) == ["ft"]
    assert figure.layout.title.text.endswith(" in distribution")
    notes = {
        name: sheet.layout.annotations[-1]
        .text.replace("<br>", " ")
        .replace("\N{NO-BREAK SPACE}", " ")
        for name, sheet in sheets.items()
    }
    assert "E: embedding" in notes["layers-id"] and "against" in notes["layers-id"]
    assert "PGD" in notes["layers-adv"] and "PGD" not in notes["layers-id"]
    within = [drift_of("ft", 2, ("id", "clean-adv"))]
    own = layers.figures(within, LEGEND)["layers-clean-adv"].layout.annotations[-1].text
    assert "each run with itself" in own and "against" not in own and "PGD" in own
    first = figure.data[0]
    np.testing.assert_allclose(np.asarray(first.customdata)[0, 0], [1, 0.9, 1.1])
    assert {(t.zmin, t.zmax) for t in figure.data} == {(0, 1)}


def test_every_set_stands_over_id_with_its_cosine():
    found = [stability_of("ft"), stability_of("grace", 0.1, ("id", "adv"))]
    figure = features.figures(found, LEGEND)[""]
    cosine = "0.90 [0.85, 0.95]"
    said = [head.replace("<br>", " ").replace("\N{NO-BREAK SPACE}", " ") for head in heads(figure)]
    # Runs are named once, above their columns, with the shares of both axes.
    assert said == [f"ft (50, 30 %) {cosine}", "grace (50, 30 %) not measured", cosine, cosine]
    assert "share of the ID variance on PC 1 and 2" in figure.layout.annotations[-1].text
    assert "mean cosine of class centroids" in figure.layout.annotations[-1].text
    colors = of_sets(("id", "sketch", "adv"), LIGHT)
    names = {layers.title(s): s for s in colors}
    for trace in figure.data:
        assert trace.marker.color == colors[names[trace.name]]
    assert not figure.layout.showlegend  # rows have the names of the colours
    names = ("xaxis", "xaxis2", "xaxis3", "xaxis4")
    assert len({tuple(figure.layout[name].range) for name in names}) == 1, (
        "one scale: the smaller cloud looks smaller"
    )
    assert [figure.layout[name].showticklabels for name in names] == [False, False, True, True]
    assert figure.layout.xaxis3.title.text == "PC 1"
    assert figure.layout.yaxis.title.text == "sketch<br>PC 2"


def test_centroids_stand_by_their_distance_to_id_as_on_the_dashboard():
    found = [stability_of("ft"), stability_of("grace", 0.1, ("id", "adv"))]
    far, near = Measure(0.2, None, 0.1, 0.3), Measure(0.9, None, 0.8, 0.95)
    found[0].part.values.update({"centroid_cosine/adv": near, "centroid_cosine/sketch": far})
    found[1].part.values["centroid_cosine/adv"] = far
    figure = features.figures(found, LEGEND)["centroids"]
    assert heads(figure) == [layers.title("adv"), layers.title("sketch")]  # as the sentence ranks
    assert figure.layout.yaxis.ticktext == ("ft", "grace")  # what moved least is on top
    assert figure.layout.xaxis.type == "log"
    assert sorted(t.x[0] for t in figure.data if t.name == "ft") == pytest.approx([0.1, 0.8])
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert not any(trace.showlegend for trace in figure.data)  # the rows have names


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [(0.64, 0.62, 0.67, "0.64 [0.62, 0.67]"), (0.998903, 0.998885, 0.998926, "0.99890 [0.99889, 0.99893]"),
     (-0.93, -0.95, -0.91, "\u22120.93 [\u22120.95, \u22120.91]"), (0.99957, None, None, "0.9996"),
     (1.0, 1.0, 1.0, "1.00 [1.00, 1.00]")],
)  # fmt: skip
def test_a_cosine_near_1_has_digits_that_tell_runs_apart(value, low, high, said):
    f = finding("ft", {"centroid_cosine/adv": Measure(value, None, low, high)}, {})
    assert clouds.named_cosine(f, "adv", clouds.digits_of([f], "adv")) == f"cosine {said}"
    assert clouds.named_cosine(f, "sketch", clouds.digits_of([f], "sketch")) == "not measured"


def test_cosines_of_a_row_have_the_same_digits_and_no_more_than_they_need():
    near = {"centroid_cosine/adv": Measure(0.983, None, 0.971, 0.991)}
    far = {"centroid_cosine/adv": Measure(0.51, None, 0.41, 0.62)}
    nearer = {"centroid_cosine/adv": Measure(0.9992, None, 0.9981, 0.9996)}
    found = [finding("ft", values, {}) for values in (near, far, nearer)]
    assert [clouds.digits_of([f], "adv") for f in found] == [2, 2, 4]
    assert clouds.digits_of(found, "adv") == 4
    said = [clouds.cosine_of(f, "adv", 2).replace("\N{NO-BREAK SPACE}", " ") for f in found[:2]]
    assert said == ["0.98 [0.97, 0.99]", "0.51 [0.41, 0.62]"]
    assert clouds.cosine_of(found[1], "adv", 4).startswith("0.5100")


def test_shifted_sets_are_one_colour_in_space_with_as_many_points_as_another():
    points, sets = np.arange(24.0).reshape(8, 3), ("id", "sketch", "v2", "adv")
    arrays = {f"pca/{s}": points for s in sets} | {"pca_share": np.array([0.5, 0.3, 0.1])}
    drawn = clouds.clouds([finding("ft", {}, arrays)], LEGEND, sets, solid=True)
    (figure,) = clouds.pooled(drawn, LIGHT).values()
    assert [t.name for t in figure.data] == [
        "In distribution", "Under shift", "Under shift", "Under attack"
    ]  # fmt: skip
    _, one, two, _ = figure.data
    assert one.marker.color == two.marker.color != figure.data[0].marker.color
    assert sorted([*one.x, *two.x]) == list(points[:, 0])  # each image of one of the sets
    (before,) = drawn.values()
    assert len(before.data[1].x) == 8 and before.data[1].name == "Under shift: sketch"


def test_the_note_says_where_a_sweep_has_no_interval():
    f = stability_of("ft")
    arrays = dict(f.part.arrays)
    for name in [n for n in arrays if n.startswith("lid_sweep_interval/")]:
        arrays[name] = np.array(arrays[name], float)
        arrays[name][:, -1] = np.nan
    short = finding("ft", dict(f.part.values), arrays)
    said = "none at k = 20: a half-sample has too few images"
    assert features._without_bands([short]) == said
    assert features._without_bands([f]) == "" and features._without_bands([short, f]) == ""


def test_one_number_of_all_runs_stands_over_the_interval_of_the_reference():
    long = "at · attack steps 1 · alpha 5/255 · max steps 588"
    names = {"ft": "ft", "at": long, "grace": "grace"}
    legend = Legend.of({run: Identity.of_label(run) for run in names}, names)
    of = {"ft": Point(4.0, 3.5, 4.5), "at": Point(6.0), "grace": Point(5.0, 4.8, 5.1)}
    figure = features.held_against(of, "ft", legend, "rank of it")
    assert [(t.name, t.x[0], t.y[0]) for t in figure.data] == [
        ("ft", 4.0, 0), ("grace", 5.0, 1), (long, 6.0, 2)
    ]  # fmt: skip
    assert (figure.data[0].error_x.array[0], figure.data[2].error_x.array[0]) == (0.5, 0)
    band, line = figure.layout.shapes[-2:]
    assert (band.x0, band.x1, line.x0, line.x1) == (3.5, 4.5, 4.0, 4.0)
    assert figure.layout.yaxis.ticktext[:2] == ("<b>ft</b>", "grace")
    assert "…" in figure.layout.yaxis.ticktext[2]
    assert figure.layout.xaxis.title.text == "Rank of it"


def test_many_runs_stand_on_pages_of_five_columns_and_one_run_fills_its_own():
    runs = [f"run{i}" for i in range(6)]
    legend = Legend.of({run: Identity.of_label(run) for run in runs}, {run: run for run in runs})
    drawn = features.figures([stability_of(run) for run in runs], legend)
    assert list(drawn) == ["", "2", "centroids", "fig2a", "images", "lid"]
    shown = [[head.partition("<br>")[0] for head in heads(drawn[key])][:3] for key in ("", "2")]
    assert shown == [runs[:3], runs[3:]]
    assert "page 2 of 2" in drawn["2"].layout.title.text
    alone = features.figures([stability_of("ft")], LEGEND)[""]
    assert alone.layout.yaxis.domain == alone.layout.yaxis2.domain
    assert [head.partition(":")[0] for head in heads(alone)] == ["ft, sketch", "ft, attacked"]


def test_clouds_take_their_points_evenly_over_the_images():
    many = np.arange(3.0 * 1000).reshape(1000, 3)
    arrays = {"pca/id": many, "pca_share": np.ones(3), "class_names": np.array(["a", "b"]),
              "pca_label/id": (np.arange(1000) > 500).astype(int)}  # fmt: skip
    (figure,) = clouds.clouds([finding("ft", {}, arrays)], LEGEND, ["id"]).values()
    (trace,) = figure.data
    assert len(trace.x) == clouds.MOST_POINTS and trace.x[-1] == many[-1, 0]
    assert all((x > many[500, 0]) == (c == "b") for x, c in zip(trace.x, trace.text, strict=True))


def test_cumulative_shares_end_at_all_images_within_a_band_of_dkw():
    rng = np.random.default_rng(1)
    arrays = {"cos_adv_awp": np.array([*rng.uniform(0.9, 1, 198), 1.0, np.nan])}
    f = finding("ft", {}, arrays)
    figure = features.cumulative([f], LEGEND, "cos_adv_awp", "1 − cosine", from_one=True)
    assert figure is not None and figure.layout.xaxis.type == "log"
    (line,) = of_run(figure, "ft")
    assert line.x[0] == features.FLOAT32, "a cosine of 1 has a place on a logarithmic axis"
    assert len(figure.layout.xaxis.ticktext) <= 5  # words of the figure's own size, not plotly's
    both = features.per_image([stability_of("ft")], LEGEND)
    for name in ("Cosine of clean and adversarial", "Cosine of adversarial and AWP"):
        axis = both[name].layout.xaxis
        assert (axis.type, axis.title.text) == ("log", "1 − cosine"), "most lie close below 1"
    volumes = finding("ft", {}, {"gram_volume": np.array([0.0, 1e-4, 1e-2])})
    drawn = features.per_image([volumes], LEGEND)["Gram volume of clean, adversarial, AWP"]
    (steps,) = of_run(drawn, "ft")
    assert drawn.layout.xaxis.type == "log" and list(steps.x[1:]) == [features.FLOAT32, 1e-4, 1e-2]
    assert (line.y[0], line.y[1], line.y[-1]) == (0, pytest.approx(100 / 199), 100)
    assert line.line.shape == "hv" and len(line.x) == 1 + 199, "a step at each image"
    (band,) = (t for t in figure.data if t.fill == "toself")
    half = 100 * np.sqrt(np.log(40) / (2 * 199))
    assert max(band.y) == 100 and band.y[-1] == pytest.approx(half)
    corners = list(zip(band.x, band.y, strict=True))
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(corners)), "steps too"


def test_a_dkw_band_holds_the_true_line_in_95_of_100_samples():
    rng, runs = np.random.default_rng(0), [str(i) for i in range(200)]
    legend = Legend(dict(zip(runs, runs, strict=True)), dict.fromkeys(runs, LEGEND.looks["ft"]))
    figure = below({run: rng.uniform(size=50) for run in runs}, legend, {})  # the line y = 100 x
    held = 0
    for band in (t for t in figure.data if t.fill == "toself"):
        # The line rises between two steps: its distance is largest at their ends.
        n = len(band.x) // 2
        x, low, high = 100 * band.x[:n], band.y[:n], band.y[n:][::-1]
        assert list(x) == list(100 * band.x[n:][::-1])
        held += bool(np.all((low <= x) & (x <= high)))
    assert 0.93 < held / len(runs) < 1


def test_a_sweep_shows_lid_against_k_with_its_interval():
    figure = features.sweeps([stability_of("ft")], LEGEND, ["id"])["In distribution"]
    (line,) = of_run(figure, "ft")
    assert (list(line.x), list(line.y)) == ([5, 10, 20], [4, 5, 6])
    band = next(t for t in figure.data if t.fill == "toself")
    assert list(band.y) == [3, 4, 5, 7, 6, 5]
    assert list(figure.layout.xaxis.tickvals) == [5, 10, 20]


def test_examples_hold_their_pixels_and_what_they_are_taken_for():
    f = curve_of("ft")
    figure = robustness.strip(f, LIGHT)
    assert figure is not None
    pictures = [robustness.examples(f)[i][0] for i in range(2)]
    for trace, pixels in zip(figure.data, pictures, strict=True):
        data = base64.b64decode(trace.source.partition(",")[2])
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert [a.text for a in figure.layout.annotations] == ["cat → dog", "&lt;b&gt;dog → cat"]
    ends = figure.layout.xaxis.range
    assert ends[0] < figure.data[0].x0 and figure.data[1].x0 + pixels.shape[1] - 0.5 <= ends[1]
    assert robustness.strip(finding("ft", {}, {}), LIGHT) is None


def test_examples_fill_a_row_a_run_without_a_band_between():
    figure = robustness.figures([curve_of(run) for run in RUNS], LEGEND)["examples"]
    assert figure.layout.xaxis.domain == figure.layout.xaxis2.domain == (0, 1)
    page = static.draw(figure, 7)
    page.draw_without_rendering()
    for ax in page.axes:
        place, used = ax.get_position(original=True), ax.get_position()
        assert used.height > 0.8 * place.height and used.width > 0.8 * place.width


def test_transfer_is_drawn_between_runs_and_tells_its_intervals():
    found = [curve_of(run) for run in RUNS]
    parts = {f.run: f.part for f in found}
    both = Result("x", tuple({"label": run} for run in RUNS), SETTINGS, parts)
    found = [Finding(run, both, run) for run in RUNS]
    drawn = robustness.figures(found, LEGEND)
    assert list(drawn) == ["", "margins", "examples", "transfer"]
    grid = drawn["transfer"].data[0]
    np.testing.assert_allclose(np.asarray(grid.z, float), [[40, 60], [40, 60]])
    np.testing.assert_allclose(np.asarray(grid.customdata)[0, 1], [60, 50, 70])
    assert "transfer" not in robustness.figures(found[:1], LEGEND)


def test_the_numbers_of_transfer_are_read_on_their_cells():
    values = {"transfer/ft": Measure(0.05), "transfer/grace": Measure(0.71)}
    parts = {"ft": Part(values), "grace": Part({})}
    both = Result("x", tuple({"label": run} for run in RUNS), SETTINGS, parts)
    figure = robustness.transfer([Finding(run, both, run) for run in RUNS], LEGEND)
    assert figure is not None
    _, dark, white = figure.data
    assert (list(dark.text), dark.textfont.color) == (["71"], "#111111")  # on green
    assert (list(white.text), white.textfont.color) == (["5"], "#ffffff")  # on violet
    static.draw(figure, 7).draw_without_rendering()


ALL = {
    "drift": lambda: layers.figures(
        [drift_of("ft", 2, ("id", "v2", "adv", "clean-adv")), drift_of("grace", 3, ("id",))], LEGEND
    ),
    "stability": lambda: features.figures([stability_of("ft"), stability_of("grace")], LEGEND),
    "robustness": lambda: robustness.figures([curve_of(run) for run in RUNS], LEGEND),
}


@pytest.mark.parametrize("name", ALL)
def test_every_figure_can_be_printed(name):
    drawn = ALL[name]()
    assert len(drawn) >= 3
    for figure in drawn.values():
        static.draw(figure, 7).draw_without_rendering()


def test_findings_without_arrays_have_no_figures():
    empty = [finding("ft", {}, {})]
    for figures in (layers.figures, features.figures, robustness.figures):
        assert figures(empty, LEGEND) == {}
