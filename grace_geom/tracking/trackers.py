"""Several trackers as one, each on a thread of its own: what they do costs the run no time, and
what they fail at costs it a line.
"""

import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from grace_geom.files import write_text
from grace_geom.serialise import plain
from grace_geom.tracking.base import HIDDEN, Home, Status, Tracker

Job = Callable[[Tracker], object]

PATIENCE = 60.0
"""Seconds that the end of a run waits for its trackers."""


class Trackers:
    """The trackers of one run; only the process that writes its files has any.

    A tracker that fails is told of once, through ``say``, and is not called again. What identifies
    the tracker's run is kept in ``.trackers/`` of the folder: the next :meth:`start` with the same
    folder and key continues it.

    Args:
        names: Some of ``TRACKERS``.
        folder: Of the run, evaluation or analysis.
        key: Tells several tracker runs of one folder apart.
        say: Shows a line to the user.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, key: str = "", *, say: Callable[[str], object]
    ) -> None:
        self.names, self.folder, self.key, self.say = names, folder, key, say
        self.file = folder / HIDDEN / f"{key or 'run'}.json"
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, str]] = {}

    def start(self, settings: Mapping[str, Any], name: str, *, done: int | None = None) -> None:
        """Begin, or continue the runs that the folder knows of.

        Args:
            settings: Of the run; made plain here.
            name: Of the run.
            done: Steps that a resumed training goes on from.
        """
        values = plain(dict(settings))
        if self.names:
            self._known = self._read()
        for each in self.names:
            home = Home(self.folder, self.key, self._known.get(each, {}), done)
            worker = _Worker(each, partial(import_tracker, each, home))
            worker.ask(partial(self._start, each, worker, values, name))
            self._workers.append(worker)
        self._tell()

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers by name; ``step`` among them is left out."""
        values = {name: float(value) for name, value in numbers.items() if name != "step"}
        for worker in self._workers:
            worker.ask(lambda tracker: tracker.log(step, values))
        self._tell()

    def figure(self, name: str, path: Path) -> None:
        """A picture or a page, which must stay where it is until :meth:`finish` has returned."""
        for worker in self._workers:
            worker.ask(lambda tracker: tracker.figure(name, path))
        self._tell()

    def finish(self, status: Status) -> None:
        """Wait for what is not reported yet, ``PATIENCE`` seconds at most; twice does no harm."""
        for worker in self._workers:
            worker.end(status)
        for worker in self._workers:
            worker.join(PATIENCE)
        self._tell()
        self._workers = []

    def _start(
        self, each: str, worker: "_Worker", settings: dict[str, Any], name: str, tracker: Tracker
    ) -> None:
        found = tracker.start(settings, name)
        worker.started = True
        with self._lock:
            if found and found != self._known.get(each):
                self._known = self._known | {each: found}
                write_text(self.file, json.dumps(self._known, indent=2) + "\n")

    def _read(self) -> dict[str, dict[str, str]]:
        """What the folder knows; a file that cannot be read is told of, and new runs begin."""
        try:
            known = json.loads(self.file.read_text(encoding="utf-8"))
            return {str(name): dict(found) for name, found in known.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self.say(
                f"warning: {self.file} cannot be read ({_line(error)}): new tracker runs begin"
            )
            return {}

    def _tell(self) -> None:
        for worker in self._workers:
            if worker.failure and not worker.told:
                worker.told = True
                self.say(
                    f"warning: {worker.name}: {worker.failure}; nothing more is reported there, "
                    "all else goes on"
                )


class _Worker:
    """A thread that calls one tracker, job by job, until the first failure or the end."""

    def __init__(self, name: str, make: Callable[[], Tracker]) -> None:
        self.name, self.failure, self.told, self.started = name, "", False, False
        self._jobs: queue.SimpleQueue[Job | Status] = queue.SimpleQueue()
        self._made: list[Tracker] = []
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        # Libraries are imported by the caller's thread: a process forked meanwhile, as data loaders
        # fork, would wait for ever for the lock of a half-imported module.
        self._attempt(lambda: self._made.append(make()))
        self._thread.start()

    def ask(self, job: Job) -> None:
        """One more job."""
        if not self.failure:
            self._jobs.put(job)

    def end(self, status: Status) -> None:
        """No more jobs; a run that began is closed even where a job failed."""
        self._jobs.put(status)

    def join(self, seconds: float) -> None:
        """Wait until all is done, or has taken too long."""
        self._thread.join(seconds)
        if self._thread.is_alive() and not self.failure:
            self.failure = f"no answer for {seconds:g} seconds"

    def _work(self) -> None:
        while not isinstance(job := self._jobs.get(), str):
            if not self.failure:
                self._attempt(partial(job, *self._made))
        if self.started:
            self._attempt(partial(self._made[0].finish, job))

    def _attempt(self, call: Callable[[], object]) -> None:
        try:
            call()
        except (Exception, SystemExit) as error:  # whatever a tracker does, the run goes on
            self.failure = self.failure or _line(error)


def _line(error: BaseException) -> str:
    """An error in one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."


def import_tracker(name: str, home: Home) -> Tracker:
    """The tracker of that name, its library imported."""
    return import_module(f"grace_geom.tracking.{name}").TRACKER(home)
