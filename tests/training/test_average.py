"""The average along a run: its formula, and that what is kept is the average."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from grace_geom.checkpoint import load_checkpoint
from grace_geom.checkpoint.line import line_of
from grace_geom.errors import Interrupted, UserError
from grace_geom.methods import METHODS
from grace_geom.methods.lora import factors
from grace_geom.models import build
from grace_geom.training import Plan, Trainer
from tests.small_run import small_config, small_run
from tests.toys import toy_batch, toy_run

PLAN = Plan(total_steps=6, steps_per_epoch=6)


def trained(name: str, ema: float, steps: int = 6) -> tuple[Trainer, list[dict]]:
    """A trainer after some steps, and the leaves after each of them."""
    method = METHODS[name](lr=1e-2)
    trainer = Trainer(method, toy_run(method, steps=6), replace(PLAN, ema=ema))
    seen = []
    for seed in range(steps):
        trainer.step(toy_batch(8, seed))
        seen.append({n: w.detach().double().clone() for n, w in trainer.run.params.items()})
    return trainer, seen


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_it_is_the_weighted_sum_of_the_leaves_after_each_step(decay):
    trainer, seen = trained("ft", decay)
    left = trainer.finished()
    for name in trainer.run.params:
        a = seen[0][name]
        for t, leaves in enumerate(seen[1:], start=2):
            d = min(decay, (1 + t) / (10 + t))  # 0.25, 0.31, 0.36 ...: the bound of short runs
            a = d * a + (1 - d) * leaves[name]
        assert_close(left[name].double(), a, rtol=1e-5, atol=1e-7)
        assert torch.equal(trainer.run.params[name].double(), seen[-1][name]), "training goes on"
    assert any(not torch.equal(left[n].double(), seen[-1][n]) for n in left)


def test_it_changes_nothing_of_the_training_and_none_is_none():
    (with_one, a), (without, b) = trained("ft", 0.9), trained("ft", 0.0)
    assert all(torch.equal(x[n], y[n]) for x, y in zip(a, b, strict=True) for n in x)
    assert "average" in with_one.state() and "average" not in without.state()
    assert torch.equal(without.finished()["visual.proj"].double(), b[-1]["visual.proj"])


def test_factors_in_the_checkpoint_are_those_of_its_merged_weights(tmp_path):
    out = small_run(tmp_path, "lora", ema=0.9)
    checkpoint = load_checkpoint(out / "ckpt.pt")
    base = build(small_config(tmp_path, "lora").spec, ("a",), ("{}",)).weights()
    found = factors(checkpoint.adapter)
    for name, B, A in found:
        assert_close(checkpoint.state_dict[name], base[name] + 2 * B @ A, rtol=1e-5, atol=1e-6)
    raw = checkpoint.trainer["params"]
    assert any(not torch.equal(raw[f"{name}.B"], B) for name, B, _ in found)


@pytest.mark.parametrize("name", ["grace", "wise-ft"])
def test_a_stopped_run_continues_bit_for_bit(name, tmp_path):
    settings = {"ema": 0.9, "epochs": 1}
    whole = small_run(tmp_path, name, out=str(tmp_path / "whole"), **settings)
    halves = {"out": str(tmp_path / "halves"), **settings}
    with pytest.raises(Interrupted):
        small_run(tmp_path, name, **halves, stop_after=3)
    small_run(tmp_path, name, **halves, resume=True)
    assert (whole / "ckpt.pt").read_bytes() == (tmp_path / "halves" / "ckpt.pt").read_bytes()
    if name == "wise-ft":  # its line ends in the fine-tuned average, not halfway to it
        checkpoint = load_checkpoint(whole / "ckpt.pt")
        end, kept = line_of(checkpoint).end["visual.proj"], checkpoint.state_dict["visual.proj"]
        base = line_of(checkpoint).base["visual.proj"]
        assert_close(base + (end - base) / 2, kept, rtol=1e-5, atol=1e-7)


def test_a_damaged_average_is_told_by_its_key():
    trainer, _ = trained("ft", 0.9, steps=2)
    state = trainer.state()
    fresh, _ = trained("ft", 0.9, steps=0)
    state["average"] = dict(state["average"], **{"visual.proj": torch.full((16, 16), torch.nan)})
    with pytest.raises(UserError, match=r"trainer\.average\.visual\.proj: is not finite"):
        fresh.restore(state)
    del state["average"]
    with pytest.raises(UserError, match=r"trainer\.average: is missing"):
        fresh.restore(state)


def test_a_decay_of_one_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--ema is 1"):
        small_config(tmp_path, "ft", ema=1.0)
