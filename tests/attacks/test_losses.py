"""Losses against the formulas of the paper, written out sample by sample."""

import math

import pytest
import torch
import torch.nn.functional as F

from grace_geom.attacks.losses import cross_entropy, dlr, dlr_targeted, margin


def some_logits(classes: int, n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    return 5 * torch.randn(n, classes, generator=generator, dtype=torch.float64), torch.arange(
        n
    ) % classes


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_cross_entropy_is_torchs(classes: int):
    z, y = some_logits(classes)
    torch.testing.assert_close(cross_entropy(z, y), F.cross_entropy(z, y, reduction="none"))


@pytest.mark.parametrize("gap", [20.0, 40.0, 80.0])
def test_cross_entropy_keeps_its_digits_where_the_answer_is_certain(gap: float):
    z, y = torch.tensor([[gap, 0.0, 0.0]]), torch.tensor([0])
    assert cross_entropy(z, y).item() == pytest.approx(math.log1p(2 * math.exp(-gap)), rel=1e-5)
    assert F.cross_entropy(z, y).item() == 0  # the reason for the other form


def test_cross_entropy_of_half_precision_is_computed_in_float32():
    z, y = some_logits(4)
    half = z.half()
    assert cross_entropy(half, y).dtype == torch.float32
    torch.testing.assert_close(
        cross_entropy(half, y), cross_entropy(half.float(), y), rtol=0, atol=0
    )


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_margin_and_dlr_are_the_papers(classes: int):
    z, y = some_logits(classes)
    for row, label, m, d in zip(
        z.tolist(), y.tolist(), margin(z, y).tolist(), dlr(z, y).tolist(), strict=True
    ):
        ordered = sorted(row, reverse=True)
        best_other = max(v for i, v in enumerate(row) if i != label)
        assert m == pytest.approx(best_other - row[label])
        assert d == pytest.approx(-(row[label] - best_other) / (ordered[0] - ordered[2]))


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_targeted_dlr_is_the_papers(classes: int):
    z, y = some_logits(classes)
    target = (y + 1) % classes
    found = dlr_targeted(z, y, target).tolist()
    for row, label, aim, d in zip(z.tolist(), y.tolist(), target.tolist(), found, strict=True):
        ordered = sorted(row, reverse=True)
        floor = ordered[2] if classes == 3 else (ordered[2] + ordered[3]) / 2
        assert d == pytest.approx(-(row[label] - row[aim]) / (ordered[0] - floor))


@pytest.mark.parametrize("classes", [3, 5])
def test_dlr_ignores_shift_and_scale(classes: int):
    z, y = some_logits(classes)
    torch.testing.assert_close(dlr(7 * z + 3, y), dlr(z, y))
    torch.testing.assert_close(
        dlr_targeted(7 * z + 3, y, (y + 1) % classes), dlr_targeted(z, y, (y + 1) % classes)
    )


def test_dlr_is_not_defined_for_two_classes():
    z, y = some_logits(2)
    with pytest.raises(ValueError, match="not defined for 2 classes"):
        dlr(z, y)
    with pytest.raises(ValueError, match="not defined for 2 classes"):
        dlr_targeted(z, y, 1 - y)
