"""An exponential moving average of what trains (Polyak and Juditsky 1992; Tarvainen and Valpola
2017).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from grace_geom.methods import Run
from grace_geom.weights import Weights


class Average:
    """``a <- d_t a + (1 - d_t) w`` after each optimiser step, ``a = w`` after the first.

    ``d_t = min(decay, (1 + t) / (10 + t))`` after step t, as TensorFlow's averages have it: a short
    run is not held at its start. It is the leaves that are averaged: of low-rank factors A and B,
    whose merged product is then that of two averages, not the average of products.

    Args:
        params: The leaves, by name.
        decay: In (0, 1).
    """

    def __init__(self, params: Weights, decay: float) -> None:
        self.decay = decay
        self.values: Weights = {name: w.detach().clone() for name, w in params.items()}

    @torch.no_grad()
    def update(self, params: Weights, step: int) -> None:
        """Take in the leaves after optimiser step number ``step``, from 1 on."""
        d = min(self.decay, (1 + step) / (10 + step)) if step > 1 else 0.0
        for name, w in params.items():
            self.values[name].lerp_(w.detach(), 1 - d)

    @contextmanager
    def in_place(self, run: Run) -> Iterator[None]:
        """The run, with the average in the place of its leaves."""
        own = run.params
        run.params = self.values
        try:
            yield
        finally:
            run.params = own
