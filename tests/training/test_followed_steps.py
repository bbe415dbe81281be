"""What follows a step of the optimiser does not follow one that fp16 leaves out."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from grace_geom.methods import METHODS
from grace_geom.training import Plan, Trainer
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch, toy_clip, toy_run


@pytest.mark.parametrize(
    "name, settings", [("ftp", {}), ("spd", {}), ("lora-spd", {}), ("grace", {"spd": 1.0})]
)
def test_a_step_that_overflowed_changes_nothing(name, settings):
    with pretended_gpu():
        method = METHODS[name](lr=1e-2, **settings)
        model = toy_clip().to("cuda")
        model.autocast_dtype = torch.float16
        run = toy_run(method, model)
        run.generator = torch.Generator("cuda").manual_seed(0)
        t = Trainer(method, run, Plan(10, 10, precision="fp16"))
        batches = [toy_batch(8, seed).to("cuda") for seed in range(3)]
        for batch, scale in zip(batches, (1.0, 1.0, 2.0**120), strict=True):
            before = {n: w.detach().clone() for n, w in run.params.items()}
            t.scaler.load_state_dict(t.scaler.state_dict() | {"scale": scale})
            t.step(batch)
        assert t.skipped == 1
        for n, w in run.params.items():
            assert torch.equal(w, before[n]), n
        kept = tree_leaves(t.optimizer.state_dict()["state"])
        assert all(bool(x.isfinite().all()) for x in kept if isinstance(x, torch.Tensor))
