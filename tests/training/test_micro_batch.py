"""How a step is cut is a matter of memory: ``--micro-batch`` changes no method's result."""

import pytest
import torch

from grace_geom.checkpoint import Checkpoint, load_checkpoint
from grace_geom.methods import METHODS
from tests.small_run import small_run


def left_behind(folder, name: str, micro_batch: int | None) -> Checkpoint:
    plan = {"max_steps": 2, "epochs": None, "eval_every": 0, "micro_batch": micro_batch}
    if METHODS[name].trains:  # SGD: Adam would blow a rounding of a small gradient up to a step
        plan |= {"optimizer": "sgd", "lr": 0.1}
    if name == "trades":
        # Near the image its two answers are nearly the same, and the gradient of their divergence
        # cancels: its median is 1e-5 and its rounding 4e-8, so other sums may turn a pixel's sign
        # (one of 6,144, |g| = 1e-9, moved a weight by 3e-6). From anywhere in [0, 1] it is as large
        # as a cross-entropy's. test_contract.py holds gradients under every method's own attack to
        # 1e-10, in float64.
        plan |= {"eps": 1.0}
    out = str(folder / f"{name}-{micro_batch}")
    return load_checkpoint(small_run(folder, name, out=out, **plan))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_in_pieces_leaves_the_weights_of_a_whole_one(name, tmp_path):
    whole = left_behind(tmp_path, name, None)
    tensors = whole.state_dict | whole.text_head | whole.adapter
    for size in (3, 1):
        cut = left_behind(tmp_path, name, size)
        found = cut.state_dict | cut.text_head | cut.adapter
        assert found.keys() == tensors.keys()
        apart = {
            key: (found[key] - w).abs().max().item()
            for key, w in tensors.items()
            if not torch.allclose(found[key], w, rtol=1e-4, atol=2e-6)
        }
        assert not apart, f"--micro-batch {size} moves these weights"
