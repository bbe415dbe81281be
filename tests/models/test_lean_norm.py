"""LayerNorm in half precision: the float32 one rounded once, and less is kept."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.models.lean_norm import lean_norm
from grace_geom.training.memory import kept_by_autograd
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch, toy_clip

D, EPS = 16, 1e-5


def inputs(dtype: torch.dtype) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    z = (3 * torch.randn(4, 5, D, generator=g) + 1).to(dtype)
    gain, bias = 1 + 0.3 * torch.randn(D, generator=g), torch.randn(D, generator=g)
    return [x.requires_grad_() for x in (z, gain, bias)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_value_and_gradients_are_those_in_double_precision_rounded_once(dtype):
    z, gain, bias = inputs(dtype)
    weight = torch.randn(4, 5, D, generator=torch.Generator().manual_seed(1)).to(dtype)
    y = lean_norm(z, gain, bias, EPS)
    found = torch.autograd.grad((y * weight).sum(), [z, gain, bias])
    exact = [x.detach().double().requires_grad_() for x in (z, gain, bias)]
    Y = F.layer_norm(exact[0], (D,), exact[1], exact[2], EPS)
    wanted = torch.autograd.grad((Y * weight.double()).sum(), exact)
    unit = torch.finfo(dtype).eps / 2  # of rounding to nearest
    assert y.dtype == found[0].dtype == dtype and found[1].dtype == found[2].dtype == torch.float32
    assert_close(y.double(), Y, rtol=1.01 * unit, atol=1e-5)
    assert_close(found[0].double(), wanted[0], rtol=1.01 * unit, atol=1e-5)
    for one, other in zip(found[1:], wanted[1:], strict=True):
        assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_only_what_is_asked_for_is_differentiated():
    z, gain, bias = inputs(torch.bfloat16)
    y = lean_norm(z, gain.detach(), bias.detach(), EPS)
    (g,) = torch.autograd.grad(y.float().square().sum(), z)
    assert g.abs().sum() > 0


def test_a_second_derivative_is_refused():
    z, gain, bias = inputs(torch.bfloat16)
    loss = lean_norm(z, gain, bias, EPS).float().pow(3).sum()
    (g,) = torch.autograd.grad(loss, gain, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_it_keeps_its_input_and_two_numbers_a_row():
    z, gain, bias = inputs(torch.bfloat16)
    own = {x.untyped_storage().data_ptr() for x in (gain, bias)}
    with kept_by_autograd(own) as peak:
        y = lean_norm(z * 1, gain, bias, EPS)
    assert peak == [4 * 5 * (2 * D + 2 * 4)]
    del y


def embedding(device: str, lean: bool) -> tuple[torch.Tensor, list[torch.dtype]]:
    """Of a toy in bf16, with the dtypes of the residual stream before each addition to it."""
    model, seen, real = toy_clip().to(device), [], F.linear
    model.autocast_dtype = torch.bfloat16
    model.keep_residual_low(lean)

    def spy(x, *args):
        seen.append(x.dtype)
        return real(x, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "linear", spy)
        with torch.no_grad():
            out = model.encode(toy_batch().to(device).images)
    return out.cpu(), seen


def test_a_tower_by_cudas_rules_keeps_its_residual_stream_in_bf16():
    """What a matrix product is given tells what LayerNorm returned."""
    with torch.no_grad():
        exact = toy_clip().encode(toy_batch().images)
    with pretended_gpu():
        (usual, floats), (lean, halves) = embedding("cuda", False), embedding("cuda", True)
    assert torch.float32 in floats[1:] and set(halves[1:]) == {torch.bfloat16}
    errors = [(x - exact).norm() / exact.norm() for x in (usual, lean)]
    assert max(errors) < 0.02 and errors[1] < 3 * errors[0] + 1e-3


def test_float32_is_left_alone():
    with torch.no_grad():
        model, x = toy_clip(), toy_batch().images
        plain = model.encode(x)
        model.keep_residual_low()
        assert torch.equal(model.encode(x), plain)


def test_other_towers_are_refused_by_the_flag():
    model = toy_clip()
    model.shape = None  # as of a ResNet
    with pytest.raises(UserError, match=r"--bf16-residual needs .* ViT"):
        model.keep_residual_low()
