"""The sentences that answer the pages' questions: their numbers, and what they leave open."""

import numpy as np

from app import answers
from grace_geom.plots.answers import amount, ends
from grace_geom.plots.panels import Point
from grace_geom.records import Finding, Measure, Part, Result

NAMES = {run: f"**{run}**" for run in "abc"}
BLOCK = "visual.transformer.resblocks"
OUT, WIDE = f"{BLOCK}.0.attn.out_proj.weight", f"{BLOCK}.1.mlp.c_fc.weight"


def found(parts: dict[str, Part], **settings: object) -> list[Finding]:
    """A finding for each run."""
    result = Result("x", (), dict(settings), parts)
    return [Finding(run, result, run) for run in parts]


def sure(value: float, half: float = 0.01) -> Measure:
    return Measure(value, None, value - half, value + half)


def test_an_uncertainty_that_four_digits_do_not_show_is_left_out():
    assert amount(Point(20.748197, 20.748115, 20.748279)) == "20.75"
    assert amount(Point(20.7, 20.2, 21.2)) == "20.70 ± 0.50"
    exact = [Point(x, x, x) for x in (2.22, 1000.0)]
    assert [amount(p) for p in exact] == ["2.220", "1000"]


def test_runs_of_which_the_same_is_said_share_their_place():
    names = {run: run for run in "abcdef"}

    def said(*values: float, half: float = 0.0) -> str:
        points = {
            run: Point(v, v - half, v + half) for run, v in zip("abcdef", values, strict=False)
        }
        return ends(points, names, "least for", "most for")

    assert said(2, 2) == "alike for a and b (2.000)" and said(2) == "for a (2.000)"
    assert said(9, 2, 2, 9) == "least for b and c (2.000) and most for a and d (9.000)"
    assert said(2, 2, 2, 2, 9) == "least for a, b and 2 more (2.000) and most for e (9.000)"
    assert (
        said(3, 2, 2, half=2) == "least for b and c (2.0 ± 2.0), not clearly before a (3.0 ± 2.0)"
    )


def test_the_last_run_is_not_clearly_after_the_one_before_it():
    points = {run: Point(v, v - 1, v + 1) for run, v in (("a", 1.0), ("b", 8.0), ("c", 9.0))}
    assert ends(points, {run: run for run in points}, "least for", "most for") == (
        "least for a (1.0 ± 1.0) and most for c (9.0 ± 1.0), not clearly after b (8.0 ± 1.0)"
    )


def test_how_many_are_as_near_is_counted():
    points = {
        run: Point(v, v - 1, v + 1) for run, v in zip("abcdef", (1, 2, 2.5, 8, 8.5, 9), strict=True)
    }
    assert ends(points, {run: run for run in points}, "least for", "most for") == (
        "least for a (1.0 ± 1.0), not clearly before b (2.0 ± 1.0) and 1 more, and most for f "
        "(9.0 ± 1.0), not clearly after e (8.5 ± 1.0) and 1 more"
    )


def spectra(**tops: Measure) -> list[Finding]:
    kappas = {f"kappa/{OUT}": sure(0.5, 0.1), f"kappa/{WIDE}": sure(0.1, 0.05),
              f"kappa/{BLOCK}.0.ln_1.weight": sure(9.0)}  # fmt: skip
    return found({run: Part({"lambda_1": top, **kappas}) for run, top in tops.items()})


def test_curvature_names_the_flattest_the_sharpest_and_the_matrix():
    said = answers.curvature(spectra(a=sure(3.0, 0.1), b=sure(9.0, 0.5), c=sure(5.0, 0.2)), NAMES)
    assert said == (
        "By λ₁ the loss is flattest for **a** (3.00 ± 0.10) and sharpest for **b** (9.00 ± 0.50)."
    )
    assert answers.most_curved(spectra(a=sure(3.0), c=sure(9.0)), NAMES) == (
        "A weight is most curved in **block 0, attention out** for **c** (κ = 0.50 ± 0.10)."
    )
    assert answers.most_curved(found({"a": Part()}), NAMES) == ""
    close = answers.curvature(spectra(a=sure(3.0, 0.5), b=sure(3.2, 0.5), c=sure(9.0)), NAMES)
    assert "flattest for **a** (3.00 ± 0.50), not clearly before **b** (3.20 ± 0.50), and" in close
    assert answers.curvature(found({"a": Part()}), NAMES) == ""


