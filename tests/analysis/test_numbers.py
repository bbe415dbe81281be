"""Numbers of one column have one format."""

import math

from grace_geom.analysis.numbers import Footnotes, alike
from grace_geom.records import Measure


def column(*measures: Measure | None) -> list[str]:
    feet, look = Footnotes(), alike(measures)
    return [feet.cell(m, look).full for m in measures]


def values(*numbers: float) -> list[str]:
    return column(*map(Measure, numbers))


def estimates(*pairs: tuple[float, float]) -> list[str]:
    return column(*(Measure(value, error) for value, error in pairs))


def test_numbers_without_an_error_end_at_one_place() -> None:
    assert values(16.31, 9.907, 1.98, 3.0441) == ["16.31", "9.91", "1.98", "3.04"]
    assert values(-12.47, -1.456, 0.0) == ["-12.47", "-1.46", "0.00"]
    assert values(1030.4, 2381.0) == ["1030", "2381"]
    assert values(1.5e-8, 2.25e-9) == ["1.500e-08", "2.250e-09"]
    assert values(5e6, 12.0) == ["5e+06", "12"]  # too far apart for one place
    assert values(math.nan, 2.5) == ["-¹", "2.50"] and values(0.0) == ["0"]
    unsure = Measure(2.0, estimator="Lanczos, not converged")
    assert column(Measure(10.0), unsure, None) == ["10.00", "~2.00", "-¹"]


def test_numbers_with_an_error_end_where_all_of_them_are_known() -> None:
    assert estimates((0.10039, 3.2e-4), (0.009854, 7.1e-5)) == [
        "0.10039 ± 0.00032", "0.00985 ± 0.00007"
    ]  # fmt: skip
    assert estimates((382, 31), (52.2, 2.9)) == ["382 ± 31", "52 ± 3"]
    assert estimates((382, 131), (52.2, 2.9)) == ["382 ± 131", "52 ± 3"]
    assert estimates((382, 31), (5.22, 0.029)) == ["382 ± 31", "5.220 ± 0.029"]
    assert estimates((12340, 1310), (-2.0, 999)) == ["12300 ± 1300", "0 ± 1000"]
    assert estimates((3e-7, 2e-8), (2e-2, 1e-3)) == ["3.00e-07 ± 2.0e-08", "2.00e-02 ± 1.0e-03"]
    assert estimates((3e7, 2e5), (2e2, 1e1)) == ["3.000e+07 ± 2.0e+05", "2.00e+02 ± 1.0e+01"]


def test_a_column_that_knows_some_errors_only_has_each_number_as_it_is() -> None:
    assert column(Measure(16.31), Measure(1.98, 0.21)) == ["16.31", "1.98 ± 0.21"]
    assert estimates((1.25, 0.0), (12.5, 0.5)) == ["1.25 ± 0", "12.50 ± 0.50"]
