"""How often a step of training, and what the loop does beside it, has the host wait for a GPU."""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from grace_geom.methods import METHODS, Run
from grace_geom.models import ClipClassifier
from grace_geom.training import Plan, Trainer
from grace_geom.training.average import Average
from grace_geom.training.fit import fit
from grace_geom.weights import Weights
from tests.pretended_gpu import Seen, pretended_gpu
from tests.toys import toy_batch, toy_clip, toy_images

STEPS = 100
PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text()


def told(row: str) -> int:
    """The number of waits that docs/scale.md tells in the row that begins so."""
    (found,) = re.findall(rf"^\| {re.escape(row)}.* \| (\d+) \|$", PAGE, re.MULTILINE)
    return int(found)


@cache
def toy() -> ClipClassifier:
    return toy_clip()


@pytest.fixture
def gpu() -> Iterator[Seen]:
    toy()  # made on the CPU, once
    with pretended_gpu() as seen:
        yield seen


def trainer_on_gpu(
    name: str, precision: str = "float32", log_every: int = 10, micro_batch=None, **settings
):
    model = copy.deepcopy(toy()).to("cuda")
    method = METHODS[name](lr=1e-2, **settings)
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    generator = torch.Generator("cuda").manual_seed(1)
    run = Run(model, params, generator, STEPS, state, images=toy_images)
    plan = Plan(STEPS, STEPS, clip_norm=0.5, precision=precision, log_every=log_every)
    plan = replace(plan, micro_batch=micro_batch)
    return Trainer(method, run, plan)


def waits_of_a_step(
    seen: Seen, name: str, precision: str = "float32", images: int = 8, **settings
) -> int:
    """Of the second step, copies to the GPU that wait included; the first has more to do once."""
    trainer = trainer_on_gpu(name, precision, **settings)
    first, second = (toy_batch(images, seed).to("cuda") for seed in (0, 1))
    trainer.step(first)
    seen.waits.clear()
    seen.uploads.clear()
    trainer.step(second)
    return seen.waits.total() + sum(n for (w, _), n in seen.uploads.items() if "blocking" in w)


@pytest.mark.parametrize("name", ["ft", "lora", "sam"])
def test_a_step_without_an_attack_waits_for_nothing(gpu, name: str):
    assert waits_of_a_step(gpu, name) == told("a step without an attack"), gpu.lines()


ATTACKED = {
    "at": {}, "awp": {}, "trades": {}, "tecoa": {}, "grace": {},
    "at, images leave early": {"attack_stop": 0.5},
    "grace, images leave early": {"attack_stop": 0.5},
    "grace, gradient reused": {"awp_reuse": True},
    "grace, spread": {"gv_form": "spread"}, "grace, sketch": {"awp_direction": "sketch"},
    "pmg-aft": {}, "pmg-aft, plain cosines": {"logit_scale": "none", "kl_reduction": "sum"},
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKED)
def test_a_step_with_an_attack_looks_once_at_its_end(gpu, name: str):
    settings = {"attack_steps": 4, **ATTACKED[name]}
    waits = waits_of_a_step(gpu, name.split(",")[0], **settings)
    assert waits == told("a step with an attack"), gpu.lines()


CUT = {"micro-batches": ("at", 4, {}), "groups": ("grace", None, {"awp_m": 4})}
"""Settings in which a step of 12 images is attacked in three parts."""


@pytest.mark.parametrize("name, micro_batch, settings", CUT.values(), ids=CUT)
def test_a_step_that_is_cut_looks_once_a_part(gpu, name: str, micro_batch, settings):
    waits = waits_of_a_step(gpu, name, images=12, micro_batch=micro_batch, **settings)
    assert waits == 3 * told("a step with an attack"), gpu.lines()


def test_attacked_captions_wait_for_both(gpu):
    row = told("a step of `adv-flyp`")
    assert waits_of_a_step(gpu, "adv-flyp", attack_steps=2) == row, gpu.lines()
    waits = waits_of_a_step(gpu, "adv-flyp", images=12, micro_batch=4, attack_steps=2)
    assert waits == row, "the contrast is of the whole step, and so is its attack"


def test_the_number_of_attack_steps_does_not_matter(gpu):
    counts = [waits_of_a_step(gpu, "at", attack_steps=n) for n in (1, 7)]
    assert counts == [1, 1]


def test_fp16_asks_the_device_whether_a_gradient_overflowed(gpu):
    more = told("a step in fp16 with `--optimizer sgd`, also")
    assert waits_of_a_step(gpu, "ft", "fp16", optimizer="sgd") == more, gpu.lines()
    assert waits_of_a_step(gpu, "ft", "fp16") == 0, gpu.lines()


def test_sentences_are_drawn_for_labels_that_the_host_must_know(gpu):
    """And their tokens go back to the device."""
    assert waits_of_a_step(gpu, "flyp") == told("a step of `flyp`"), gpu.lines()


class Nobody:
    """A recorder that keeps nothing."""

    def step(self, images: int) -> None: ...

    def log(self, record: dict[str, float]) -> None: ...

    def evaluate(self, weights: Weights) -> dict[str, float]:
        return {}

    def save(self, trainer: Trainer, weights: Weights) -> None: ...


def waits_of_a_loop(seen: Seen, steps: int, ema: float | None = None, **settings) -> int:
    trainer = trainer_on_gpu(**settings)
    trainer.average = Average(trainer.run.params, ema) if ema else None
    trainer.plan = replace(trainer.plan, total_steps=steps, steps_per_epoch=steps)
    seen.waits.clear()
    fit(trainer, lambda epoch, skip: [toy_batch(8, s) for s in range(steps)], Nobody())
    return seen.waits.total()


def test_the_loop_waits_for_its_records_alone(gpu):
    """The numbers, and whether all of them were finite: two looks, one after the other."""
    seldom = waits_of_a_loop(gpu, 6, name="ft", log_every=6)
    assert seldom == told("a record of the log"), gpu.lines()
    assert waits_of_a_loop(gpu, 6, name="ft", log_every=2) == 3 * seldom
    assert waits_of_a_loop(gpu, 6, name="ft", log_every=6, ema=0.9) == seldom


def test_a_refresh_of_the_curvature_looks_once(gpu):
    settings = {"name": "grace", "attack_steps": 1, "log_every": 4}
    once = waits_of_a_loop(gpu, 4, **settings, refresh_every=10**6)
    refresh = told("a refresh of the curvature")
    assert once == 4 + told("a record of the log") + refresh, "an attack a step, one refresh"
    assert waits_of_a_loop(gpu, 4, **settings, refresh_every=1) == once + 3 * refresh
