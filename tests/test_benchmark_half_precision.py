"""The columns of the half-precision benchmark are computed by the rules that they name."""

import pytest

from benchmarks import half_precision
from grace_geom.models import vit
from tests.toys import toy_batch, toy_clip


def test_a_row_measures_bf16_by_cuda_s_rules_and_with_the_flag(monkeypatch):
    model, batch, usual, passes = toy_clip(), toy_batch(), vit.lean_norm, []
    measure = half_precision.volumes

    def counted(*args):
        passes[-1]["lean_norms"] += 1
        return usual(*args)

    def followed(run, grace, images, half):
        passes.append({"half": half, "lean_norms": 0, "fused_attention": vit.SHORT == 0})
        return measure(run, grace, images, half)

    monkeypatch.setattr(vit, "lean_norm", counted)
    monkeypatch.setattr(half_precision, "volumes", followed)
    (row,) = half_precision.measured(model, batch, [4.0], 0.05)
    norms = 3 * (2 + 2 * model.plain_vit("the test needs").layers)  # clean, attacked, perturbed
    assert passes == [
        {"half": False, "lean_norms": 0, "fused_attention": False},
        {"half": True, "lean_norms": 0, "fused_attention": True},
        {"half": True, "lean_norms": norms, "fused_attention": True},
    ]
    assert not model.lean_norms
    assert row["float32"] > 0 and 0 < abs(row["cuda"]) < 1 and row["cuda_se"] > 0
    assert row["residual"] not in (row["cuda"], pytest.approx(0))
