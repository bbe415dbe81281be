"""How an attack looks at its own numbers: who still stands, whether a search has ended.

On a CPU a look is free. On a GPU it makes the host wait until the device has done everything it was
given, and the device then waits for the host. So there an attack looks at numbers of some steps
ago, which the device has long finished; it makes a few passes more than it must, and never runs
dry.
"""

from collections import deque
from typing import Protocol

import torch
from jaxtyping import Bool, Int
from torch import Tensor

LAG = 2
"""Looks between asking for a number and reading it on a GPU: steps of work in its queue."""
WORTH = 7 / 8
"""On a GPU a batch is cut to those that still stand once they are at most this share of it."""


class Looks(Protocol):
    """The looks of one loop, made by :func:`looks_on`; the same loop always asks the same."""

    @property
    def free(self) -> bool:
        """Whether a number may be read at once."""
        ...

    def keep(self, standing: Bool[Tensor, " r"]) -> Int[Tensor, " s"] | None:
        """Positions of all that stand, and perhaps of others; ``None``: go on with all of them.

        Whoever does not stand at one call must not stand at a later one.
        """
        ...

    def over(self, done: Bool[Tensor, ""]) -> bool:
        """Whether the search has ended; going on after it has must change nothing that counts."""
        ...


class AtOnce:
    """On a CPU."""

    free = True

    def keep(self, standing: Bool[Tensor, " r"]) -> Int[Tensor, " s"] | None:
        """Exactly those that stand."""
        return None if bool(standing.all()) else standing.nonzero()[:, 0]

    def over(self, done: Bool[Tensor, ""]) -> bool:
        """Whether it has ended by now."""
        return bool(done)


class Later:
    """On a GPU: what was true ``LAG`` calls ago.

    That many call for call, not what happens to have arrived: the same run cuts its batches at the
    same steps and gets the same digits.
    """

    free = False

    def __init__(self) -> None:
        self._asked: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()

    def keep(self, standing: Bool[Tensor, " r"]) -> Int[Tensor, " s"] | None:
        """Those that stand first, and behind them as many others as have fallen since the count."""
        count = self._read(standing.sum())
        if count is None or count > WORTH * len(standing):
            return None
        return standing.to(torch.uint8).argsort(descending=True, stable=True)[: int(count)]

    def over(self, done: Bool[Tensor, ""]) -> bool:
        """Whether it had ended then."""
        return bool(self._read(done))

    def _read(self, value: Tensor) -> float | None:
        """The value of ``LAG`` calls ago; ``None`` before there is one."""
        self._asked.append(_on_its_way(value))
        if len(self._asked) <= LAG:
            return None
        there, arrived = self._asked.popleft()
        if arrived is not None:
            arrived.synchronize()
        return float(there)


LOOKS: dict[str, type[AtOnce] | type[Later]] = {"cpu": AtOnce, "cuda": Later}
"""By type of device."""


def looks_on(device: torch.device) -> Looks:
    """The looks of one loop over tensors on this device."""
    return LOOKS.get(device.type, AtOnce)()


def _on_its_way(value: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A number on the host, and the event after which it is there."""
    if not value.is_cuda:
        return value, None
    there = torch.empty((), dtype=value.dtype).pin_memory()
    there.copy_(value, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return there, arrived
