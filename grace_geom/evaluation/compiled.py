"""``--compile`` of evaluations: what an attack asks of the model goes through ``torch.compile``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from grace_geom.attacks.tracker import Logits
from grace_geom.distributed import first
from grace_geom.errors import NotFiniteError
from grace_geom.terminal import say

T = TypeVar("T")
Mode = Literal["off", "attack"]


def compiler(logits_fn: Logits) -> Logits:
    """The whole graph at any number of images, or an error: else what cannot be compiled would be
    left out without a word.
    """
    return torch.compile(logits_fn, fullgraph=True, dynamic=True)


def refusals() -> tuple[type[Exception], ...]:
    """What compilers raise. Too many graphs of one function, as of many data sets, is no
    ``RuntimeError``.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit

    return (RuntimeError, FailOnRecompileLimitHit)


def tell(reason: str) -> None:
    """Say that attacks are computed the usual way, and why."""
    if first():
        say(f"warning: --compile attack: going on without: {reason}")


@dataclass
class Compiled:
    """How an attack's forward and backward passes are computed. What cannot be compiled is told
    and left.

    The number of images is a variable of what is compiled, for images that an attack has fooled
    leave its batch; CUDA graphs, whose shapes are fixed, are therefore no choice here. Clean
    accuracies, and what is said of the images that were found, are never compiled.

    Attributes:
        mode: ``off`` or ``attack``; ``off`` after it failed.
        tell: Told why it was given up.
        compiler: From logits to compiled ones.
        used: Batches that were attacked so.
    """

    mode: Mode = "off"
    tell: Callable[[str], None] = tell
    compiler: Callable[[Logits], Logits] = compiler
    used: int = 0

    def attack(self, logits_fn: Logits, work: Callable[[Logits], T]) -> T:
        """``work`` with compiled logits or, where they fail, again from its beginning with the
        usual ones: an attack's random numbers are its images' own, so nothing is lost but time.

        Args:
            logits_fn: ``x (b, ...) -> logits (b, K)``.
            work: The attack of one batch, given the logits.

        Raises:
            torch.OutOfMemoryError: As it comes, and so does every error of the attack itself.
        """
        if self.mode == "off":
            return work(logits_fn)

        def logits(x: Tensor) -> Tensor:
            return logits_fn(x)

        try:
            found = work(self.compiler(logits))
        except (torch.OutOfMemoryError, NotFiniteError):
            raise
        except refusals() as error:  # in backward passes too
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            self._give_up(f"torch.compile failed: {first_line[:200]}")
            return work(logits_fn)
        self.used += 1
        return found

    def end(self) -> None:
        """Say that there was nothing to compile, if that was asked for."""
        if self.mode != "off" and not self.used:
            self._give_up("nothing was attacked (no suite adv, or measured before)")

    def _give_up(self, reason: str) -> None:
        self.mode = "off"
        self.tell(reason)
