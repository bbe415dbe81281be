"""A training step on a GPU: what is measured before it lies where the step needs it."""

import pytest
import torch

from grace_geom.methods import METHODS
from grace_geom.training import Plan, Trainer
from grace_geom.training.memory import measure
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch, toy_clip, toy_run


@pytest.mark.parametrize("method", ["at", "awp", "grace"])
def test_a_step_whose_attack_stops_early_is_measured_on_the_gpu(method: str) -> None:
    with pretended_gpu() as seen:
        settings = {"attack_steps": 2, "attack_stop": 1.0} | ({"r": 2} if method == "grace" else {})
        made = METHODS[method](**settings)
        run = toy_run(made, toy_clip().to("cuda"))
        run.generator = torch.Generator("cuda").manual_seed(0)
        trainer = Trainer(made, run, Plan(10, 5))
        assert measure(trainer, 16).image > 0
        trainer.step(toy_batch(8).to("cuda"))
        assert not seen.mixed
