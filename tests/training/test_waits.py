"""How often a step of training asks for a number or a count that a GPU would have to finish its
work for.

Seen in the operators that are called, on the CPU: a copy from a GPU to the host cannot be seen
here.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grace_geom.methods import METHODS
from grace_geom.training import Plan, Trainer
from tests.toys import toy_batch, toy_clip, toy_run

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "aten.equal")
"""A number for Python; a shape that depends on numbers."""


class Waits(TorchDispatchMode):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = (
            [i for i in args[1] if i is not None and i.dtype == torch.bool]
            if "aten.index" in str(func)
            else []
        )
        self.count += bool(masks) or any(name in str(func) for name in WAITS)
        return func(*args, **(kwargs or {}))


def waits_of_a_step(name: str, **settings) -> int:
    """Of the second step: the first estimates curvature, which looks once a refresh."""
    method = METHODS[name](lr=1e-2, optimizer="sgd", **settings)
    trainer = Trainer(method, toy_run(method, toy_clip(), steps=80), Plan(80, 20, clip_norm=0.5))
    for group in trainer.optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    trainer.step(toy_batch(8, 0))
    with Waits() as waits:
        trainer.step(toy_batch(8, 1))
    return waits.count


def test_what_is_counted():
    with Waits() as waits:
        x = torch.arange(3.0)
        _ = (
            bool(x.sum() > 0),
            x.max().item(),
            x.nonzero(),
            x[x > 1],
            x[torch.tensor([0, 2])],
            x.clamp(0, 1),
        )
    assert waits.count == 4


@pytest.mark.parametrize("name", ["ft", "lora", "sam"])
def test_a_step_without_an_attack_waits_for_nothing(name):
    assert waits_of_a_step(name) == 0


@pytest.mark.parametrize("name", ["at", "awp", "trades", "tecoa", "grace"])
def test_a_step_with_an_attack_looks_once_at_its_end_however_many_steps_it_has(name):
    assert waits_of_a_step(name, attack_steps=2) == waits_of_a_step(name, attack_steps=6) == 1


def test_images_that_may_leave_cost_a_look_a_step_of_the_attack():
    assert waits_of_a_step("at", attack_steps=4, attack_stop=100.0) == 4 + 1
