"""Images of another size are resized by the same linear map, whatever computes it."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.devices import deterministic
from grace_geom.models.resizing import Mode, resized
from tests.pretended_gpu import pretended_gpu


@pytest.fixture(autouse=True)
def workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is before a GPU is in use


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(16, 16), (40, 24), (11, 37)])
def test_two_products_of_matrices_are_the_interpolation_and_its_gradient(
    size: tuple[int, int], mode: Mode
):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 24, 32, generator=g, dtype=torch.float64)
    direction = torch.rand(2, 3, *size, generator=g, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    usual = F.interpolate(leaf, size=size, mode=mode, antialias=mode == "bicubic")
    (wanted,) = torch.autograd.grad((usual * direction).sum(), leaf)
    with pretended_gpu() as seen, deterministic():
        leaf = x.to("cuda").requires_grad_()
        found = resized(leaf, size, mode)
        (grad,) = torch.autograd.grad((found * direction.to("cuda")).sum(), leaf)
        assert not seen.nondeterministic and not seen.mixed
        found, grad = found.detach().cpu(), grad.cpu()
    assert_close(found, usual.detach(), rtol=1e-12, atol=1e-12)
    assert_close(grad, wanted, rtol=1e-12, atol=1e-12)


def test_without_being_asked_for_the_interpolation_is_the_usual_one_bit_for_bit():
    x = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)).requires_grad_()
    usual = F.interpolate(x, size=(16, 16), mode="bicubic", antialias=True)
    assert torch.equal(resized(x, (16, 16)), usual)
    with deterministic():
        assert torch.equal(resized(x, (16, 16)), usual), "the CPU adds up in one order"
    with pretended_gpu() as seen:
        leaf = x.detach().to("cuda").requires_grad_()
        torch.autograd.grad(resized(leaf, (16, 16)).sum(), leaf)
        assert seen.nondeterministic, "what deterministic() is for"