def by_trace(**runs: tuple[float, Measure]) -> str:
    """What is said of the trace, of runs with this λ₁ and this trace."""
    some = spectra(**{run: sure(top) for run, (top, _) in runs.items()})
    for f in some:
        f.part.values["trace"] = runs[f.run][1]
    names = {run: f"**{run}**" for run in runs}
    return answers.curvature(some, names).split("; ", 1)[1].removesuffix(".")


def test_the_trace_agrees_differs_or_does_not_tell():
    def said(a: Measure, b: Measure) -> str:
        return by_trace(a=(3.0, a), b=(9.0, b))

    assert said(sure(10.0), sure(20.0)) == "the trace agrees"
    assert said(sure(20.0), sure(10.0)) == (
        "by the trace **b** is flattest; **b** has 3.0 times the λ₁ of **a** at 0.50 of its trace: "
        "few sharp directions, flatter elsewhere"
    )
    assert said(sure(20.0, 8), sure(10.0, 8)) == "the trace does not tell clearly"
    assert said(sure(10.0, 8), sure(20.0, 8)) == "the trace does not tell clearly"


def test_the_trace_is_asked_at_both_ends():
    low, high, middle = (3.0, sure(50.0)), (60.0, sure(260.0, 50)), (35.0, sure(380.0, 60))
    assert by_trace(at=low, lora=high, zs=middle) == (
        "by the trace **at** is flattest too, but **zs** sharpest; **lora** has 1.7 times the λ₁ of "
        "**zs** at 0.68 of its trace: few sharp directions, flatter elsewhere"
    )
    close = (35.0, sure(300.0, 60))  # above the other, but not by its error
    assert by_trace(at=low, lora=high, zs=close) == (
        "by the trace **at** is flattest too, the sharpest is not clear"
    )
    assert by_trace(at=low, lora=(60.0, sure(400.0)), zs=middle) == (
        "by the trace **at** is flattest too, the sharpest is not clear"
    )
    assert by_trace(at=(3.0, sure(70.0)), b=(3.1, sure(50.0)), c=(9.0, sure(90.0))) == (
        "by the trace **c** is sharpest too, but **b** flattest"
    )
    assert by_trace(at=(3.0, sure(90.0)), b=(3.1, sure(50.0)), c=(3.2, sure(80.0))) == (
        "by the trace **b** is flattest and **at** sharpest"
    )


def test_runs_of_few_sharp_directions_are_named_where_the_ends_agree():
    ends_agree = {"at": (2.0, sure(30.0)), "agft": (10.0, sure(450.0))}
    flyp = (4.4, sure(210.0, 14))
    assert by_trace(
        **ends_agree, base=flyp, mix=(9.5, sure(125.0, 9)), grace=(8.1, sure(122.0, 9))
    ) == (
        "the trace agrees at both ends; **mix** and **grace** have 2.2 and 1.8 times the λ₁ of "
        "**base** at 0.60 and 0.58 of its trace: few sharp directions, flatter elsewhere"
    )
    barely = (4.9, sure(180.0, 14))  # a λ₁ that is hardly larger is no sharp direction
    assert by_trace(**ends_agree, base=flyp, ucat=barely) == "the trace agrees at both ends"
    unsure = (9.5, sure(200.0, 14))
    assert by_trace(**ends_agree, base=flyp, mix=unsure) == "the trace agrees at both ends"
    assert by_trace(a=(2.0, sure(1.0)), b=(9.5, sure(-5.0))) == "by the trace **b** is flattest"


def rising(**rises: list[float]) -> str:
    parts = {
        run: Part({}, {"ce/ball": np.array([[0.05, 0.1, 0.2][: len(y)], y]).T})
        for run, y in rises.items()
    }
    return answers.sharpness(found(parts), NAMES)


def test_sharpness_says_at_which_radii_the_loss_of_a_run_rises_least():
    a, b, c = [0.018, 0.0415, 0.179], [0.030, 0.0676, 0.164], [0.15, 0.39, 1.295]
    assert rising(a=a, b=b, c=c) == (
        "Within ‖δ‖ ≤ ρ the clean loss rises least for **a** (0.0415) up to ρ = 0.1, and for **b** (0.164) and "
        "**a** (0.179) alike at ρ = 0.2; most for **c** (1.29) at every ρ up to 0.2. (Lower "
        "bounds; alike: within 10 %.)"
    )
    assert rising(a=a, b=[0.03, 0.0676, 0.11]) == (
        "Within ‖δ‖ ≤ ρ the clean loss rises least for **a** (0.0415) up to ρ = 0.1, and for **b** (0.11) at "
        "ρ = 0.2. (Lower bounds.)"
    )
    assert rising(a=a, b=a).startswith(
        "Within ‖δ‖ ≤ ρ the clean loss rises alike for **a** (0.179) and **b**"
    )
    assert rising(a=a) == "Within ‖δ‖ ≤ 0.2 the clean loss of **a** rises by 0.179 or more."


