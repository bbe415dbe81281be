"""What makes the host wait on a card, by torch's own mode that tells of it."""

import warnings
from collections.abc import Callable

import pytest
import torch

from grace_geom.attacks import AttackSpec, run
from grace_geom.attacks.suite import SuiteResult
from tests.attacks.conftest import Toy, make_toy

NORMS = [("pgd", "linf"), ("apgd-ce", "l1"), ("fab-t", "l2"), ("square", "l2"), ("cw", "l2")]


def waits_of(work: Callable[[], SuiteResult]) -> int:
    """How often the host waits; the first call of a kernel may load it."""
    work()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in told)


@pytest.mark.parametrize("name, norm", NORMS)
def test_the_steps_of_an_attack_do_not_wait(card: bool, name: str, norm: str):
    if not card:
        pytest.skip("torch's mode needs a driver; tests/attacks/test_waits.py counts without")
    toy = make_toy(n=16, dtype=torch.float32)
    on_card = Toy(toy.model.to("cuda"), toy.x.to("cuda"), toy.y.to("cuda"))
    counts = []
    for steps in (4, 16):
        spec = AttackSpec(name, 1e-3, norm=norm, steps=steps, queries=steps, targets=2)
        counts.append(waits_of(lambda: run(spec, on_card.model, on_card.x, on_card.y)))  # noqa: B023
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name, norm", NORMS)
def test_late_looks_find_on_a_card_what_the_cpu_finds(name: str, norm: str):
    toy = make_toy(n=16)
    radius = {"linf": 0.05, "l2": 0.4, "l1": 3.0}[norm]
    spec = AttackSpec(name, radius, norm=norm, steps=12, queries=40, precision="float64")
    here = run(spec, toy.model, toy.x, toy.y)
    there = run(spec, toy.model.to("cuda"), toy.x.to("cuda"), toy.y.to("cuda"))
    assert torch.equal(there.robust, here.robust)
