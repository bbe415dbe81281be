"""A training step on a GPU: what is measured before it lies where the step needs it."""

from pathlib import Path

import pytest
import torch

from grace_geom.cli import RECORD
from grace_geom.methods import METHODS
from grace_geom.serialise import read_yaml
from grace_geom.training import Plan, Trainer
from grace_geom.training.memory import measure
from tests.pretended_gpu import pretended_gpu
from tests.small_run import lines, small_run
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


def test_a_deterministic_run_is_recorded_as_one_and_counts_no_operator_of_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At another image size, where gradients of the attack go through an interpolation."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is before a GPU is in use
    plan = {"epochs": None, "max_steps": 2, "workers": 0, "image_size": 20, "device": "cuda"}
    with pretended_gpu() as seen:
        small_run(tmp_path, "at", out=str(tmp_path / "usual"), **plan)
        assert seen.nondeterministic
        seen.nondeterministic.clear()
        out = small_run(tmp_path, "at", deterministic=True, **plan)
        assert not seen.nondeterministic and not seen.mixed
    assert read_yaml(out / "config.yaml")[RECORD]["deterministic"] is True
    assert "deterministic" not in read_yaml(tmp_path / "usual" / "config.yaml")[RECORD]
    losses = [
        [r["loss"] for r in lines(at / "metrics.jsonl") if "loss" in r]
        for at in (out, tmp_path / "usual")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
