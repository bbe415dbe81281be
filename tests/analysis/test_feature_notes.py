"""Numbers that stand in the notes of tables, measured again."""

import re

import numpy as np
import pytest

from grace_geom.analysis.feature_analysis import LID_BIAS
from grace_geom.geometry.dimension import lid_mle, neighbours
from tests.geometry.test_cka import gaussian


@pytest.mark.parametrize(("n", "draws"), [(300, 300), (1000, 100)])
def test_the_note_says_what_lid_finds_where_five_is_true(n: int, draws: int):
    said = {int(m[2].replace(",", "")): float(m[1])
            for m in re.finditer(r"([\d.]+) at n = ([\d,]+)", LID_BIAS)}  # fmt: skip
    found = [lid_mle(neighbours(gaussian(n, 5, seed), 20)) for seed in range(draws)]
    error = np.std(found, ddof=1) / np.sqrt(draws)
    assert "truly 5" in LID_BIAS and error < 0.005
    assert abs(np.mean(found) - said[n]) < 0.005 + 2 * error  # half of the last digit
