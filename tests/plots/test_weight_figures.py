"""Figures of the weight-space analyses: the numbers in them, and that each can be printed."""

import dataclasses
import math
import warnings

import numpy as np
import pytest

from grace_geom.analysis.drawing import legend_of
from grace_geom.plots import bound, drift, landscape, static, weight_space
from grace_geom.plots.landscape import levels
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.sample import said
from grace_geom.plots.spectra import kernel
from grace_geom.records import Finding, Measure, Part, Result

RUNS = {"ft-s0": "ft", "grace-s0": "grace"}
LEGEND = Legend.of({run: Identity(m, m, 0) for run, m in RUNS.items()}, {run: run for run in RUNS})
SETTINGS = {"params": "visual", "loss": "ce", "n": 24, "seed": 3}
SIDE = np.linspace(-0.5, 0.5, 5)
BOWL = SIDE[None, :] ** 2 + SIDE[:, None] ** 2
MATRICES = ("visual.proj", "visual.conv1.weight", "visual.transformer.resblocks.0.mlp.c_fc.weight")


def measure(value: float, half: float = 0.1) -> Measure:
    return Measure(value, half / 2, value - half, value + half)


def found(make, runs=RUNS, **settings) -> list[Finding]:
    """A finding for each run: ``make(i)`` gives the values and arrays of the i-th."""
    findings = []
    for i, run in enumerate(runs):
        values, arrays = make(i)
        part = Part(values, arrays, {"id": 20})
        findings.append(Finding(run, Result("x", (), SETTINGS | settings, {run: part}), run))
    return findings


def a_spectrum(i: int):
    values = {"dim": Measure(100.0), "lambda_1": measure(5.0 + i), "lambda_2": measure(2.0)}
    values |= {f"kappa/{n}": measure(0.5 + i) for n in (*MATRICES, "visual.ln_post.weight")}
    nodes = np.array([[-1.0, 5.0 + i, 9.0], [-1.0, 4.0 + i, 9.0]])
    weights = np.array([[0.9, 0.1, 0.0]] * 2)
    return values, {"density_nodes": nodes, "density_weights": weights}


def a_rise(i: int):
    arrays = {f"{loss}/{form}": np.array([[0.1, 0.2 + i], [0.2, 0.5 + i]])
              for loss in ("ce", "adv-ce") for form in ("ball", "adaptive", "relative")}  # fmt: skip
    averages = np.array([[5.0, 0.1, 0.02], [10.0, 0.3, 0.05]])
    return {}, arrays | {f"{loss}/average": averages for loss in ("ce", "adv-ce")}


def a_landscape(i: int):
    arrays = {
        "blocks": np.array(["w"]), "block_shapes": np.array(["(2, 2)"]),
        "random": np.stack([SIDE, 1 + i + SIDE**2]), "eigen": np.stack([SIDE, 1 + i + SIDE**2]),
        "contour_axis": SIDE, "contour": BOWL + i, "plane": BOWL + i, "plane_x": SIDE,
        "plane_y": SIDE, "plane_corners": np.array([[-0.3, 0], [0.3, 0], [0, 0.3]]),
        "plane_names": np.array([f"run {i}", "b<i>", "c"]), "line/t": np.array([0.0, 1.0, 1.5]),
        **{f"line/{n}": np.array([0.5, 0.7, 0.6]) for n in ("id", "ood", "adv")},
    }  # fmt: skip
    return {"loss": Measure(1.0)}, arrays


def an_anisotropy(i: int):
    layers = ["block.0", "embedding"]
    values = {f"features/{s}/{key}/{layer}": measure(2.0 + i) for s in ("id", "adv")
              for key in weight_space.FEATURES for layer in layers}  # fmt: skip
    values["curvature/effective_matrices"] = measure(1.5 + i)
    spectrum = np.array([0.7, 0.3, 1e-9])
    return values, {
        "curvature/eigenvalues": np.array([4.0, 1.0, -2.0]),
        "curvature/traces": np.array([1.0, -1.0, 3.0]), "curvature/matrices": np.array(MATRICES),
        "features/layers": np.array(layers), "features/id/spectrum/embedding": spectrum,
        "features/adv/spectrum/embedding": spectrum,
    }  # fmt: skip


