"""FTP (Tian et al. 2023, NeurIPS, "Fast Trainable Projection"): TPGM's radii learned inside of the
optimiser.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from grace_geom.fields import bounded
from grace_geom.methods.ft import Ft
from grace_geom.methods.radius import SMALLEST, deviation, inside
from grace_geom.weights import Weights

BETAS = (0.9, 0.999)


@dataclass
class Ftp(Ft):
    """After each step to ``p - d``: ``c = (p - d) - p0``, then ``p <- p0 + clip_01(gamma / n) c``,
    n row-wise L1.

    gamma of each tensor starts at 1e-8 and follows Adam (rate mu) on
    ``sum_rows <grad, c_prev> / n_prev``, times k where that is positive (the radius shrinks),
    within ``[1e-8, max n]``. Gradient and c_prev are those that training has anyway: no held-out
    data, no further pass.

    Where we differ from the public code: its buffers are lost when a run is resumed, ours are in
    the optimiser's state; its Adam corrects its first moments as if they had seen one gradient more
    (count from 2), ours as Adam does. As there, weight decay is 0 and the head is free, though here
    the head starts at s T, not at random.

    Attributes:
        mu: Learning rate of the projection radii; also roughly the most a radius grows per step.
        k: Factor on positive gradients of the radii, in [0, 1]; 0: radii never shrink.
        project_head: Also project the classification head.
    """

    name: ClassVar[str] = "ftp"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027}}

    weight_decay: float = 0.0
    mu: float = bounded(1e-2, least=0)
    k: float = bounded(1.0, least=0, most=1)
    project_head: bool = False

    @property
    def follows_steps(self) -> bool:
        """The projection does."""
        return True

    def make_optimizer(self, params: Weights) -> torch.optim.Optimizer:
        """The usual optimizer; a hook projects the bound tensors after each of its steps."""
        optimizer = super().make_optimizer(params)
        bound = {n: p for n, p in params.items() if self.project_head or not n.startswith("head.")}
        anchors = [(p, p.detach().clone()) for p in bound.values()]

        def project(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            for p, p0 in anchors:
                if p.grad is not None:
                    self.project(p, p0, optimizer.state[p])

        optimizer.register_step_post_hook(project)
        return optimizer

    @torch.no_grad()
    def project(self, p: Tensor, p0: Tensor, state: dict[str, Any]) -> None:
        """Learn the radius of one tensor from its last step, then bring it, a step on, into that
        radius.
        """
        c = p - p0
        norms = deviation(c, "mars")
        if "gamma" not in state:
            zero = torch.zeros((), dtype=p.dtype, device=p.device)
            state |= {
                "gamma": zero + SMALLEST,
                "gamma_m": zero.clone(),
                "gamma_v": zero.clone(),
                "gamma_updates": zero,
            }
        else:
            before = state["previous"]
            slopes = p.grad * before / (deviation(before, "mars") + SMALLEST)  # type: ignore[operator]
            grad = slopes.sum()
            self._adam(state, torch.where(grad > 0, self.k * grad, grad))
            state["gamma"] = (
                state["gamma"].clamp_min(SMALLEST).minimum(norms.max().clamp_min(SMALLEST))
            )
        p.copy_(p0 + inside(c, state["gamma"], norms))
        state["previous"] = c

    def _adam(self, state: dict[str, Any], grad: Tensor) -> None:
        t = state["gamma_updates"] = state["gamma_updates"] + 1
        m = state["gamma_m"] = torch.lerp(grad, state["gamma_m"], BETAS[0])
        v = state["gamma_v"] = torch.lerp(grad.square(), state["gamma_v"], BETAS[1])
        m, v = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        state["gamma"] = state["gamma"] - self.mu * m / (v.sqrt() + 1e-8)
