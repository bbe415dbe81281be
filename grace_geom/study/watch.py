"""How far a study is: from the files that its runs write, whichever process they run in."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from grace_geom.evaluation import record_file
from grace_geom.methods import method_class
from grace_geom.progress import Progress, duration
from grace_geom.records import EvalRecord, RecordError, summarise
from grace_geom.study.execute import RunOutcome, last_record, number, training_seconds
from grace_geom.study.options import Job

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


class Watch:
    """Shows the running jobs and the time left, on stderr, while the ``with`` block lasts.

    Args:
        jobs: The jobs that are not finished.
        expected: By job name.
        workers: Jobs at a time.
    """

    def __init__(self, jobs: Sequence[Job], expected: dict[str, Expected], workers: int) -> None:
        self.jobs, self.expected, self.workers = list(jobs), expected, workers
        self.over: set[str] = set()
        self._progress = Progress(parts=len(self.jobs), every=QUIET_REFRESH)
        self._pause = REFRESH if self._progress.terminal else QUIET_REFRESH
        self._before = sum(
            self._done(job) for job in self.jobs
        )  # finished before this start: it cost this one nothing
        self._began = time.perf_counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.clear()

    def finish(self, job: Job) -> None:
        """A job has ended, well or not."""
        self.over.add(job.name)

    def clear(self) -> None:
        """Empty the line, so that another can be printed."""
        self._progress.clear()

    def left(self) -> float:
        """Seconds to the end: what is expected of the rest, times how the plan has done so far."""
        total = sum(self.expected[job.name].seconds for job in self.jobs)
        done = sum(self._done(job) for job in self.jobs)
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

    def _look(self) -> None:
        running = [
            text for job in self.jobs if job.name not in self.over and (text := self._state(job))
        ]
        self._progress.part = len(self.over)
        self._progress.look("; ".join(running) or "starting", self.left())

    def _state(self, job: Job) -> str:
        expected, numbers = self.expected[job.name], self._numbers(job)
        step = int(number(last_record(job.folder), "step") or 0)
        if numbers:
            return f"{job.name}: evaluating {numbers}/{expected.numbers}"
        if not (job.folder / "config.yaml").is_file():
            return ""
        training = expected.steps and step < expected.steps
        return (
            f"{job.name}: step {step}/{expected.steps}" if training else f"{job.name}: evaluating"
        )

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
