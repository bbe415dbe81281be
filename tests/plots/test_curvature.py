"""Figures of spectra and curvature."""

import numpy as np
import pytest

from grace_geom.plots import curvature, spectra, static
from grace_geom.records import Finding, Measure, Part, Result
from tests.plots.test_training import legend


def finding(run: str, top: float) -> Finding:
    arrays = {"density_nodes": np.array([[0.0, top]]), "density_weights": np.array([[0.75, 0.25]])}
    return found(run, {"dim": Measure(100), "lambda_1": Measure(top)}, arrays)


def found(run: str, values: dict, arrays: dict) -> Finding:
    parts = {run: Part(values, arrays)}
    return Finding(run, Result("hessian_spectrum", ({"label": run},), {}, parts), run)


def test_density_has_the_mass_and_the_mean_of_its_nodes():
    figure = spectra.density([finding("a", 8.0)], legend("a"))
    assert figure is not None
    x, y = np.asarray(figure.data[0].x), np.nan_to_num(np.asarray(figure.data[0].y, float))
    mass = np.trapezoid(y, x)
    assert mass == pytest.approx(1, rel=1e-2)
    assert np.trapezoid(x * y, x) / mass == pytest.approx(2.0, rel=1e-2)
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.xaxis.type != "log"


def test_measured_eigenvalues_stand_below_all_densities_a_row_a_run():
    one, two = finding("a", 8.0), finding("b", 5.0)
    one.part.values["lambda_2"] = Measure(3.0, None, 2.0, 4.0)
    figure = spectra.density([one, two], legend("a", "b"))
    assert figure is not None
    first, second = (t for t in figure.data if t.mode == "markers")
    assert list(first.x) == [8.0, 3.0] and list(second.x) == [5.0]
    assert list(first.customdata[1]) == ["λ₂", 2.0, 4.0]
    lowest = min(np.nanmin(t.y) for t in figure.data if t.mode == "lines")
    assert first.y[0] == first.y[1] < lowest and second.y[0] < first.y[0]
    assert 10 ** figure.layout.yaxis.range[0] < second.y[0]
    assert min(figure.layout.yaxis.tickvals) >= lowest  # a row is at no density


def test_each_run_has_a_panel_of_its_own_density_over_the_others_in_grey():
    found = [finding("a", 8.0), finding("b", 5.0)]
    drawn = spectra.densities(found, legend("a", "b"))
    assert list(drawn) == ["a, λ₁ = 8.000", "b, λ₁ = 5.000"]
    colors = {run: legend("a", "b").looks[run].color for run in "ab"}
    for (run, other), figure in zip(("ab", "ba"), drawn.values(), strict=True):
        grey, line, marks = figure.data
        assert (grey.legendgroup, line.legendgroup, marks.legendgroup) == (other, run, run)
        assert line.line.color == colors[run] and grey.line.color not in colors.values()
        of_all = spectra.density(found, legend("a", "b"))
        (whole,) = (t for t in of_all.data if t.legendgroup == other and t.mode == "lines")
        np.testing.assert_array_equal(grey.y, whole.y[::3])
    ends = [figure.layout.yaxis.range for figure in drawn.values()]
    assert ends[0] == ends[1]


def test_negative_and_positive_eigenvalues_share_the_mass_per_decade():
    nodes, weights = np.array([[-0.5, 1e-9, 20.0]]), np.array([[0.25, 0.5, 0.25]])
    arrays = {"density_nodes": nodes, "density_weights": weights}
    one = found("a", {"dim": Measure(100)}, arrays)
    drawn = spectra.log_density([one], legend("a"))
    assert list(drawn) == ["Negative eigenvalues", "Positive eigenvalues"]
    for figure, at in zip(drawn.values(), (0.5, 20.0), strict=True):
        x = np.log10(np.asarray(figure.data[0].x))
        y = np.nan_to_num(np.asarray(figure.data[0].y, float))
        assert np.trapezoid(y, x) == pytest.approx(0.25, rel=1e-2)
        assert 10 ** x[y.argmax()] == pytest.approx(at, rel=0.05)
    ranges = [figure.layout.xaxis.range for figure in drawn.values()]
    assert ranges[0] == ranges[1][::-1] and ranges[1][0] < ranges[1][1]  # mirrored
    assert spectra.near_zero([one]) == pytest.approx(0.5)


def test_what_was_not_resolved_is_said():
    one, two = finding("a", 8.0), finding("b", 3.0)
    for f, words in ((one, ""), (two, ", not converged")):
        top = f.value("lambda_1").value
        f.part.values["lambda_1"] = Measure(top, None, top - 0.02, top + 0.02, 1, f"x{words}")
        f.part.values["products"] = Measure(12)
    said = spectra.resolved([one, two], legend("a", "b"))
    assert "2 Lanczos nodes from one random vector: " in said
    assert "±0.020 or better (12 products a run)" in said
    assert said.endswith("not converged within the products allowed: b")


