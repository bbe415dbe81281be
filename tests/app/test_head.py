"""Where the sentence at the head of a page may break."""

import pytest

from app.head import unbroken


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
