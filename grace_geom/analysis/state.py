"""The state of long work on disk: written now and then and on Ctrl-C, read when the same call comes
again.
"""

import contextlib
import hashlib
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grace_geom.analysis.run import say
from grace_geom.distributed import PeerLost, everyones, first, past_lost_sum
from grace_geom.errors import Interrupted, UserError
from grace_geom.files import atomic_write
from grace_geom.geometry.krylov import Krylov

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
        """Go on from ``path`` if it is there, and save there from now on.

        Raises:
            UserError: If some processes of the job see the file and others do not.
        """
        self._path = path
        there = everyones(path.is_file())
        if any(there) and not all(there):
            raise UserError(
                f"{path} is there for process {there.index(True)} and not for process "
                f"{there.index(False)}: --out must lie on a disk that all machines of the job share"
            )
        if not all(there):
            return
        found = _read(path)
        if found is not None and _fits(found, self.krylov):
            self.krylov.load_state_dict(found["krylov"])
            self._rows = {name: [row.cpu() for row in rows] for name, rows in found["rows"].items()}
            self.earlier = found["products"]
            say(f"  going on after {self.earlier} products of an interrupted run")
        else:
            say(f"  {path} is damaged, or of another version: everything is measured anew")

    def save(self) -> None:
        """Write everything, whole or not at all; all processes hold the same, so that the first one
        writes.
        """
        if not first():
            return
        assert self._path is not None, "load() says where"
        spent = self.earlier + self.products()
        content = {"krylov": self.krylov.state_dict(), "rows": self._rows, "products": spent}
        with atomic_write(self._path) as file:
            torch.save(content | {"sha256": content_digest(content)}, file)

    def keep_now_and_then(self) -> None:
        """Save if the last time is long ago."""
        if time.monotonic() - self._last > EVERY:
            self.save()
            self._last = time.monotonic()


def content_digest(value: Any) -> str:
    """sha256 of tensors, numbers, text and ``None`` in lists and dictionaries: values, shapes and
    types.
    """
    total = hashlib.sha256()
    _add(value, total)
    return total.hexdigest()


def _add(value: Any, total: Any) -> None:
    if isinstance(value, Tensor):
        total.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().data)
    elif isinstance(value, dict):
        total.update(f"dict {len(value)}".encode())
        for key in sorted(value):
            _add(key, total)
            _add(value[key], total)
    elif isinstance(value, (list, tuple)):
        total.update(f"list {len(value)}".encode())
        for entry in value:
            _add(entry, total)
    else:
        total.update(f"{type(value).__name__} {value!r} ".encode())


def _read(path: Path) -> dict[str, Any] | None:
    """What :meth:`State.save` wrote, bit for bit, on the CPU; ``None`` for anything else.

    The basis goes to its device from there: a GPU that is nearly full has no room for two of it.
    """
    try:
        with warnings.catch_warnings():  # torch remarks on unusual files
            warnings.simplefilter("ignore")
            found = torch.load(path, weights_only=True, map_location="cpu")
        digest = found.pop("sha256")
        return found if digest == content_digest(found) else None
    except Exception:  # torch.load has no list of what a damaged file may raise
        return None


def _fits(found: dict[str, Any], krylov: Krylov) -> bool:
    """Whether a whole state belongs to a matrix of this size, in this precision."""
    kept = found["krylov"]
    vector = kept["next"] if kept["next"] is not None else kept["basis"][0]
    basis = kept["basis"]
    return vector.numel() == krylov.dim and (basis is None or basis.dtype == krylov.basis_dtype)


@contextlib.contextmanager
def interruptible(state: State, path: Path) -> Iterator[State]:
    """The state, filled from ``path`` where an interrupted run left it.

    Raises:
        Interrupted: On Ctrl-C, or when another process of the job is gone, after the state was
            saved.
    """
    state.load(path)
    try:
        yield state
    except (KeyboardInterrupt, PeerLost) as stop:
        with past_lost_sum():
            state.save()
        why = f"{stop}; " if isinstance(stop, PeerLost) else ""
        if not first():  # it cannot know whether the first one still lived to save
            raise Interrupted(
                f"{why}the same command goes on from what the first process kept in {path}"
            ) from None
        raise Interrupted(
            f"{why}{state.earlier + state.products()} products are kept in {path}; the same "
            "command goes on from there"
        ) from None
