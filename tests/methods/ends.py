"""What two methods leave behind after the same few steps."""

import torch

from grace_geom.methods import Method
from grace_geom.weights import Weights
from tests.toys import toy_batch, toy_run, train


def left_by(method: Method, steps: int = 4) -> Weights:
    """The weights that a method leaves after a few steps on toy batches."""
    run = toy_run(method, steps=steps)
    train(method, run, [toy_batch(seed=s) for s in range(steps)])
    return method.finish(run)


def same_bits(a: Weights, b: Weights) -> bool:
    """Whether two dictionaries of weights agree in every name and bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
