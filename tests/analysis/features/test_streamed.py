"""Drift from sums: the same numbers as from all features at once, and intervals of the same
width."""

import numpy as np
import pytest
import torch

from grace_geom.analysis.features import Features
from grace_geom.analysis.features.drift import MEASURES, drift
from grace_geom.analysis.features.streamed import bytes_needed, streamed_drift
from grace_geom.errors import UserError
from tests.analysis.features.test_measures import normal

N = 240


def sides(n: int = N) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    a = {"block.0": normal(n, 6, 0) + 2.0, "embedding": normal(n, 9, 1)}
    b = {"block.0": a["block.0"] @ normal(6, 6, 2) + normal(n, 6, 3)}
    return a, b | {"embedding": a["embedding"] + normal(n, 9, 4) - 1.0}


def batches(a, b, size: int):
    n = len(a["embedding"])
    for i in range(0, n, size):
        yield tuple({layer: x[i : i + size] for layer, x in side.items()} for side in (a, b))


@pytest.mark.parametrize("size", [1, 50])
def test_sums_give_the_values_of_all_rows_at_once(size: int):
    a, b = sides(60)
    whole = drift(
        *(Features(s, torch.zeros(60, dtype=torch.long), "A", "id") for s in (a, b)), replicates=2
    )
    found = streamed_drift(batches(a, b, size), 60, replicates=4)
    assert found.layers == whole.layers and found.remarks == {}
    assert found.cka.value == pytest.approx(whole.cka.value, abs=1e-9)
    assert list(found.by_layer) == [name for name in MEASURES if name != "rbf_cka"]
    for name, column in found.by_layer.items():
        assert column.value == pytest.approx(whole.by_layer[name].value, abs=1e-7), name


def test_groups_give_intervals_as_wide_as_single_images_do():
    a, b = sides()
    whole = drift(
        *(Features(s, torch.zeros(N, dtype=torch.long), "A", "id") for s in (a, b)), replicates=100
    )
    found = streamed_drift(batches(a, b, 64), N, replicates=100, groups=40)
    for name in ("cka", "procrustes", "gram_chord"):
        # 39 degrees of freedom: the error of an error is 1/sqrt(2 * 39) = 11 %
        assert found.by_layer[name].error == pytest.approx(whole.by_layer[name].error, rel=0.45), (
            name
        )
        assert (found.by_layer[name].low < found.by_layer[name].value).all()


def test_trouble_is_named_and_the_other_layer_measured():
    a, b = sides(40)
    b["block.0"][3, 1] = torch.nan
    found = streamed_drift(batches(a, b, 16), 40, replicates=4)
    assert found.remarks == {"block.0": "1 of 40 rows hold NaN or infinity"}
    assert np.isnan(found.by_layer["cka"].value).tolist() == [True, False]
    a["embedding"] = torch.ones(40, 9)
    assert (
        "same for every image"
        in streamed_drift(batches(a, b, 16), 40, replicates=4).remarks["embedding"]
    )
    with pytest.raises(UserError, match="different layers"):
        streamed_drift([({"x": torch.ones(2, 2)}, {"y": torch.ones(2, 2)})], 2)
    with pytest.raises(UserError, match="no images"):
        streamed_drift([], 0)


def test_memory_does_not_know_the_number_of_images():
    assert bytes_needed([4], groups=2) == 8 * (6 * 2 * 16 + 16 + 2 * 16)
