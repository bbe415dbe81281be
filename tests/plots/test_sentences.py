"""The sentences that only a report has: the runs at both ends, and their numbers."""

from grace_geom.known_analyses import ANALYSES
from grace_geom.plots.sentences import ANSWERS
from grace_geom.records import Finding, Measure, Part, Result


def said(analysis: str, key: str, **of: Measure) -> str:
    """What is said of one number of several runs."""
    result = Result(analysis, (), {}, {run: Part({key: m}) for run, m in of.items()})
    found = [Finding(run, result, run) for run in of]
    return ANSWERS[analysis](found, {run: f"**{run}**" for run in of})


def test_every_analysis_has_a_sentence_and_nothing_measured_has_none():
    assert ANSWERS.keys() == ANALYSES.keys()
    assert {said(name, "none", a=Measure(1.0)) for name in ANSWERS} == {""}


def test_centroids_move_by_one_minus_their_cosine_as_the_figure_draws_it():
    a, b = Measure(0.4, None, 0.3, 0.5), Measure(0.99512, None, 0.994, 0.996)
    sentence = said("feature_stability", "centroid_cosine/adv", a=a, b=b)
    assert sentence.replace("\N{NO-BREAK SPACE}", " ") == (
        "By 1 − cosine to the clean ones, an attack moves class centroids least for **b** "
        "(0.0049 [0.0040, 0.0060]), before **a** (0.60 [0.50, 0.70])."
    )


def test_shifts_whose_ends_are_apart_are_told_the_widest_first():
    def of(run: str, **cosines: tuple[float, float]) -> Part:
        return Part(
            {
                f"centroid_cosine/{s}": Measure(v, None, v - h, v + h)
                for s, (v, h) in cosines.items()
            }
        )

    def sentence(**runs: Part) -> str:
        result = Result("feature_stability", (), {}, runs)
        found = [Finding(run, result, run) for run in runs]
        said = ANSWERS["feature_stability"](found, {run: f"**{run}**" for run in runs})
        return said.replace("\N{NO-BREAK SPACE}", " ").partition("). ")[2]

    a = of("a", adv=(0.9, 0.01), v2=(0.8, 0.1), sketch=(0.3, 0.1))
    b = of("b", adv=(0.5, 0.01), v2=(0.85, 0.1), sketch=(0.7, 0.1))
    assert sentence(a=a, b=b) == (
        "Under shift **a** moves more than **b** on sketch (0.70 [0.60, 0.80] against 0.30 [0.20, "
        "0.40]); elsewhere no difference is clear."
    )
    alike = of("c", adv=(0.5, 0.01), v2=(0.85, 0.1), sketch=(0.35, 0.1))
    assert sentence(a=a, c=alike) == "Under shift there is no clear difference."
    far = of("d", adv=(0.5, 0.01), v2=(0.1, 0.1), sketch=(0.9, 0.1))
    assert sentence(a=a, d=far).endswith("; ends are clearly apart on the other set, too.")
    assert sentence(a=of("a", adv=(0.9, 0.01)), b=of("b", adv=(0.5, 0.01))) == ""


def test_the_matrices_that_are_most_curved_are_named_where_they_are_few():
    block = "visual.transformer.resblocks.0."
    names = ("visual.conv1.weight", block + "attn.in_proj_weight", "visual.proj")

    def of(*kappas: tuple[float, float]) -> Part:
        known = {
            f"kappa/{n}": Measure(v, None, v - h, v + h)
            for n, (v, h) in zip(names, kappas, strict=True)
        }
        return Part({"lambda_1": Measure(2.0)} | known)

    def sentence(*parts: Part) -> str:
        runs = dict(zip("abc", parts, strict=False))
        result = Result("hessian_spectrum", (), {}, runs)
        found = [Finding(run, result, run) for run in runs]
        return ANSWERS["hessian_spectrum"](found, {run: f"**{run}**" for run in runs})

    sure = of((9.0, 0.1), (1.0, 0.1), (5.0, 0.1))
    assert sentence(sure).endswith(" A weight is most curved in **stem convolution**.")
    near = of((4.9, 0.1), (1.0, 0.1), (5.0, 0.1))
    said = "A weight is most curved in **stem convolution** or **projection** in both runs."
    assert sentence(sure, near).endswith(said)


def test_directions_sums_and_shares_name_both_ends():
    one, two = Measure(3.0, None, 2.9, 3.1), Measure(9.0, None, 8.5, 9.5)
    ranks = said("anisotropy", "features/id/effective_rank_centred/embedding", a=two, b=one)
    assert "ID images use fewest directions for **b** (3.00 ± 0.10), before **a**" in ranks
    curved = said("anisotropy", "curvature/participation_ratio", a=two, b=one)
    assert curved.startswith(
        "By the participation ratio the curvature has fewest directions for **b**"
    )
    sums = said("bound_terms", "balanced", a=Measure(2.0), b=Measure(1.0))
    assert "least for **b** (2), before **a** (4)" in sums  # (A) + (B), which are equal
    shares = said("image_gallery", "right_adv/id", a=Measure(0.5), b=Measure(0.75))
    assert "fewest for **a** (50.0 %), before **b** (75.0 %)" in shares
