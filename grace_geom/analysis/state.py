"""The state of long work on disk: written now and then and on Ctrl-C, read when the same call comes again."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from grace_geom.analysis.run import say
from grace_geom.errors import Interrupted
from grace_geom.files import atomic_write
from grace_geom.geometry.lanczos import Krylov

EVERY = 120.0
"""Seconds between saves."""


class State:
    """A Lanczos basis and the rows that finished probes gave.

    Args:
        krylov: The basis; it is filled from the file where there is one.
        products: How many products this run has spent so far.

    Attributes:
        earlier: Products of the interrupted runs before this one.
    """

    def __init__(self, krylov: Krylov, products: Callable[[], int]) -> None:
        self.krylov, self.products, self.earlier = krylov, products, 0
        self._rows: dict[str, list[Tensor]] = {}
        self._path: Path | None = None
        self._last = time.monotonic()

    def rows(self, name: str) -> list[Tensor]:
        """What the finished probes of one estimate gave; the estimate appends to it."""
        return self._rows.setdefault(name, [])

    def load(self, path: Path) -> None:
        """Go on from ``path`` if it is there, and save there from now on."""
        self._path = path
        if path.is_file():
            found = torch.load(path, weights_only=True, map_location=self.krylov.device)
            self.krylov.load_state_dict(found["krylov"])
            self._rows = {name: [row.cpu() for row in rows] for name, rows in found["rows"].items()}
            self.earlier = found["products"]
            say(f"  going on after {self.earlier} products of an interrupted run")

    def save(self) -> None:
        """Write everything, whole or not at all."""
        assert self._path is not None, "load() says where"
        spent = self.earlier + self.products()
        with atomic_write(self._path) as file:
            torch.save({"krylov": self.krylov.state_dict(), "rows": self._rows, "products": spent}, file)

    def keep_now_and_then(self) -> None:
        """Save if the last time is long ago."""
        if time.monotonic() - self._last > EVERY:
            self.save()
            self._last = time.monotonic()


@contextlib.contextmanager
def interruptible(state: State, path: Path) -> Iterator[State]:
    """The state, filled from ``path`` where an interrupted run left it.

    Raises:
        Interrupted: On Ctrl-C, after the state was saved.
    """
    state.load(path)
    try:
        yield state
    except KeyboardInterrupt:
        state.save()
        raise Interrupted(
            f"{state.earlier + state.products()} products are kept in {path}; the same command goes on from there"
        ) from None
