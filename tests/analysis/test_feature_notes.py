"""Numbers that stand in the notes of tables, measured again."""

import re
from pathlib import Path

import numpy as np
import pytest

from grace_geom.analysis.feature_analysis import LID_BIAS
from grace_geom.analysis.feature_stability import StabilityOptions, show_stability
from grace_geom.analysis.numbers import gathered
from grace_geom.analysis.run import Part
from grace_geom.geometry.dimension import lid_mle, neighbours
from grace_geom.records import Measure
from tests.geometry.test_cka import gaussian


def few(sets: tuple[str, ...] = ("id", "sketch", "adv")) -> Part:
    """A checkpoint of 14 images: no dimension of any set."""
    texts = [f"{name}: 14 images are too few for a dimension at k = 20" for name in sets]
    values = {f"lid/{name}": Measure(np.nan) for name in sets}
    return Part(values, {"sets": np.array(sets), "remarks": np.array(texts)}, n={"id": 14})


def test_a_reason_is_told_once_a_table():
    options = StabilityOptions((Path("a"), Path("b")), n=14)
    shown = show_stability({"a": few(), "b": few()}, options)
    for table in shown.tables[:2]:
        said = "\n".join(table.notes)
        assert said.count("14 images are too few") == 1, said
        assert "¹ 14 images are too few for a dimension at k = 20" in said


def test_a_remark_that_explains_no_dash_names_its_sets_in_one_line():
    twins = "2 of 60 rows are duplicates"
    said = gathered([("a, id", twins), ("a, adv", twins), ("b, id", "x"), ("b, adv", "y")], {"y"})
    assert said == [f"a, id; a, adv: {twins}", "b, id: x"]


@pytest.mark.parametrize(("n", "draws"), [(300, 300), (1000, 100)])
def test_the_note_says_what_lid_finds_where_five_is_true(n: int, draws: int):
    said = {int(m[2].replace(",", "")): float(m[1])
            for m in re.finditer(r"([\d.]+) at n = ([\d,]+)", LID_BIAS)}  # fmt: skip
    found = [lid_mle(neighbours(gaussian(n, 5, seed), 20)) for seed in range(draws)]
    error = np.std(found, ddof=1) / np.sqrt(draws)
    assert "truly 5" in LID_BIAS and error < 0.005
    assert abs(np.mean(found) - said[n]) < 0.005 + 2 * error  # half of the last digit
