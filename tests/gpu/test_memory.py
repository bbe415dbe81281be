"""What a step takes on a card, against the estimate that ``--micro-batch auto`` goes by."""

import gc

import pytest
import torch

from grace_geom.batch import Batch
from grace_geom.methods import METHODS, Run
from grace_geom.models import ModelSpec, build
from grace_geom.training import Plan, Trainer
from grace_geom.training.memory import measure

IMAGES = 16
SETTINGS = {"grace": {"attack_steps": 2}, "at": {"attack_steps": 2}}


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", ["ft", "lora", "at", "grace"])
def test_the_estimate_covers_a_step_and_is_not_twice_too_large(
    card: bool, name: str, precision: str
):
    if not card:
        pytest.skip("a pretended card has no memory")
    gc.collect()  # what tests before left in cycles would count as this step's
    spec = ModelSpec("ViT-B-32", "random", 0)
    model = build(spec, ("a", "b"), ("a photo of a {}",)).to("cuda")
    method = METHODS[name](**SETTINGS.get(name, {}))
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    batch = Batch(
        torch.rand(IMAGES, 3, 224, 224, device="cuda"),
        torch.zeros(IMAGES, dtype=torch.int64, device="cuda"),
        torch.arange(IMAGES, device="cuda"),
    )
    run = Run(
        model, params, torch.Generator("cuda").manual_seed(1), 10, state,
        images=lambda part: [batch],
    )  # fmt: skip
    trainer = Trainer(method, run, Plan(10, 5, precision=precision))  # type: ignore[arg-type]
    estimate = measure(trainer, 224).of(IMAGES)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        trainer.step(batch)
    peak = torch.cuda.max_memory_allocated()
    assert peak <= estimate <= 2 * peak, f"{peak / 2**30:.2f} GiB, estimate {estimate / 2**30:.2f}"
