"""PyHessian 0.1 (Yao et al. 2020) on the same loss, for a second opinion on eigenvalues and trace.

What has to be worked around on current torch: ``density`` calls ``torch.eig``, which is gone (not
offered here); its trace stops early on negative curvature, because the change is divided by a
signed trace (the tolerance is set so that it never stops); a second construction adds to the same
``.grad`` (it gets fresh parameters each time).
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pyhessian import hessian
from torch import Tensor, nn

from grace_geom.geometry.operators import twice_differentiable
from grace_geom.geometry.trace import StochasticEstimate, mean_of
from grace_geom.weights import Weights


class _AsModule(nn.Module):
    """A function of weights as the module that PyHessian wants; the parameters are its own
    copies."""

    def __init__(self, outputs: Callable[[Weights, Any], Tensor], weights: Weights) -> None:
        super().__init__()
        self.outputs, self.names = outputs, list(weights)
        self.values = nn.ParameterList([w.detach().clone() for w in weights.values()])

    def forward(self, batch: Any) -> Tensor:
        return self.outputs(dict(zip(self.names, self.values, strict=True)), batch)


class _Inputs:
    """A batch that answers what PyHessian asks of a tensor: ``size(0)`` and ``to``."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def size(self, axis: int) -> int:
        return len(self.batch)

    def to(self, device: object) -> Any:
        return self.batch


class PyHessian:
    """Eigenvalues and trace of the Hessian by PyHessian.

    Args:
        outputs: ``(weights, batch) -> z``.
        criterion: ``(z, batch) -> mean loss``.
        weights: The point.
        batches: The sample.
    """

    def __init__(
        self,
        outputs: Callable[[Weights, Any], Tensor],
        criterion: Callable[[Tensor, Any], Tensor],
        weights: Weights,
        batches: Sequence[Any],
    ) -> None:
        device = next(iter(weights.values())).device
        self.gpus = [device] if device.type == "cuda" else []
        loader = [(_Inputs(batch), _Inputs(batch)) for batch in batches]
        self.peer = hessian(
            _AsModule(outputs, weights), criterion, dataloader=loader, cuda=bool(self.gpus)
        )

    def eigenvalues(
        self, top: int = 5, seed: int = 0, rtol: float = 1e-3, iterations: int = 100
    ) -> list[float]:
        """The ``top`` eigenvalues of largest *magnitude*, by power iteration; signs are kept."""
        with _seeded(seed, self.gpus), twice_differentiable():
            return [float(v) for v in self.peer.eigenvalues(iterations, rtol, top)[0]]

    def trace(self, probes: int = 30, seed: int = 0) -> StochasticEstimate:
        """Hutchinson's trace with all ``probes`` samples."""
        with _seeded(seed, self.gpus), twice_differentiable():
            samples = self.peer.trace(probes, float("-inf"))
        return mean_of(
            np.asarray(samples).tolist(), f"PyHessian, {probes} Rademacher probes", probes
        )


@contextlib.contextmanager
def _seeded(seed: int, gpus: Sequence[torch.device]):  # type: ignore[no-untyped-def]
    """PyHessian draws from the global generator, whose state is put back; its advice on reference
    cycles is moot. Other GPUs are not asked for theirs, which would take memory there.
    """
    import warnings

    with torch.random.fork_rng(gpus), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
        torch.manual_seed(seed)
        yield
