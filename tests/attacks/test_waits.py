"""How often the host waits for a GPU under attack: once a run, whatever its number of steps."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from grace_geom.attacks import AttackSpec, run
from tests.attacks.conftest import make_toy
from tests.pretended_gpu import Seen, pretended_gpu

RADII = {"linf": 0.02, "l2": 0.2, "l1": 1.0}
RUNS = {"fgsm": 1, "pgd": 2, "pgd-cw": 2, "apgd-ce": 2, "apgd-dlr": 2, "fab": 2, "square": 1}
RUNS |= {"apgd-t": 4, "fab-t": 4}
"""Restarts times targets: what each begins with is known when the one before has ended."""
EACH_COMMIT = {"linf": ("pgd", "apgd-t", "fab"), "l2": ("fab-t", "square"), "l1": ("apgd-ce",)}
CASES = [
    pytest.param(name, norm, runs, marks=() if name in EACH_COMMIT[norm] else pytest.mark.nightly)
    for norm in RADII
    for name, runs in RUNS.items()
] + [pytest.param("cw", "l2", 9)]  # values of c


Gpu = tuple[Seen, torch.nn.Module, Tensor, Tensor]


@pytest.fixture(scope="module")
def gpu() -> Iterator[Gpu]:
    toy = make_toy(n=6, dtype=torch.float32)
    with pretended_gpu() as seen:
        yield seen, toy.model.to("cuda"), toy.x.to("cuda"), toy.y.to("cuda")


def looks_and_copies(gpu: Gpu, name: str, norm: str, steps: int) -> tuple[int, int]:
    """How often the host waits to learn something, and copies to the device that it waits for."""
    seen, model, x, y = gpu

    def logits(z: Tensor) -> Tensor:
        """Nobody falls: every step is made."""
        return model(z) + 1e3 * torch.eye(5, device="cuda")[y[: len(z)]]

    spec = AttackSpec(name, RADII[norm], norm=norm, steps=steps, queries=steps, targets=2)
    if name not in ("fgsm", "square", "cw"):
        spec = AttackSpec(name, RADII[norm], norm=norm, steps=steps, targets=2, restarts=2)
    seen.waits.clear()
    seen.uploads.clear()
    run(spec, logits, x, y)
    blocking = sum(n for (what, _), n in seen.uploads.items() if "blocking" in what)
    return seen.waits.total(), blocking


@pytest.mark.parametrize("name, norm, runs", CASES)
def test_an_attack_waits_once_a_run_and_once_for_the_clean_answers(gpu, name, norm, runs):
    few, more = (looks_and_copies(gpu, name, norm, steps) for steps in (3, 5))
    assert few[0] == more[0] == 1 + runs, dict(gpu[0].waits)
    assert few[1] == more[1] <= 2 * runs, dict(gpu[0].uploads)
