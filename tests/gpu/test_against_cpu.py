"""A card finds what the CPU finds: losses, gradients, eigenvalues, attacks; and every method makes
a step there.
"""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.attacks import AttackSpec
from grace_geom.evaluation import evaluate_set
from grace_geom.geometry.operators import hessian
from grace_geom.methods import METHODS, Method, Run
from grace_geom.training import Plan, Trainer
from tests.small_run import QUICK
from tests.test_distributed import noisy_set
from tests.toys import toy_batch, toy_clip, toy_images


def method_of(name: str) -> Method:
    attacked = "attack_steps" in METHODS[name].__dataclass_fields__
    return METHODS[name](**({"attack_steps": 2} if attacked else {}), **QUICK.get(name, {}))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].trains])
def test_each_method_makes_two_steps(name: str, precision: str):
    method, model = method_of(name), toy_clip().to("cuda")
    params, state = method.setup(model, torch.Generator().manual_seed(0))

    def images(part: str):
        return [batch.to("cuda") for batch in toy_images(part)]

    run = Run(model, params, torch.Generator("cuda").manual_seed(1), 10, state, images=images)
    trainer = Trainer(method, run, Plan(10, 5, precision=precision))  # type: ignore[arg-type]
    method.prepare(run)
    for seed in (0, 1):
        numbers = trainer.step(toy_batch(8, seed).to("cuda"))
    assert all(torch.as_tensor(x).isfinite().all() for x in numbers.values())
    assert all(w.is_cuda and w.isfinite().all() for w in run.params.values())


def loss_and_gradient(device: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    model, batch = toy_clip().to(device).to(dtype), toy_batch(8).to(device)
    x = batch.images.to(dtype).requires_grad_()
    loss = F.cross_entropy(model(x), batch.labels)
    return loss.detach().cpu(), torch.autograd.grad(loss, x)[0].cpu()


@pytest.mark.parametrize("dtype, rtol", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_loss_and_gradient_are_the_cpus(dtype: torch.dtype, rtol: float):
    there, here = loss_and_gradient("cuda", dtype), loss_and_gradient("cpu", torch.float64)
    for found, true in zip(there, here, strict=True):
        assert float((found.double() - true).norm() / true.norm()) < rtol


def largest_eigenvalue(device: str) -> float:
    """Of the toy's dense Hessian in a few weights."""
    model, batch = toy_clip().to(device).double(), toy_batch(8).to(device)
    x = batch.images.double()
    A = hessian(
        lambda w, b: F.cross_entropy(model(x, w), batch.labels),
        model.weights(),
        [batch],
        r"ln_post",
    )
    rows = [A.matvec(e) for e in torch.eye(A.dim, dtype=torch.float64, device=device)]
    return float(torch.linalg.eigvalsh(torch.stack(rows).cpu())[-1])


def test_the_largest_eigenvalue_is_the_cpus():
    assert largest_eigenvalue("cuda") == pytest.approx(largest_eigenvalue("cpu"), rel=1e-8)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd-ce", "fab-t", "square"])
def test_an_attack_fools_what_it_fools_on_the_cpu(name: str):
    """But for images at the border: at most one of 23."""
    steps = 1 if name == "fgsm" else 10
    attack = AttackSpec(name, 4 / 255, steps=steps, queries=50, targets=2)
    there, here = (
        evaluate_set(toy_clip().to(device), noisy_set(), "adv", "x", attack=attack, batch_size=16)
        for device in ("cuda", "cpu")
    )
    assert abs(there.correct - here.correct) <= 1


def test_a_generators_state_has_the_length_that_is_pretended():
    assert torch.Generator("cuda").get_state().shape == (16,)
    assert torch.cuda.get_rng_state().shape == (16,)


def test_what_autocast_lowers_and_what_not():
    """The rules by which tests/pretended_gpu stands in for CUDA's autocast."""
    x = torch.ones(4, 4, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        y = x @ x
        assert y.dtype == (y + y).dtype == y.relu().dtype == torch.bfloat16
        for z in (F.layer_norm(y, (4,)), y.softmax(1), y.exp(), y.sum(), F.cross_entropy(y, y)):
            assert z.dtype == torch.float32


def test_operands_on_two_devices_are_refused():
    x = torch.ones(2, 2, device="cuda")
    for fault in (lambda: x @ torch.ones(2, 2), lambda: x + torch.ones(2, 2)):
        with pytest.raises(RuntimeError, match="same device"):
            fault()
    assert_close((x * torch.tensor(2.0)).cpu(), torch.full((2, 2), 2.0))
