"""Where the sentence at the head of a page may break."""

import pytest

from app.head import MOST_LETTERS, first_words, unbroken


@pytest.mark.parametrize(
    ("said", "tied"),
    [
        ("has 69.7 % here", "has 69.7_% here"),
        ("at ε = 4/255 (**a**), ε > 64/255 [58, ∞]", "at ε_=_4/255 (**a**), ε_>_64/255 [58,_∞]"),
        ("(3.0 ± 0.1) and r = −1.00", "(3.0_±_0.1) and r_=_−1.00"),
        ("‖θ − θ₀‖ / ‖θ₀‖ = 0.1", "‖θ − θ₀‖ / ‖θ₀‖_=_0.1"),
        ("`a = 1` means n = 5 or `b = 2 %`", "`a = 1` means n_=_5 or `b = 2 %`"),
        ("128 steps in 3 min 6 s, 2 h 5 min", "128 steps in 3_min_6_s, 2_h_5_min"),
        ("by \\[1.6, 3.0\\], [−4, ∞] of 5, 6 [a, 7]", "by \\[1.6,_3.0\\], [−4,_∞] of 5, 6 [a, 7]"),
        ("2 points and 3 pointers", "2_points and 3 pointers"),
        ("gv = off, and % alone", "gv = off, and % alone"),
    ],
)
def test_numbers_stay_with_their_units_and_names(said, tied):
    assert unbroken(said) == tied.replace("_", "\u00a0")


@pytest.mark.parametrize(
    ("sentence", "begin"),
    [
        ("Left out: **a\\-b**: no JSON", "Left out: a\\-b: no JSON"),
        ("It was not measured for v1\\. x. This does it:", "It was not measured for v1\\. x"),
        ("`hessian_spectrum`: a", "hessian_spectrum: a"),
        (
            f"Not measured for {', '.join(f'run{i}' for i in range(30))}. This does it:",
            "Not measured for run0, run1, run2, run3, run4, run5, run6, run7, run8 …",
        ),
        ("x\\-" * 80, "x\\-" * 24 + "…"),
    ],
)
def test_the_line_of_notices_says_how_the_first_begins(sentence, begin):
    assert first_words(sentence) == begin
    assert len(begin.replace("\\", "")) <= MOST_LETTERS + 2
