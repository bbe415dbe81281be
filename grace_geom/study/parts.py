"""The state of a run in the middle of its training, in a store: another machine goes on from it."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from grace_geom.errors import UserError
from grace_geom.store import PARTS, Store, TakenError
from grace_geom.terminal.voice import warn

EVERY = 600.0
"""Seconds between two parts of one run, where its newest checkpoint is another one."""


def newest_step(files: Mapping[str, object] | Path) -> int:
    """The last step that a run directory, or the files of one, have a checkpoint of; -1: none."""
    if isinstance(files, Path):
        files = {f"checkpoints/{p.name}": p for p in files.glob("checkpoints/step_*.pt")}
    steps = [name[17:-3] for name in files if name.startswith("checkpoints/step_")]
    return max((int(step) for step in steps if step.isdecimal()), default=-1)


def take_newest(store: Store, name: str, folder: Path) -> bool:
    """Bring the newest part of a run to this machine, where that is further than what is here.

    Returns:
        Whether it was.
    """
    parts = store.names(f"{PARTS}{name}")
    if not parts:
        return False
    try:
        if newest_step(store.manifest(parts[-1]).files) <= newest_step(folder):
            return False
        store.get_folder(parts[-1], folder, replace=True)
    except UserError as error:  # its owner lives after all, and has put a newer one
        warn(f"{name} begins from what is here: {error}")
        return False
    return True


class PartKeeper:
    """Puts the state of a run every few minutes, and when it is stopped.

    Args:
        store: Where to.
        name: Of the run.
        number: Of the claim under which it is made: later claims go on from earlier ones' parts.
        folder: The run directory.
        held: Whether the claim still is; nothing is put for one that was lost.
        every: Seconds.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        number: int,
        folder: Path,
        held: Callable[[], bool] = lambda: True,
        every: float = EVERY,
    ) -> None:
        self.store = Store(store.url)  # asked once: the next part comes by itself
        self.name, self.number = name, number
        self.folder, self.held, self.every = folder, held, every
        self._lock = threading.Lock()
        self._put, self._count, self._step = "", 0, newest_step(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name=f"parts of {name}")

    def __enter__(self) -> "PartKeeper":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def put(self) -> None:
        """Put the state that is there now, and remove the part before it.

        Raises:
            UserError: If the store cannot be written.
        """
        with self._lock:  # its own thread may be at it
            if self.held():
                self._put_newest()

    def _put_newest(self) -> None:
        step = newest_step(self.folder)
        if step <= self._step:
            return
        self._count += 1
        name = f"{PARTS}{self.name}/{self.number:06d}.{self._count:06d}"
        with _snapshot(self.folder) as still:
            self.store.put_folder(still, name)
        before, self._put, self._step = self._put, name, step
        if before:
            self.store.drop(before)

    def _loop(self) -> None:
        while not self._stop.wait(self.every):
            try:
                self.put()
            except (UserError, TakenError) as error:  # the run goes on, and so does the next try
                warn(f"{self.name}: its state was not put: {error}")


def drop_all(store: Store, name: str) -> None:
    """Remove the parts of a run that is whole."""
    for part in store.names(f"{PARTS}{name}"):
        store.drop(part)


@contextmanager
def _snapshot(folder: Path) -> Iterator[Path]:
    """The files of a run that goes on, as they are at one moment: checkpoints first, which later
    lines of the records do not contradict; resuming drops those beyond the checkpoint.
    """
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        still = Path(temporary)
        files = [p for p in folder.rglob("*") if p.is_file() and not _hidden(p, folder)]
        for path in sorted(files, key=lambda p: p.suffix != ".pt"):
            target = still / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if path.suffix == ".pt":  # replaced, never written into
                    os.link(path, target)
                else:
                    shutil.copyfile(path, target)
            except FileNotFoundError:  # an older checkpoint that was just removed
                continue
        yield still


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
