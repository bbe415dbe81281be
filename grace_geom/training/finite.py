"""Whether the numbers of a training were finite, without waiting for the device each step."""

import math

import torch
from torch import Tensor

from grace_geom import distributed
from grace_geom.errors import UserError


class FiniteWatch:
    """Remembers the first step at which each number was not finite, without waiting for the
    device."""

    def __init__(self, device: torch.device) -> None:
        self.waits = (
            device.type == "cpu"
        )  # there, looking costs nothing: stop before the weights are spoilt
        self.first: dict[str, Tensor] = {}

    def see(self, values: dict[str, Tensor], step: int, strict: bool = False) -> None:
        """Look at the numbers of one step."""
        for name, value in values.items():
            bad = torch.where(value.detach().isfinite(), math.inf, float(step))
            self.first[name] = torch.minimum(self.first[name], bad) if name in self.first else bad
        if self.waits or strict:
            self.check()

    def check(self) -> None:
        """Raise if anything was not finite.

        All processes call it at the same step: what they wait for may be each other.

        Raises:
            UserError: Naming the step and the terms that were the first.
            PeerLost: If another process is gone.
        """
        distributed.heard_of_all()
        if not self.first:
            return
        steps = dict(zip(self.first, torch.stack(list(self.first.values())).tolist(), strict=True))
        first = min(steps.values())
        if first < math.inf:
            terms = [name for name, step in steps.items() if step == first]
            blamed = [name for name in terms if name != "grad_norm"] or ["the gradient"]
            raise UserError(
                f"step {first:.0f}: {', '.join(blamed)} is not a finite number; lower --lr or "
                "--clip-norm, lengthen --warmup, or use --precision float32"
            )