def test_sharpness_compares_at_the_radii_that_all_runs_have():
    a, b = [0.018, 0.0415, 0.179], [0.030, 0.0676, np.nan]
    said = rising(a=a, b=b)
    assert "least for **a** (0.0415) at every ρ up to 0.1." in said
    assert rising(a=[np.nan]) == "" and answers.sharpness([], NAMES) == ""


def test_a_matrix_is_not_most_curved_by_a_wide_interval():
    (f,) = spectra(a=sure(3.0))
    f.part.values[f"kappa/{WIDE}"] = Measure(2.0, None, -1.0, 5.0)
    said = answers.most_curved([f], NAMES)
    assert "most curved in **block 0, attention out** (κ = 0.50 ± 0.10), not clearly more" in said
    whole = answers.curvature([f], NAMES)
    assert whole == "The largest curvature of the loss for **a** is λ₁ = 3.000 ± 0.010."
    for name in (OUT, WIDE):
        f.part.values[f"kappa/{name}"] = Measure(2.0, None, -1.0, 5.0)
    assert answers.most_curved([f], NAMES) == "No matrix is clearly curved."


def a_line(rise: float, adv: list[float], n: int = 1000) -> Part:
    t = np.array([-0.5, 0.0, 0.5])
    arrays = {"random": np.stack([t, 1 + rise * (t / 0.5) ** 2]),
              "line/t": np.array([0.0, 0.5, 1.0]), "line/adv": np.array(adv)}  # fmt: skip
    return Part({}, arrays, {"id": n})


def test_the_landscape_says_whose_loss_rises_and_where_the_line_is_better():
    parts = {"a": a_line(0.2, [0.1, 0.6, 0.3]), "b": a_line(3.0, [0.1, 0.2, 0.3])}
    said = answers.landscape(found(parts), NAMES)
    assert (
        "0.5 filter norms along one random direction the loss rises least for **a** (0.2)" in said
    )
    # Wilson, by hand for 600 of 1000: (0.6 + z^2/2n -+ z sqrt(0.24/n + z^2/4n^2)) / (1 + z^2/n)
    assert "**a** has more accuracy under attack at t = 0.5 (60.0 % [56.9, 63.0]) than at" in said
    close = a_line(0.2, [0.3] * 3), a_line(0.3, [0.3] * 3)
    for part, rise in zip(close, (0.2, 0.3), strict=True):
        part.values["random/rise"] = sure(rise, 0.1)
    said = answers.landscape(found(dict(zip("ab", close, strict=True))), NAMES)
    assert "least for **a** (0.20 ± 0.10), not clearly before **b** (0.30 ± 0.10)" in said
    few = {run: a_line(1.0, [0.1, 0.4, 0.3], n=20) for run in "ab"}
    assert "no point has clearly more accuracy under attack" in answers.landscape(found(few), NAMES)


def layers_of(id_: list[float], adv: list[float], half: float = 0.02) -> Part:
    arrays = {f"cka/{s}": np.array([v, np.subtract(v, half), np.add(v, half)])
              for s, v in (("id", id_), ("adv", adv), ("clean-adv", [0.0, 0.0]))}  # fmt: skip
    return Part({}, arrays | {"layers": np.array(["block.0", "embedding"])})


def test_drift_names_layer_set_and_run_and_leaves_the_reference_out():
    parts = {"a": layers_of([0.9, 0.8], [0.7, 0.2]), "b": layers_of([0.9, 0.95], [0.85, 0.9]),
             "c": layers_of([1.0, 1.0], [1.0, 1.0])}  # fmt: skip
    said = answers.representation(found(parts), NAMES, ["id", "adv", "clean-adv"])
    assert said == (
        "**a** moved most: its **embedding**, under attack (CKA 0.200 [0.180, 0.220]); **b** moved "
        "least: no layer below CKA 0.850 [0.830, 0.870] (its block 0, under attack)."
    )
    close = {"a": layers_of([0.9, 0.8], [0.7, 0.7]), "b": layers_of([0.9, 0.8], [0.7, 0.72])}
    said = answers.representation(found(close), NAMES, ["id", "adv"])
    assert "**b** moved least, not clearly less than **a**:" in said
    assert said.startswith("**a** moved most: "), "of two the doubt is said once"
    three = close | {"c": layers_of([0.9, 0.8], [0.9, 0.95])}
    said = answers.representation(found(three), NAMES, ["id", "adv"])
    assert said.startswith("**a** moved most, not clearly more than **b**: its **block 0**, under")


