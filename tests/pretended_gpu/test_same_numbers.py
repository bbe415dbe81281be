"""The pretended GPU computes what the CPU computes, and says so where CUDA would differ."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from grace_geom.devices import tf32
from grace_geom.methods import METHODS, Run
from grace_geom.models import vit
from grace_geom.training import Plan, Trainer
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch, toy_clip, toy_images

SETTINGS = {"grace": {"r": 2, "attack_steps": 2}, "at": {"attack_steps": 2}, "lora": {"r": 2}}


def two_steps(name: str, device: str, recompute: bool) -> dict[str, Tensor]:
    """Weights and numbers after two steps of a method."""
    model = toy_clip().to(device)
    model.checkpoint_activations(recompute)
    method = METHODS[name](lr=1e-2, optimizer="sgd", **SETTINGS.get(name, {}))
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    generator = torch.Generator(device).manual_seed(1)
    run = Run(model, params, generator, 4, state, images=toy_images_on(device))
    trainer = Trainer(method, run, Plan(4, 2, micro_batch=3))
    for seed in (0, 1):
        numbers = trainer.step(toy_batch(8, seed).to(device))
    found = {n: w.detach() for n, w in run.params.items()} | {
        n: torch.as_tensor(x, dtype=torch.float32) for n, x in numbers.items()
    }
    return {n: w.cpu().clone() for n, w in found.items()}


def toy_images_on(device: str):
    return lambda part: [batch.to(device) for batch in toy_images(part)]


@pytest.mark.parametrize(
    "name, recompute",
    [("ft", False), ("lora", False), ("sam", False), ("grace", False), ("at", True)],
)
def test_a_step_has_the_numbers_of_the_cpu(name: str, recompute: bool, monkeypatch):
    monkeypatch.setattr(vit, "SHORT", 0)  # else the CPU computes attention in another order
    with pretended_gpu() as seen:
        there = two_steps(name, "cuda", recompute)
    here = two_steps(name, "cpu", recompute)
    assert there.keys() == here.keys() and not seen.mixed
    for key, value in here.items():
        # a GPU takes fused optimisers and other layouts, which round otherwise
        assert_close(there[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_lowers_products_and_keeps_norms_in_float32(low: torch.dtype):
    with pretended_gpu():
        x, layer = torch.ones(2, 4, device="cuda"), nn.Linear(4, 4).to("cuda")
        with torch.autocast("cuda", dtype=low):
            y = layer(x)
            assert y.dtype == low and torch.is_autocast_enabled("cuda")
            assert not torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cuda") == low
            found = [F.layer_norm(y, (4,)), y.softmax(1), y.exp(), F.cross_entropy(y, y)]
            assert {f.dtype for f in found} == {torch.float32}
            assert {f.dtype for f in (y.relu(), y + y, y.mean())} == {low}
            with torch.autocast("cuda", enabled=False):
                assert layer(x).dtype == torch.float32
            assert layer(x).dtype == low
        assert layer(x).dtype == torch.float32
    assert nn.Linear(4, 4)(torch.ones(2, 4)).dtype == torch.float32


def test_recomputation_casts_as_the_first_pass_did():
    kinds: list[torch.dtype] = []

    def layer(x: Tensor) -> Tensor:
        y = x @ x
        kinds.append(y.dtype)
        return y.exp()

    with pretended_gpu():
        x = torch.ones(2, 2, device="cuda", requires_grad=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            y = checkpoint(layer, x, use_reentrant=False)
        y.sum().backward()
    assert kinds == [torch.bfloat16] * 2


def test_tf32_is_where_the_card_has_it_and_torch_allows_it():
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)

    def gap(allowed: bool, **machine: bool) -> float:
        with tf32(allowed), pretended_gpu(**machine):
            found = F.conv2d(x.cuda(), w.cuda()).cpu()
        return float((found - F.conv2d(x, w)).norm() / F.conv2d(x, w).norm())

    assert gap(True) == 0 and gap(False, tf32=True) == 0
    assert 1e-5 < gap(True, tf32=True) < 1e-3  # 10 bits of mantissa: 2^-11 a number


def test_gradients_come_back_to_where_they_are_from():
    w = torch.ones(2, requires_grad=True)
    with pretended_gpu(count=2):
        y = w.to("cuda:1")
        (y * y).sum().backward()
        assert y.device.index == 1 and w.grad is not None and w.grad.device.type == "cpu"
        double = torch.autograd.grad((y**3).sum(), y, create_graph=True)[0]
        assert torch.autograd.grad(double.sum(), y)[0].device == torch.device("cuda:1")
        (back,) = torch.autograd.grad(y.to("cuda:0").sum(), y)
        assert back.device == torch.device("cuda:1")
    assert_close(w.grad, torch.full((2,), 2.0))


def test_a_generators_state_is_short_and_goes_on_where_it_was():
    with pretended_gpu():
        g = torch.Generator("cuda").manual_seed(7)
        state = g.get_state()
        first = torch.rand(3, device="cuda", generator=g)
        g.set_state(state)
        assert torch.equal(torch.rand(3, device="cuda", generator=g), first)
        assert state.shape == (16,) and g.device == torch.device("cuda:0")
    assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(7)))


def test_another_optimiser_step_is_the_cpus():
    def steps(device: str, **how: bool) -> Tensor:
        model = nn.Linear(3, 2)
        nn.init.eye_(model.weight), nn.init.zeros_(model.bias)
        model.to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **how)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(4, 3, device=device)).square().sum().backward()
            optimizer.step()
        state = optimizer.state[model.weight]
        assert {state["exp_avg"].device.type, state["exp_avg_sq"].device.type} == {device}
        return model.weight.detach().cpu()

    for how in ({"foreach": True}, {"foreach": False}, {"fused": True}):
        with pretended_gpu() as seen:
            there = steps("cuda", **how)
        assert_close(there, steps("cpu", **how), rtol=0, atol=0)  # the same kernels
        assert not seen.mixed


def test_a_scaled_step_waits_once_for_the_overflow_flag():
    with pretended_gpu("/torch/optim/") as seen:
        model = nn.Linear(2, 1).to("cuda")
        optimizer, scaler = torch.optim.SGD(model.parameters()), torch.amp.GradScaler("cuda")
        scaler.scale(model(torch.ones(1, 2, device="cuda")).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert seen.waits.total() == 1 and not seen.mixed
