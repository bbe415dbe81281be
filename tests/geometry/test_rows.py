"""What is said about features before anything is measured."""

import pytest
import torch

from grace_geom.geometry.rows import centred, examine
from tests.geometry.test_cka import gaussian


def test_clean_rows_have_nothing_to_report():
    rows = examine(gaussian(10, 3))
    assert (rows.n, rows.d, rows.remark) == (10, 3, "")


def test_each_trouble_is_named_and_counted():
    bad = gaussian(10, 3)
    bad[2:4, 0] = torch.nan
    assert examine(bad).problem == "2 of 10 rows hold NaN or infinity"
    assert "need 4" in examine(gaussian(3, 5)).problem
    assert "same for every image" in examine(torch.ones(9, 4) * 7).problem
    doubled = examine(torch.cat([gaussian(5, 3), gaussian(5, 3)]))
    assert doubled.problem == "" and doubled.remark == "5 of 10 rows are duplicates"


def test_zero_features_are_constant():
    assert examine(torch.zeros(8, 2)).constant


def test_tokens_must_be_pooled_first():
    with pytest.raises(ValueError, match="pool tokens"):
        examine(torch.zeros(2, 3, 4))


def test_centring_in_float64():
    X = (gaussian(1000, 2) + 4096.0).float()
    assert centred(X).dtype == torch.float64 and centred(X).mean(dim=0).abs().max() < 1e-9
