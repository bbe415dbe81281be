"""How far a study is, and what is left of it: from the files that its runs write, whichever process
they run in.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from grace_geom.evaluation import record_file
from grace_geom.methods import method_class
from grace_geom.progress import Progress, duration
from grace_geom.records import EvalRecord, RecordError, summarise
from grace_geom.records.costs import device_hours
from grace_geom.study.execute import RunOutcome, last_record, number, training_seconds
from grace_geom.study.options import Job
from grace_geom.terminal import AREA, Bar

REFRESH = 1.0  # seconds between looks where a terminal shows one line that changes
QUIET_REFRESH = 60.0  # and between lines elsewhere


@dataclass(frozen=True)
class Expected:
    """What a job will take.

    Attributes:
        steps: Optimiser steps.
        training: Seconds.
        evaluation: Seconds.
        numbers: Accuracies.
    """

    steps: int
    training: float
    evaluation: float
    numbers: int

    @property
    def seconds(self) -> float:
        """Of the whole job."""
        return self.training + self.evaluation


@dataclass(frozen=True)
class _JobState:
    """What a job does: ``training`` so many of so many steps, or ``evaluating`` numbers."""

    job: str
    doing: str
    done: int = 0
    total: int = 0

    def text(self) -> str:
        count = f" {self.done}/{self.total}" if self.total else ""
        return f"{self.job}: {'step' if self.doing == 'training' else self.doing}{count}"

    def row(self) -> Bar:
        count = f"{self.done}/{self.total}" if self.total else ""
        share = self.done / self.total if self.total else None
        return Bar(f"  {self.job}: {self.doing}", count, share)


class Watch:
    """Shows running jobs, and the time and cost left, on stderr while the ``with`` block lasts: on
    a terminal the whole study in a row, and each running job in one below.

    Args:
        jobs: The jobs that are not finished.
        expected: By job name.
        workers: Jobs at a time.
        devices: That each job holds.
    """

    def __init__(
        self, jobs: Sequence[Job], expected: dict[str, Expected], workers: int, devices: float = 1.0
    ) -> None:
        self.jobs, self.expected, self.devices = list(jobs), expected, devices
        self.workers = max(1, min(workers, len(self.jobs)))
        self.over: set[str] = set()
        self._progress = Progress(parts=len(self.jobs), every=QUIET_REFRESH)
        self._pause = REFRESH if self._progress.terminal else QUIET_REFRESH
        self._rows: tuple[Bar, ...] = ()
        self._before = sum(
            self._done(job) for job in self.jobs
        )  # finished before this start: it cost this one nothing
        self._began = time.perf_counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> "Watch":
        if self._progress.terminal:
            self._look()
            AREA.show(self)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.clear()

    def finish(self, job: Job) -> None:
        """A job has ended, well or not."""
        self.over.add(job.name)
        if len(self.over) == len(self.jobs):
            self.clear()
        elif self._progress.terminal:
            self._look()

    def clear(self) -> None:
        """Take the rows from the terminal."""
        if self._progress.terminal:
            AREA.hide(self)

    def rows(self) -> Sequence[Bar]:
        """The whole study and each running job, as they were at the last look."""
        return self._rows

    def left(self) -> float:
        """Seconds to the end: what is expected of the rest, times how the plan has done so far."""
        return self._left(sum(self._done(job) for job in self.jobs))

    def cost(self) -> str:
        """Device hours to the end."""
        return self._cost(self.left())

    def _cost(self, left: float) -> str:
        return device_hours(left * self.workers * self.devices)

    def _left(self, done: float) -> float:
        total = self._total()
        new, elapsed = done - self._before, time.perf_counter() - self._began
        # As much trust in the plan as in the first tenth of the work: one slow start does not turn
        # it over.
        plan = 0.1 * (total - self._before)
        pace = (plan / self.workers + elapsed) / (plan + new) if plan + new > 0 else 0.0
        return max(0.0, total - done) * pace

    def line(self) -> str:
        """What runs now, and the time left."""
        self._look()
        return self._progress.line()

    def _total(self) -> float:
        return sum(self.expected[job.name].seconds for job in self.jobs)

    def _look(self) -> None:
        states = [self._state(job) for job in self.jobs if job.name not in self.over]
        running = [state for state in states if state is not None]
        done = sum(self._done(job) for job in self.jobs)
        left = self._left(done)
        self._progress.part = len(self.over)
        cost = f"{self._cost(left)} left"
        doing = "; ".join(state.text() for state in running) or "starting"
        self._progress.look(doing, left, (cost,))
        share, count = done / max(self._total(), 1e-9), f"{len(self.over)}/{len(self.jobs)}"
        whole = Bar(f"[{count}] runs", "", share, (f"{duration(left)} left", cost))
        self._rows = (whole, *(state.row() for state in running))
        if not running:
            self._rows += (Bar("  starting"),)

    def _state(self, job: Job) -> _JobState | None:
        """``None`` for a job that has not begun."""
        expected, numbers = self.expected[job.name], self._numbers(job)
        step = int(number(last_record(job.folder), "step") or 0)
        if numbers:
            return _JobState(job.name, "evaluating", numbers, expected.numbers)
        if not (job.folder / "config.yaml").is_file():
            return None
        if expected.steps and step < expected.steps:
            return _JobState(job.name, "training", step, expected.steps)
        return _JobState(job.name, "evaluating")

    def _done(self, job: Job) -> float:
        """Seconds of the expected time that are over."""
        expected = self.expected[job.name]
        if job.name in self.over:
            return expected.seconds
        step = int(number(last_record(job.folder), "step") or 0)
        training = expected.training * min(1.0, step / expected.steps) if expected.steps else 0.0
        return training + expected.evaluation * min(
            1.0, self._numbers(job) / max(1, expected.numbers)
        )

    def _numbers(self, job: Job) -> int:
        try:
            return len(EvalRecord.load(record_file(job.folder / "ckpt.pt")).accuracies)
        except RecordError:
            return 0

    def _loop(self) -> None:
        while not self._stop.wait(self._pause):
            if len(self.over) == len(self.jobs):
                return
            self._look()
            if not self._progress.terminal:
                self._progress.refresh()


def ended(outcome: RunOutcome) -> str:
    """A line on a run that is over: its accuracies and times, or why it failed."""
    name = f"{outcome.job.name:<14}"
    if outcome.record is None:
        return f"{name} failed: {outcome.error.splitlines()[0]}"
    found = summarise(outcome.record.accuracies)
    numbers = "  ".join(
        f"{c} {100 * e.value:.1f}"
        for c in ("ID", "OOD", "Adv", "HM")
        if (e := found[c]) is not None
    )
    evaluated = f"evaluated in {duration(sum(a.seconds for a in outcome.record.accuracies))}"
    if not method_class(outcome.job.config.method).trains:
        return f"{name} {numbers}   {evaluated}"
    return f"{name} {numbers}   trained in {duration(training_seconds(outcome.job.folder) or 0)}, {evaluated}"
