"""The figures that a study leaves."""

import numpy as np
import pytest

from grace_geom.study.figure import tradeoff
from tests.stub_study import one_seed


@pytest.mark.drawn
def test_a_study_without_ood_sets_has_a_figure(tmp_path):
    rows = [
        one_seed(label, {("id", "d"): np.arange(40) < 4 * k, ("adv", "d"): np.arange(20) < k})
        for label, k in (("zero-shot", 6), ("ft", 8), ("lora", 7))
    ]
    assert tradeoff(rows, tmp_path / "tradeoff.png") is not None
