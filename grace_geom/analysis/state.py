"""The state of long work on disk: written now and then and on Ctrl-C, read when the same call comes again."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from grace_geom.analysis.run import say
from grace_geom.errors import Interrupted
from grace_geom.files import atomic_write
from grace_geom.geometry.lanczos import Krylov

EVERY = 120.0
"""Seconds between saves."""


@contextlib.contextmanager
def interruptible(krylov: Krylov, path: Path) -> Iterator[Callable[[], None]]:
    """Go on from ``path`` if it is there; yields a function to be called after each product.

    Raises:
        Interrupted: On Ctrl-C, after the basis was saved.
    """
    if path.is_file():
        krylov.load_state_dict(torch.load(path, weights_only=True, map_location=krylov.device))
        say(f"  going on after {krylov.products} products of an interrupted run")
    last = time.monotonic()

    def keep() -> None:
        nonlocal last
        if time.monotonic() - last > EVERY:
            _save(krylov, path)
            last = time.monotonic()

    try:
        yield keep
    except KeyboardInterrupt:
        _save(krylov, path)
        raise Interrupted(
            f"{krylov.products} products are kept in {path}; the same command goes on from there"
        ) from None


def _save(krylov: Krylov, path: Path) -> None:
    with atomic_write(path) as file:
        torch.save(krylov.state_dict(), file)
