"""Tasks as array jobs of SLURM, by submitit. Which machine has room, and when, is SLURM's
business.
"""

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic

from grace_geom.engines.base import Resources, T, Task, TaskOutcome, again
from grace_geom.engines.elsewhere import Origin, Report, report, tell
from grace_geom.engines.feed import ready
from grace_geom.engines.job_notes import NotedJob, read_note, read_notes, write_note
from grace_geom.engines.parts import MachinePart, joined
from grace_geom.engines.site import SiteOptions
from grace_geom.errors import Interrupted, UserError, first_line
from grace_geom.terminal import say

PORTS = range(20000, 40000)
"""Ports at which the machines of a task on several of them meet, by the job's number."""


@dataclass(frozen=True)
class _Sent(Generic[T]):
    """A task that SLURM has, and the file in which that is noted."""

    task: Task[T]
    times: int
    job: Any
    note: Path


class _Work(Generic[T]):
    """What a job does; submitit calls ``checkpoint`` where SLURM wants the machine back, and the
    job is queued again to go on from the run's newest checkpoint.
    """

    def __call__(self, home: Origin, task: Task[T]) -> Report[T] | MachinePart:
        """The task, or this machine's part of it."""
        if task.resources.nodes == 1:
            return report(home, task)
        import submitit

        from grace_geom.engines.several import part_of_machine

        here = submitit.JobEnvironment()
        port = PORTS[int(here.raw_job_id) % len(PORTS)]
        home.enter()
        try:
            return part_of_machine(task, f"{here.hostnames[0]}:{port}", here.job_id, here.node)
        except Interrupted:
            return MachinePart({}, died=True)

    def checkpoint(self, home: Origin, task: Task[T]) -> Any:
        """The same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, home, task)


class Slurm:
    """One job a task. Jobs outlive the command: the same command again waits for those that are
    still queued or running, which the files in ``jobs/`` name, and does not send them twice.

    Args:
        site: The site's options.
        folder: For scripts, logs and ``jobs/``, on a disk that all machines see; several commands
            may share it.
        workers: Most jobs of an array at a time; ``None``: what the site's options or submitit say.
    """

    def __init__(self, site: SiteOptions, folder: Path, workers: int | None = None) -> None:
        self.site, self.folder, self.workers = site, folder.absolute(), workers
        self.notes = self.folder / "jobs"
        self._pause = 0.1 if site.cluster == "local" else 5.0
        self._known: dict[str, Any] = {}  # jobs by number

    def at_once(self, tasks: int) -> int:
        """All of them or ``workers``; how long they wait in the queue nobody knows."""
        return max(1, min(tasks, self.workers or tasks))

    def run(self, tasks: Sequence[Task[T]]) -> Iterator[TaskOutcome[T]]:
        """See :class:`grace_geom.engines.Engine`. A job that left nothing is sent again.

        Raises:
            UserError: If there is no SLURM, if it refuses the jobs, or if a job of an earlier
                command still does something else under a task's name.
        """
        yield from self._work(iter(tasks), None)

    def feed(self, tasks: Iterator[Task[T] | None]) -> Iterator[TaskOutcome[T]]:
        """See :class:`grace_geom.engines.Feeding`. There is room for ``workers`` jobs, queued ones
        among them; without, each is sent once it is known.
        """
        yield from self._work(tasks, self.workers)

    def _work(self, tasks: Iterator[Task[T] | None], room: int | None) -> Iterator[TaskOutcome[T]]:
        """Outcomes of tasks, of which at most ``room`` are with SLURM at a time."""
        if self.site.cluster == "slurm" and not shutil.which("sbatch"):
            raise UserError(
                "--engine slurm: there is no sbatch here; start the command on a login node"
            )
        live: dict[str, _Sent[T]] = {}
        try:
            while True:
                some = list(islice(ready(tasks), None if room is None else room - len(live)))
                self._begin(some, live)
                if not live:
                    return
                ended = [sent for sent in live.values() if self._ended(sent.job)]
                for sent in ended:
                    outcome = self._outcome(sent)
                    del live[sent.task.name]
                    if outcome.failure == "lost" and again(sent.task, outcome.error, sent.times):
                        self._send([(sent.task, sent.times + 1)], live)
                        self._forget(sent.note, live)
                    else:
                        self._forget(sent.note, live)
                        yield replace(outcome, attempts=sent.times)
                if not ended:
                    time.sleep(self._pause)
        finally:
            if live:
                ids = " ".join(str(sent.job.job_id) for sent in live.values())
                say(
                    f"{len(live)} jobs go on without this command; the same command again "
                    f"waits for them, and `scancel {ids}` stops them"
                )

    def _begin(self, tasks: Sequence[Task[T]], live: "dict[str, _Sent[T]]") -> None:
        """Take up the jobs of an earlier command that do these tasks, and send the other tasks."""
        if not tasks:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        live |= self._attached(tasks)
        self._send([(task, 1) for task in tasks if task.name not in live], live)

    def _send(self, tasks: Sequence[tuple[Task[T], int]], live: "dict[str, _Sent[T]]") -> None:
        """An array for all tasks that need the same, noted before the next one is sent: who is
        killed meanwhile forgets none.
        """
        sent: list[_Sent[T]] = []
        for needs in dict.fromkeys(task.resources for task, _ in tasks):
            some = [(task, times) for task, times in tasks if task.resources == needs]
            for array in [some] if self.site.cluster == "slurm" else [[one] for one in some]:
                new = self._array(needs, array)
                live |= {one.task.name: one for one in new}
                sent += new
        if sent:
            say(f"{len(sent)} jobs sent to SLURM: {sent[0].job.job_id} ...; logs in {self.folder}")

    def _array(self, needs: Resources, some: Sequence[tuple[Task[T], int]]) -> list[_Sent[T]]:
        executor, home = self._executor(needs), Origin.here()
        try:
            with executor.batch():
                jobs = [executor.submit(_Work(), home, task) for task, _ in some]
        except Exception as error:  # submitit has no class of its own for all of these
            raise UserError(f"SLURM did not take the jobs: {first_line(error)}") from error
        noted = [
            NotedJob(task.name, str(job.job_id), times, _digest(task), needs.nodes)
            for (task, times), job in zip(some, jobs, strict=True)
        ]
        try:
            note = write_note(self.notes, noted)
        except UserError as error:
            ids = " ".join(one.job for one in noted)
            raise UserError(
                f"{str(error).rstrip('.')}. SLURM has jobs that are not noted, and the same command "
                f"would send them again: first `scancel {ids}`"
            ) from error
        self._known |= {one.job: job for one, job in zip(noted, jobs, strict=True)}
        return [
            _Sent(task, times, job, note) for (task, times), job in zip(some, jobs, strict=True)
        ]

    def _executor(self, needs: Resources) -> Any:
        import submitit

        executor = submitit.AutoExecutor(self.folder, cluster=self.site.cluster)
        executor.update_parameters(**self.site.parameters(needs, self.workers))
        return executor

    def _ended(self, job: Any) -> bool:
        if self.site.cluster == "local":
            return job.paths.result_pickle.exists() or not _alive(job)
        return bool(job.done())

    def _outcome(self, sent: _Sent[T]) -> TaskOutcome[T]:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        name, job = sent.task.name, sent.job
        where = f"job {job.job_id}; log: {job.paths.stderr}"
        if self.site.cluster == "local" and not job.paths.result_pickle.exists():
            return TaskOutcome(name, error=f"its process died ({where})", failure="lost")
        try:
            found = job.results()
        except UncompletedJobError:  # killed, out of memory or time, or its machine failed
            why = f"its job ended as {job.state} and left nothing ({where})"
            return TaskOutcome(name, error=why, failure="lost")
        except FailedJobError as error:  # before or after the task itself
            last = str(error).split("----------------------\n")[-2].strip().splitlines()[-1]
            return TaskOutcome(name, error=f"{last} ({where})", failure="fault")
        if isinstance(found[0], MachinePart):
            return joined(sent.task, found)
        tell(found[0].said)
        outcome: TaskOutcome[T] = found[0].outcome
        return outcome

    def _forget(self, note: Path, live: Mapping[str, "_Sent[Any]"]) -> None:
        """Remove the note of a submission once all its jobs have ended."""
        if any(sent.note == note for sent in live.values()):
            return
        if all(self._ended(self._job(noted)) for noted in read_note(note)):
            note.unlink(missing_ok=True)

    def _attached(self, tasks: Sequence[Task[T]]) -> "dict[str, _Sent[T]]":
        """Jobs of earlier commands that are still queued or running, by task. Notes of jobs that
        have all ended are removed.
        """
        wanted = {task.name: task for task in tasks}
        found: dict[str, _Sent[T]] = {}
        for note, jobs in read_notes(self.notes).items():
            going = [noted for noted in jobs if not self._ended(self._job(noted))]
            if not going:
                note.unlink(missing_ok=True)
            for noted in going:
                if (task := wanted.get(noted.task)) is None:
                    continue
                if noted.work != _digest(task):
                    raise UserError(
                        f"job {noted.job} of an earlier command still does {task.name} with other "
                        f"options: wait for it, or `scancel {noted.job}`"
                    )
                if task.name not in found or found[task.name].times < noted.times:
                    job = self._job(noted)
                    found[task.name] = _Sent(task, noted.times, job, note)
        if found:
            first = next(iter(found.values())).job.job_id
            say(f"{len(found)} jobs of an earlier command go on: {first} ...")
        return found

    def _job(self, noted: NotedJob) -> Any:
        import submitit

        if noted.job not in self._known:
            kind = submitit.LocalJob if self.site.cluster == "local" else submitit.SlurmJob
            tasks = list(range(noted.nodes))
            self._known[noted.job] = kind(folder=self.folder, job_id=noted.job, tasks=tasks)
        return self._known[noted.job]


def _alive(job: Any) -> bool:
    """Whether a job on this machine goes on, which submitit knows of its own children alone."""
    if job._process is not None:
        return job._process.poll() is None
    try:
        state = Path(f"/proc/{job.job_id}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"  # it ended, and nobody asked how


def _digest(task: Task[Any]) -> str:
    """What tells one piece of work from another."""
    import cloudpickle

    content = cloudpickle.dumps((task.function, task.args, sys.version_info[:2]))
    return hashlib.sha256(content).hexdigest()[:16]