def test_the_map_of_curvature_has_a_row_a_run_and_a_cross_where_it_is_not_positive():
    block = "visual.transformer.resblocks"
    values = {
        "kappa/visual.proj": Measure(1.0, 0.1),
        f"kappa/{block}.0.attn.in_proj_weight": Measure(0.1),
        f"kappa/{block}.1.attn.in_proj_weight": Measure(-0.1),
        f"kappa/{block}.1.mlp.c_fc.weight": Measure(0.01),
        f"kappa/{block}.1.ln_1.weight": Measure(5.0),
        f"kappa/{block}.1.mlp.c_proj.weight": Measure(1e-4, 1e-4),  # its interval reaches 0
    }
    other = {"kappa/visual.proj": Measure(0.5)}
    runs = [found("r", values, {}), found("s", other, {})]
    figure = curvature.map_by_matrix(runs, legend("r", "s"), "kappa")
    heat, crosses = figure.data
    assert list(heat.y) == ["s", "r"]  # the first run stands on top
    assert list(heat.x) == ["block 0, attention in", "block 1, attention in", "block 1, MLP in",
                            "block 1, MLP out", "projection"]  # fmt: skip
    z = np.asarray(heat.z, float)
    expected = [[np.nan] * 4 + [np.log10(0.5)], [-1, np.nan, -2, np.nan, 0]]
    np.testing.assert_allclose(z, expected, atol=1e-12)
    assert heat.zmin >= -3, "what is not clearly above 0 does not stretch the scale"
    np.testing.assert_allclose(heat.customdata[1][4], [1, 0.804, 1.196])
    assert list(crosses.x) == ["block 1, attention in", "block 1, MLP out"]
    assert list(crosses.y) == ["r", "r"]
    np.testing.assert_allclose([c[0] for c in crosses.customdata], [-0.1, 1e-4])
    static.draw(figure, 7).draw_without_rendering()
    bold = curvature.map_by_matrix(runs, legend("r", "s"), "kappa", "s")
    assert bold.layout.yaxis.ticktext == ("<b>s</b>", "r")
    flat = found("t", {"kappa/visual.proj": Measure(-1.0)}, {})
    assert curvature.map_by_matrix([flat], legend("t"), "kappa") is None


def test_largest_eigenvalues_are_said_by_the_legend_and_nothing_covers_the_density():
    one, two, three = finding("a", 8.0), finding("b", 53.71), found("c", {"dim": Measure(9)}, {})
    one.part.values["lambda_1"] = Measure(8.0, None, 7.7, 8.3)
    every = [one, two, three]
    figure = spectra.density(every, legend("a", "b", "c"))
    assert not figure.layout.annotations
    assert [shape.x0 for shape in figure.layout.shapes] == [8.0, 53.71]
    names = spectra.with_tops(every, legend("a", "b", "c")).names
    assert names == {"a": "a, λ₁ = 8.00 ± 0.30", "b": "b, λ₁ = 53.71", "c": "c"}


def test_sharpness_has_the_radii_and_rises_of_the_record():
    arrays = {
        "ce/ball": np.array([[0.1, 1.0], [0.2, 3.0]]),
        "ce/average": np.array([[5.0, -0.1, 0.05]]),
    }
    drawn = curvature.sharpness([found("r", {}, arrays)], legend("r"), "ce")
    ball, average = drawn.values()
    assert (list(ball.data[0].x), list(ball.data[0].y)) == ([0.1, 0.2], [1.0, 3.0])
    assert ball.layout.yaxis.type == "log"
    assert average.layout.yaxis.type != "log"  # a mean over few perturbations may be negative
    assert "not above 0" in curvature.scales(drawn.values()) and not curvature.scales([ball])
    np.testing.assert_allclose(average.data[0].y, [-0.1 - 1.96 * 0.05, -0.1 + 1.96 * 0.05])


def test_a_mean_rise_is_logarithmic_where_its_whole_band_is_above_0():
    arrays = {"ce/average": np.array([[5.0, 0.1, 0.02], [10.0, 0.3, 0.05]])}
    (clear,) = curvature.sharpness([found("r", {}, arrays)], legend("r"), "ce").values()
    assert clear.layout.yaxis.type == "log"
    low, high = (10**end for end in clear.layout.yaxis.range)
    assert low < 0.1 - 1.96 * 0.02 and high > 0.3 + 1.96 * 0.05
    arrays["ce/average"][0, 2] = 0.06
    (doubtful,) = curvature.sharpness([found("r", {}, arrays)], legend("r"), "ce").values()
    assert doubtful.layout.yaxis.type != "log"