def a_bound(i: int):
    numbers = {
        "distance": 2.0, "n_train": 100.0, "trace": 50.0, "balanced": 1.0, "sigma_balanced": 0.2,
        "trace/id": 40.0, "trace/adv": 400.0 + i, "floor": 0.2, "loss/id": 1.0, "loss/far": 1.0,
        "loss/adv": 2.0, "discrepancy/id-far": 0.5, "discrepancy/id-adv": 0.4 + i,
        "discrepancy/far-adv": 0.3,
    }  # fmt: skip
    return {key: measure(x) for key, x in numbers.items()}, {}


def a_drift(i: int):
    values = {"drift": Measure(0.1 + i), "zero_shot_loss": measure(0.05)}
    for k, name in enumerate(MATRICES):
        values |= {f"effective_rank/{name}": Measure(2.0), f"norm/{name}": Measure(1.0 + k),
                   f"relative/{name}": Measure(0.01 * (k + 1))}  # fmt: skip
    spectra = np.array([[1.0, 0.5], [2.0, 1e-12], [3.0, 1.0]])
    return values, {"blocks": np.array(MATRICES), "singular_values": spectra}


DRAWN = {
    "spectrum": (weight_space.spectrum, a_spectrum, {"top": 2, "density_probes": 2}, [""]),
    "sharpness": (weight_space.sharpness, a_rise, {"samples": 2}, [""]),
    "landscape": (landscape.figures, a_landscape, {}, ["", "contour", "plane"]),
    "anisotropy": (weight_space.anisotropy, an_anisotropy, {}, [""]),
    "bound": (bound.figures, a_bound, {"sigma": 0.01}, [""]),
    "drift": (drift.figures, a_drift, {}, [""]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_drawn_and_printed_with_its_sample(name):
    draw, make, settings, keys = DRAWN[name]
    figures = draw(found(make, **settings), LEGEND)
    assert list(figures) == keys
    for figure in figures.values():
        assert any("seed 3" in note.text for note in figure.layout.annotations)
        static.draw(figure, 7.0)


def test_the_panel_that_the_sentence_speaks_of_is_the_first():
    for name, title in (("drift", "Relative drift of each matrix"),
                        ("spectrum", "Largest eigenvalues")):  # fmt: skip
        draw, make, settings, _ = DRAWN[name]
        figure = draw(found(make, **settings), LEGEND)[""]
        first = next(a for a in figure.layout.annotations if a.text == title)
        pair = [
            figure.layout[f"{ref[0]}axis{ref.split()[0][1:]}"] for ref in (first.xref, first.yref)
        ]
        assert (pair[0].domain[0], pair[1].domain[1]) == (0, 1)  # above, to the left


def _spaced(text: str) -> str:
    return text.replace("<br>", " ").replace("\N{NO-BREAK SPACE}", " ")


def panel(figure, title: str):
    """Traces of the panel below a title, in the legend's order; bands and entries left out."""
    heads = [a for a in figure.layout.annotations if _spaced(a.text) == title]
    (axis,) = {a.xref.removesuffix(" domain") for a in heads}
    return [t for t in figure.data if t.xaxis == axis and not t.showlegend and t.fill is None]


def test_densities_have_the_kernel_that_was_asked_for_and_a_band_of_their_probes():
    findings = found(a_spectrum, width=0.5)
    assert kernel(findings) == 0.5
    assert kernel(found(a_spectrum)) == pytest.approx(0.01 * 7)  # 6 - (-1); 9 has no weight
    figure = weight_space.spectrum(findings, LEGEND)[""]
    own = (t for t in panel(figure, "ft-s0, λ₁ = 5.00 ± 0.10") if t.legendgroup == "ft-s0")
    (mean,) = (t for t in own if t.mode == "lines")
    grid = np.asarray(mean.x)
    bump = np.exp(-0.5 * (grid[:, None] - np.array([-1.0, 5.0])) ** 2 / 0.25) / np.sqrt(np.pi / 2)
    one = bump @ [0.9, 0.1]
    two = np.exp(-0.5 * (grid[:, None] - np.array([-1.0, 4.0])) ** 2 / 0.25) / np.sqrt(np.pi / 2)
    expected = (one + two @ [0.9, 0.1]) / 2
    there = np.isfinite(np.asarray(mean.y, float))
    np.testing.assert_allclose(np.asarray(mean.y)[there], expected[there], rtol=1e-6)
    band = next(t for t in figure.data if t.fill == "toself" and t.legendgroup == "ft-s0")
    top = np.asarray(band.y)[: len(grid)][::-1] if band.y[0] < band.y[-1] else np.asarray(band.y)
    assert len(band.y) == 2 * len(grid) and top.max() >= np.nanmax(mean.y)


def test_largest_eigenvalues_are_logarithmic_where_all_are_positive():
    def a_saddle(i: int):
        values, arrays = a_spectrum(i)
        return values | {"lambda_2": measure(-1.0)}, arrays

    figures = [
        weight_space.eigenvalues(found(make, top=2), LEGEND) for make in (a_spectrum, a_saddle)
    ]
    assert [figure.layout.yaxis.type for figure in figures] == ["log", None]


def test_of_many_runs_and_on_a_telephone_all_densities_share_a_panel():
    many = {f"run{i}": f"run{i}" for i in range(weight_space.MOST_PANELS + 1)}
    legend = Legend.of({run: Identity(run, run, 0) for run in many}, many)
    narrow = dataclasses.replace(LEGEND, narrow=True)
    for runs, look in ((many, legend), (RUNS, narrow)):
        figure = weight_space.spectrum(found(a_spectrum, runs), look)[""]
        lines = {t.legendgroup for t in panel(figure, "Spectral density") if t.mode == "lines"}
        assert lines == set(runs)


def test_curvature_of_matrices_has_intervals_in_the_network_s_order():
    figure = weight_space.by_matrix(found(a_spectrum), LEGEND)
    assert list(figure.layout.xaxis.ticktext) == ["stem convolution", "0 MLP in", "projection"]
    first = figure.data[0]
    assert (first.y[0], first.error_y.array[0], first.error_y.arrayminus[0]) == pytest.approx(
        (0.5, 0.1, 0.1)
    )
    assert first.customdata[0][0] == "stem convolution"


def test_curvature_that_is_not_above_a_logarithmic_axis_stands_hollow_at_its_lower_end():
    kappas = (1.0, 1e-3, -2e-3)

    def flat(i: int):
        names = [f"kappa/{name}" for name in MATRICES]
        ends = [Measure(k, None, k - 5e-3, k + 5e-3) for k in kappas]
        return dict(zip(names, ends, strict=True)), {}

    figure = weight_space.by_matrix(found(flat), LEGEND)
    filled, hollow = (
        next(
            t for t in figure.data if t.legendgroup == "ft-s0" and ("open" in t.marker.symbol) is o
        )
        for o in (False, True)
    )
    low, high = (10**end for end in figure.layout.yaxis.range)
    assert sorted(filled.y) == [1e-3, 1.0] and figure.layout.yaxis.type == "log"
    assert low < hollow.y[0] < 1e-3 and high > 1.005
    assert hollow.customdata[0][3] == -2e-3 and "customdata[3]" in hollow.hovertemplate
    bars = filled.error_y
    assert np.min(np.asarray(filled.y) - np.asarray(bars.arrayminus)) == pytest.approx(hollow.y[0])
    assert max(bars.array) == pytest.approx(5e-3)
    assert not any(type(t.y[0]) is float and t.y[0] <= 0 for t in figure.data)
    note = weight_space.spectrum(found(flat), LEGEND)[""].layout.annotations[-1].text
    assert "hollow: κ below the axis" in note.replace("<br>", " ")


def test_hollow_marks_of_one_matrix_do_not_cover_each_other():
    names = [f"kappa/visual.transformer.resblocks.{i}.mlp.c_fc.weight" for i in range(18)]

    def flat(i: int):
        return {name: Measure(-1.0 if name == names[3] else 1.0) for name in names}, {}

    figure = weight_space.by_matrix(found(flat), LEGEND)
    hollow = [t for t in figure.data if t.marker.symbol.endswith("-open")]
    assert len(hollow) == len(found(flat)) > 1
    pixels = 740 / len(names) * np.diff(sorted(t.x[0] for t in hollow))
    assert min(pixels) > max(t.marker.size for t in hollow) or hollow[0].marker.size == 3


def test_all_slices_share_round_levels():
    note = landscape.figures(found(a_landscape), LEGEND)["contour"].layout.annotations[-1].text
    n = len(SIDE)
    assert f"directions, {n} × {n} points" in note.replace("<br>", " ").replace("\u00a0", " ")
    start, end, size = levels([BOWL, BOWL + 1])
    assert (start, end, size) == pytest.approx((0, 1.6, 0.2))
    assert levels([np.full((2, 2), math.nan)]) == (0.0, 1.0, 0.1)
    figures = landscape.figures(found(a_landscape), LEGEND)
    for key in ("contour", "plane"):
        flat, turned = ([t for t in figures[key].data if t.type == kind]
                        for kind in ("contour", "surface"))  # fmt: skip
        assert len({str(t.contours) for t in flat}) == 1 and len(flat) == len(turned) == 2
        assert {(t.cmin, t.cmax) for t in turned} == {(flat[0].zmin, flat[0].zmax)}
        np.testing.assert_array_equal(flat[1].z, BOWL + 1)


def test_corners_of_one_name_are_drawn_each():
    def same(i: int):
        values, arrays = a_landscape(i)
        return values, arrays | {"plane_names": np.array(["ft", "ft", "at"])}

    figure = landscape.figures(found(same), LEGEND)["plane"]
    texts = [note.text for note in figure.layout.annotations]
    assert texts.count("ft") == 2 * texts.count("at") > 0


def test_a_plane_names_its_three_checkpoints():
    figure = landscape.figures(found(a_landscape), LEGEND)["plane"]
    words = {a.text: (a.x, a.y) for a in figure.layout.annotations if a.xref == "x"}
    assert words == {"run 0": (-0.3, 0), "b&lt;i&gt;": (0.3, 0), "c": (0, 0.3)}


def test_random_slices_of_other_shapes_are_left_out_and_named():
    findings = found(a_landscape)
    findings[1].part.arrays["block_shapes"] = np.array(["(3, 2)"])  # type: ignore[index]
    figures = landscape.figures(findings, LEGEND)
    assert [len(panel(figures[""], t)) for t in ("Along one random direction", "In distribution")
            ] == [1, 2]  # fmt: skip
    assert len([t for t in figures["contour"].data if t.type == "contour"]) == 1
    note = figures["contour"].layout.annotations[-1].text.replace("<br>", " ")
    assert "grace-s0: other weights" in note


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.0])
def test_slices_without_contours_are_drawn(value):
    arrays = {"contour": np.full((3, 3), value), "contour_axis": np.linspace(-1, 1, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = landscape.figures(found(lambda i: ({}, arrays)), LEGEND)["contour"]
        static.draw(figure, 7.0).draw_without_rendering()
    said_so = [a.text for a in figure.layout.annotations if a.text == "no finite loss"]
    assert len(said_so) == (0 if math.isfinite(value) else 2)


def test_anisotropy_leaves_out_what_is_not_positive_or_was_not_measured():
    figure = weight_space.anisotropy(found(an_anisotropy), LEGEND)[""]
    lams, _ = panel(figure, "Largest eigenvalues over the first")
    assert list(lams.y) == [1, 0.25]
    share, _ = panel(figure, "Trace over matrices; grey: evenly")
    assert list(share.y) == [0.75, 1, 1] and share.customdata[0] == "block 0, MLP in"
    gains = {"curvature/eigenvalues": np.array([2.0, 1.0]), "curvature/traces": np.array([])}
    few = weight_space.anisotropy(
        found(lambda i: ({}, gains | {"features/layers": np.array(["embedding"])})), LEGEND
    )[""]
    assert {t.xaxis for t in few.data} == {"x"}


def test_layers_of_unlike_towers_are_drawn_in_one_order():
    def tower(i: int):
        names = ["block.0", "block.1", "embedding"] if i else ["block.0", "embedding"]
        values = {f"features/id/mean_cosine/{n}": measure(k) for k, n in enumerate(names)}
        return values, {"features/layers": np.array(names)}

    (panel,) = weight_space.features.by_layer(
        found(tower), LEGEND, "mean_cosine", ["id"], "cos"
    ).values()
    short, long = (t for t in panel.data if t.fill is None)
    assert list(panel.layout.xaxis.ticktext) == ["0", "1", "embedding"]
    assert list(short.x) == [0, 2] and list(short.y) == [0, 1]
    assert list(long.y) == [0, 1, 2]


def test_the_floor_is_not_drawn_for_the_same_images():
    figure = bound.discrepancies(found(a_bound), LEGEND)
    assert list(figure.layout.xaxis.ticktext) == ["ID, OOD", "ID, Adv", "OOD, Adv"]
    spans = [t.x for t in figure.data if t.mode == "lines" and t.legendgroup == "ft-s0"]
    assert spans == [(-0.4, 0.4), (1.6, 2.4)]


def test_the_sum_of_proximity_and_sharpness_is_marked_at_its_least():
    figure = bound.total(found(a_bound), LEGEND)
    line, mark = figure.data[0], figure.data[2]
    x = np.asarray(line.x)
    np.testing.assert_allclose(line.y, 4 / (200 * x**2) + x**2 / 2 * 50)
    assert (mark.x, mark.y) == ((0.2,), (2.0,))


def test_traces_are_logarithmic_only_where_all_intervals_are_positive():
    assert bound.traces(found(a_bound), LEGEND).layout.yaxis.type == "log"

    def negative(i: int):
        return {"trace/id": measure(0.05), "trace/adv": measure(50.0)}, {}

    assert bound.traces(found(negative), LEGEND).layout.yaxis.type is None


def test_a_run_has_one_colour_in_every_folder_and_on_the_dashboard():
    def result(*labels: str) -> Result:
        records = [{"label": x, "method": x.partition("-s")[0], "seed": int(x[-1])} for x in labels]
        return Result("x", tuple(records), {}, {})

    one, two = legend_of(result("ft-s0", "grace-s1")), legend_of(result("grace-s1", "at-s0"))
    assert one.looks["grace-s1"] == two.looks["grace-s1"]
    page = Legend.of({"study/grace-s1": Identity("grace", "grace", 1)}, {"study/grace-s1": "g"})
    assert one.looks["grace-s1"] == page.looks["study/grace-s1"]
    assert legend_of(result("ft-s0", "at-s0"), ["at-s0"]).names["at-s0"] == "at-s0 (other images)"
    assert one.looks["ft-s0"].color != one.looks["grace-s1"].color


def test_the_note_says_how_many_images_were_used():
    assert (
        said(found(a_drift), "", "bars")
        == "weights: image tower, loss: cross-entropy, n = 20 (asked: 24), seed 3; bars"
    )


def test_what_is_attacked_names_its_attack():
    def note(draw, make):
        figure = draw(found(make, eps=4 / 255, attack_steps=10), LEGEND)[""]
        return figure.layout.annotations[-1].text.replace("<br>", " ").replace("\u00a0", " ")

    def clean(i: int):
        values, arrays = a_rise(i)
        return values, {k: a for k, a in arrays.items() if not k.startswith("adv")}

    of = "PGD, ε = 4/255, 10 steps"
    assert f"{of}, found at the unperturbed weights" in note(weight_space.sharpness, a_rise)
    assert "PGD" not in note(weight_space.sharpness, clean)
    assert f"{of}, anew at every point" in note(landscape.figures, a_landscape)
