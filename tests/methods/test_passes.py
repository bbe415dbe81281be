"""What a step costs in forward passes of its batch, counted and not timed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from grace_geom.batch import Batch
from grace_geom.methods import METHODS, Run
from grace_geom.models import ClipClassifier, ModelSpec, build


class Products(TorchDispatchMode):
    """Multiplications of matrix products and convolutions, backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


@pytest.fixture(scope="module")
def model() -> ClipClassifier:
    return build(ModelSpec("tiny-shapes", None, 0), ("a", "b", "c"), ("a {}",))


def products(do: Callable[[], object]) -> int:
    with Products() as counted:
        do()
    return counted.total


def passes(model: ClipClassifier, name: str, **options: Any) -> float:
    """A step after the first one (which also estimates the curvature), in forward passes."""
    method = METHODS[name](**options)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, torch.tensor([0, 1, 2, 0]), torch.arange(4))
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    run = Run(model, params, torch.Generator().manual_seed(1), 10**9, state)
    method.gradients(run, [batch])
    run.step = 1
    with torch.no_grad():
        forward = products(lambda: model(x))
    return products(lambda: method.gradients(run, [batch])) / forward


# One row of LoRA keeps the products that merge it out of the count. What is left between the count
# and the whole number is the embedding of patches, whose input needs no gradient.
@pytest.mark.parametrize(
    ("name", "options", "counted"),
    [
        ("ft", {}, 3),
        ("at", {"attack_steps": 2}, 3 + 2 * 2),
        ("grace-plus", {}, 6),
        ("grace-plus", {"attack_steps": 3}, 6 + 2 * 2),
        ("grace-plus", {"attack_steps": 3, "lambda_anchor": 0}, 5 + 2 * 2),
        ("grace-plus", {"attack_steps": 3, "adv_weight": 0.5}, 7 + 2 * 2),
        ("grace", {"r": 1, "attack_steps": 2}, 12 + 2 * 2),
        ("grace", {"r": 1, "attack_steps": 2, "awp_reuse": True}, 10 + 2 * 2),
        ("grace", {"r": 1, "attack_steps": 2, "gv": False}, 10 + 2 * 2),
        ("grace", {"r": 1, "attack_steps": 2, "gv": False, "log_cosines": False}, 9 + 2 * 2),
        ("grace", {"r": 1, "attack_steps": 2, "gv": False, "adv_at": "current"}, 6 + 2 * 2),
        ("grace", {"r": 1, "attack_steps": 2, "gv": False, "task": False}, 8 + 2 * 2),
    ],
)
def test_a_step_costs_the_passes_that_the_page_counts(model, name, options, counted):
    assert counted * 0.94 < passes(model, name, **options) < counted * 1.02


def test_a_cheap_step_of_grace_costs_at_most_five_of_fine_tuning(model):
    cheap = METHODS["grace"].presets["cheap"]
    assert passes(model, "grace", r=1, **cheap) < 15
    assert passes(model, "grace", r=1, **cheap) < 5 * passes(model, "ft")
