"""Tasks as array jobs of SLURM, by submitit. Which machine has room, and when, is SLURM's
business.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic

from grace_geom.engines.base import Resources, T, Task, TaskOutcome, again
from grace_geom.engines.elsewhere import Origin, Report, report, tell
from grace_geom.engines.feed import ready
from grace_geom.engines.parts import MachinePart, joined
from grace_geom.engines.site import SiteOptions
from grace_geom.errors import Interrupted, UserError, first_line
from grace_geom.files import write_text
from grace_geom.terminal import say

FORMAT = "grace_geom.slurm_jobs/1"
PORTS = range(20000, 40000)
"""Ports at which the machines of a task on several of them meet, by the job's number."""


@dataclass(frozen=True)
class _Sent(Generic[T]):
    """A task that SLURM has, and what tells it from another of its name."""

    task: Task[T]
    times: int
    job: Any
    work: str


@dataclass
class _Jobs(Generic[T]):
    """The jobs of a command.

    Attributes:
        names: Of all tasks that it has begun.
        live: What SLURM has now, by task.
    """

    names: set[str] = field(default_factory=set)
    live: dict[str, _Sent[T]] = field(default_factory=dict)


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
    still queued or running, which ``jobs.json`` names, and does not send them twice.

    Args:
        site: The site's options.
        folder: For scripts, logs and ``jobs.json``, on a disk that all machines see.
        workers: Most jobs of an array at a time; ``None``: what the site's options or submitit say.
    """

    def __init__(self, site: SiteOptions, folder: Path, workers: int | None = None) -> None:
        self.site, self.folder, self.workers = site, folder.absolute(), workers
        self._pause = 0.1 if site.cluster == "local" else 5.0

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
        jobs = _Jobs[T]()
        try:
            while True:
                some = list(islice(ready(tasks), None if room is None else room - len(jobs.live)))
                self._begin(some, jobs)
                if not jobs.live:
                    return
                ended = [sent for sent in jobs.live.values() if self._ended(sent.job)]
                for sent in ended:
                    outcome = self._outcome(sent)
                    if outcome.failure == "lost" and again(sent.task, outcome.error, sent.times):
                        self._send([(sent.task, sent.times + 1)], jobs)
                    else:
                        del jobs.live[sent.task.name]
                        self._note(jobs)
                        yield replace(outcome, attempts=sent.times)
                if not ended:
                    time.sleep(self._pause)
        finally:
            if jobs.live:
                ids = " ".join(str(sent.job.job_id) for sent in jobs.live.values())
                say(
                    f"{len(jobs.live)} jobs go on without this command; the same command again "
                    f"waits for them, and `scancel {ids}` stops them"
                )

    def _begin(self, tasks: Sequence[Task[T]], jobs: "_Jobs[T]") -> None:
        """Take up the jobs of an earlier command that do these tasks, and send the other tasks."""
        if not tasks:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        attached = self._attached(tasks)
        jobs.names |= {task.name for task in tasks}
        jobs.live |= {sent.task.name: sent for sent in attached}
        self._note(jobs)
        self._send([(task, 1) for task in tasks if task.name not in jobs.live], jobs)

    def _send(self, tasks: Sequence[tuple[Task[T], int]], jobs: "_Jobs[T]") -> None:
        """An array for all tasks that need the same, noted before the next one is sent: who is
        killed meanwhile forgets none.
        """
        sent: list[_Sent[T]] = []
        for needs in dict.fromkeys(task.resources for task, _ in tasks):
            some = [(task, times) for task, times in tasks if task.resources == needs]
            for array in [some] if self.site.cluster == "slurm" else [[one] for one in some]:
                sent += self._array(needs, array)
                jobs.live |= {one.task.name: one for one in sent[-len(array) :]}
                self._note(jobs)
        if sent:
            say(f"{len(sent)} jobs sent to SLURM: {sent[0].job.job_id} ...; logs in {self.folder}")

    def _array(self, needs: Resources, some: Sequence[tuple[Task[T], int]]) -> list[_Sent[T]]:
        executor, home = self._executor(needs), Origin.here()
        try:
            with executor.batch():
                sent = [executor.submit(_Work(), home, task) for task, _ in some]
        except Exception as error:  # submitit has no class of its own for all of these
            raise UserError(f"SLURM did not take the jobs: {first_line(error)}") from error
        return [
            _Sent(task, times, job, _digest(task))
            for (task, times), job in zip(some, sent, strict=True)
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

    def _note(self, jobs: "_Jobs[Any]") -> None:
        """Jobs that go on; those of other tasks, by another command here, stay noted."""
        noted = {name: entry for name, entry in self._noted().items() if name not in jobs.names}
        noted |= {
            name: {"job": str(sent.job.job_id), "times": sent.times, "work": sent.work}
            for name, sent in jobs.live.items()
        }
        text = json.dumps({"format": FORMAT, "jobs": noted}, indent=1)
        write_text(self.folder / "jobs.json", text + "\n")

    def _noted(self) -> dict[str, Any]:
        """Jobs of earlier commands, by task.

        Raises:
            UserError: If ``jobs.json`` is damaged: nobody knows then what is still queued.
        """
        file = self.folder / "jobs.json"
        if not file.is_file():
            return {}
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(content["format"])
            return dict(content["jobs"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} cannot be read ({first_line(error)}): see `squeue` for jobs that still "
                "run, `scancel` them, and remove the file"
            ) from None

    def _attached(self, tasks: Sequence[Task[T]]) -> list[_Sent[T]]:
        """Jobs of an earlier command that are still queued or running."""
        known, found = self._noted(), []
        for task in tasks:
            if task.name not in known:
                continue
            entry, work = known[task.name], _digest(task)
            job = self._job(entry["job"], task.resources.nodes)
            if self._ended(job):
                continue
            if entry["work"] != work:
                raise UserError(
                    f"job {entry['job']} of an earlier command still does {task.name} with other "
                    f"options: wait for it, or `scancel {entry['job']}`"
                )
            found.append(_Sent(task, entry["times"], job, work))
        if found:
            say(f"{len(found)} jobs of an earlier command go on: {found[0].job.job_id} ...")
        return found

    def _job(self, number: str, nodes: int) -> Any:
        import submitit

        kind = submitit.LocalJob if self.site.cluster == "local" else submitit.SlurmJob
        return kind(folder=self.folder, job_id=number, tasks=list(range(nodes)))


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