def attacked(stands: list[float], **checks: Measure) -> Part:
    clean = 0.8
    values = {"clean": sure(clean, 0.02)}
    values |= {f"pgd/{r}/255": sure(v, 0.05) for r, v in zip((1, 2, 4), stands, strict=True)}
    return Part(values | {f"check/{name}": m for name, m in checks.items()})


def test_robustness_says_where_accuracy_halves_and_what_the_checks_say():
    settings = {"attacks": ["pgd"], "radii": [1 / 255, 2 / 255, 4 / 255]}
    parts = {"a": attacked([0.6, 0.2, 0.0], pgd=sure(0.2)), "b": attacked([0.7, 0.6, 0.5])}
    said = answers.robustness(found(parts, **settings), NAMES)
    # from 0.6 at 1 to 0.2 at 2, 0.4 is half way; the band's ends cross 0.4 at 1.375 and 1.625
    assert said == (
        "Under PGD accuracy is halved last for **b** (ε > 4/255) and first for **a** (ε = 1.5/255 "
        "[1.4, 1.6]); the checks find no masked gradients."
    )
    hidden = parts | {"a": attacked([0.6, 0.2, 0.0], **{"pgd, eps = 64/255": sure(0.3)})}
    said = answers.robustness(found(hidden, **settings), NAMES)
    assert "**gradients look masked**: **a**: PGD leaves 30.0 % even at ε = 64/255." in said
    unchecked = {"a": attacked([0.6, 0.2, 0.0]), "b": attacked([0.6, 0.22, 0.0])}
    said = answers.robustness(found(unchecked, **settings), NAMES)
    assert "last for **b** (ε = 1.5/255 [1.4, 1.7]), not clearly after **a**, and first for" in said
    assert said.endswith("; masked gradients were not looked for.")
    three = parts | {"c": attacked([0.6, 0.21, 0.0])}
    said = answers.robustness(found(three, **settings), NAMES)
    assert "halved last for **b** (ε > 4/255) and first for **a** (ε = 1.5/255" in said


def test_a_baseline_that_was_not_measured_is_named_in_the_place_of_its_gap():
    two = found({"a": Part(), "b": Part()})
    assert answers.without_gap(two, "c", NAMES).startswith("No gap to the baseline: **c** was not")
    assert answers.without_gap(two, "a", NAMES) == answers.without_gap(two, "", NAMES) == ""


def moved(size: float, spectrum: list[float]) -> Part:
    values = {"drift": Measure(size)}
    for name, share in ((OUT, 2.0), (WIDE, 1.0)):
        values |= {f"relative/{name}": Measure(share * size), f"norm/{name}": Measure(size),
                   f"effective_rank/{name}": Measure(2.0)}  # fmt: skip
    arrays = {"blocks": np.array([OUT, WIDE]), "singular_values": np.array([spectrum] * 2)}
    return Part(values, arrays)


def test_weights_name_runs_the_matrix_and_low_ranks():
    parts = {"a": moved(0.1, [1.0, 0.5, 0.3]), "b": moved(0.01, [1.0, 0.5, 1e-7]),
             "c": moved(0.0, [0.0, 0.0, 0.0])}  # fmt: skip
    assert answers.weights(found(parts), NAMES) == (
        "**a** moved farthest (‖θ − θ₀‖ / ‖θ₀‖ = 0.1), **b** least (0.01); **block 0, attention "
        "out** moved most for its size (at **a**, 0.2); the change of a matrix has rank 2 at most in "
        "**b**."
    )
    assert answers.weights(found({"c": moved(0.0, [0.0])}), NAMES) == "No weight moved."
    close = {"a": moved(0.1, [1.0, 0.9]), "b": moved(0.099, [1.0, 0.9])}
    said = answers.weights(found(close), NAMES)
    assert said.startswith(
        "**a** moved farthest (‖θ − θ₀‖ / ‖θ₀‖ = 0.1), **b** about as far (0.099); "
    )
    said = answers.weights(found({"a": moved(0.1, [1.0, 0.9])}), NAMES)
    assert said.startswith("**a** moved by ‖θ − θ₀‖ / ‖θ₀‖ = 0.1; ")
