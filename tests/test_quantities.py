"""Numbers are written to their uncertainty, and radii in grey levels."""

import math

import pytest

from grace_geom.quantities import in_levels, plus_minus, radius, uncertainty


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (1034.2, 161.0, "1030 ± 160"),
        (2340.0, 170.4, "2340 ± 170"),
        (0.02631, 0.00304, "0.0263 ± 0.0030"),
        (71.34, 2.06, "71.3 ± 2.1"),
        (5.7, 11.2, "6 ± 11"),
        (0.4, 12.0, "0 ± 12"),
        (-0.4, 12.0, "0 ± 12"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (99.96, 0.96, "99.96 ± 0.96"),
        (3.0, 99.6, "0 ± 100"),
        (-8.694, 0.23, "-8.69 ± 0.23"),
        (123456.0, 789.0, "123460 ± 790"),
        (1234567.0, 12345.0, "1.235e+06 ± 1.2e+04"),
        (1.0, 3.2e7, "0 ± 3.2e+07"),
        (0.0, 3.2e-7, "0 ± 3.2e-07"),
        (2.5e-7, 3.2e-8, "2.50e-07 ± 3.2e-08"),
        (0.5, 1e-9, "5.000000000e-01 ± 1.0e-09"),
        (0.5, 1.234e-4, "0.50000 ± 0.00012"),
        (1e300, 1e298, "1.000e+300 ± 1.0e+298"),
        (0.0, 0.0, "0 ± 0"),
        (1034.2, 0.0, "1034 ± 0"),
        (1034.2, math.inf, "1034 ± ∞"),
        (1034.2, math.nan, "1034"),
        (1034.2, None, "1034"),
        (math.nan, 1.0, "nan"),
        (-math.inf, 1.0, "-inf"),
        (5e-324, 5e-324, "4.9e-324 ± 4.9e-324"),
    ],
)
def test_a_number_ends_where_its_uncertainty_does(value, half, text):
    assert plus_minus(value, half) == text


def test_units_and_signs():
    assert plus_minus(45.0, 2.1, "%") == "45.0 ± 2.1 %"
    assert plus_minus(2.0, 0.31, signed=True) == "+2.00 ± 0.31"
    assert plus_minus(-2.0, 0.31, signed=True) == "-2.00 ± 0.31"


def test_an_uncertainty_needs_no_network():
    assert [uncertainty(x) for x in (161.0, 0.00304, 1.2e7, 0.0)] == [
        "160",
        "0.0030",
        "1.2e+07",
        "0",
    ]


def test_an_uncertainty_is_not_negative():
    with pytest.raises(ValueError, match="at least 0"):
        plus_minus(1.0, -0.1)


@pytest.mark.parametrize("exponent", range(-9, 10))
@pytest.mark.parametrize("half", [1.0, 1.04, 4.96, 9.94, 9.96])
def test_what_is_written_is_near_what_was_meant(exponent, half):
    value, half = 3.14159 * 10.0 ** (exponent + 2), half * 10.0**exponent
    shown, error = (float(part) for part in plus_minus(value, half).split(" ± "))
    assert error == pytest.approx(half, rel=0.051)
    assert abs(shown - value) <= half * 0.051  # half a unit of the second digit


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        (4 / 255, "4/255"),
        (-4 / 255, "-4/255"),
        (0.5 / 255, "0.5/255"),
        (0.0, "0/255"),
        (0.03, "7.65/255"),
        (1.0, "255/255"),
        (4.0, "4"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_radii_are_in_grey_levels(eps, text):
    assert radius(eps) == text


def test_only_what_people_choose_is_read_as_grey_levels():
    found = {level: in_levels(level / 255) for level in (-4, 0.5, 4, 16)}
    assert found == {-4: "-4/255", 0.5: "0.5/255", 4: "4/255", 16: "16/255"}
    for other in (0.0, 0.03, 1e-3, 17 / 255, 4 / 255 + 1e-9, math.nan, math.inf):
        assert in_levels(other) is None
