"""Further evaluations of the finished runs of a study, as tasks of an engine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grace_geom import terminal
from grace_geom.config import make_config, stored_settings
from grace_geom.devices import deterministic
from grace_geom.engines import Engine, Resources, Task
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import Measures, Sets, Source, assess, image_set_of, targets
from grace_geom.files import alone
from grace_geom.progress import duration
from grace_geom.records import EvalRecord
from grace_geom.study.execute import asked, finished
from grace_geom.study.finished import FinishedRun, LaterWork, finished_runs
from grace_geom.study.options import Job
from grace_geom.study.state import Say


@dataclass(frozen=True)
class EvaluationsOptions(LaterWork):
    """Which study is evaluated on more.

    Attributes:
        download: Download missing torchvision data sets.
    """

    download: bool = False


@dataclass
class EvaluationsDone:
    """What became of each run.

    Attributes:
        records: Run -> the answers to what was asked, and to nothing else.
        states: Run -> in a word: how long it took, ``current`` or ``failed``.
        errors: Run -> why it failed.
        files: Run directories.
    """

    records: dict[str, EvalRecord] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain types, by run."""
        return {
            name: {"state": state, "error": self.errors.get(name, "")}
            for name, state in self.states.items()
        }


def evaluate_run(
    folder: Path, measures: Measures, source: Source, fresh: bool, same_bits: bool
) -> EvalRecord:
    """Evaluate one run; numbers that are there are kept, and each new one is written at once."""
    with deterministic(same_bits):
        return assess(folder, measures, source, fresh=fresh)


@dataclass
class StudyEvaluations:
    """Evaluations of a study under way.

    Attributes:
        options: Which study.
        measures: What is measured.
        engine: Where tasks run.
        resources: What each of them needs.
        say: Where lines for people go.
        failed: Where it is told what failed, and why.
    """

    options: EvaluationsOptions
    measures: Measures
    engine: Engine
    resources: Resources
    say: Say = terminal.say
    failed: Say = terminal.failed

    def run(self) -> EvaluationsDone:
        """Measure what is not known yet of each run.

        Raises:
            UserError: For a study without finished runs, data that cannot be read, or another
                process at work on its evaluations; before anything is measured.
            Interrupted: Stopped; what was measured is kept.
        """
        options, done = self.options, EvaluationsDone()
        jobs = {run.name: _job(run) for run in finished_runs(options.study, self.say)}
        sets = Sets(options.data_root, options.download)
        for job in jobs.values():
            self._read_sets(job, sets)
        wanted = []
        for name, job in jobs.items():
            done.files[name] = job.folder
            record = None if options.fresh else finished(job, self.measures, sets, self.say)
            if record is None:
                wanted.append(name)
            else:
                done.records[name] = asked(record, job, self.measures, sets)
                done.states[name] = "current"
        with alone(options.study / ".evaluations", "study's evaluations"):
            self._measure({name: jobs[name] for name in wanted}, sets, done)
        return done

    def _measure(self, jobs: dict[str, Job], sets: Sets, done: EvaluationsDone) -> None:
        o = self.options
        source = Source(data_root=o.data_root, download=o.download, device=o.device)
        tasks = [
            Task(
                name,
                evaluate_run,
                (job.folder, self.measures, source, o.fresh, o.deterministic),
                self.resources,
            )
            for name, job in jobs.items()
        ]
        over = 0
        try:
            for outcome in self.engine.run(tasks):
                over += 1
                head = f"[{over}/{len(jobs)}] {outcome.name}"
                if outcome.value is None:
                    done.errors[outcome.name] = outcome.error
                    done.states[outcome.name] = "failed"
                    self.failed(f"{head} failed: {outcome.error.splitlines()[0]}")
                    continue
                record = asked(outcome.value, jobs[outcome.name], self.measures, sets)
                done.records[outcome.name] = record
                took = duration(sum(a.seconds for a in record.accuracies))
                done.states[outcome.name] = took
                self.say(f"{head}: evaluated in {took}")
        except (Interrupted, KeyboardInterrupt):
            raise Interrupted(
                f"{over} of {len(jobs)} runs are evaluated; every number is kept, and the same "
                "command goes on from here"
            ) from None

    def _read_sets(self, job: Job, sets: Sets) -> None:
        """Read what will be evaluated on: a missing set stops all before anything is measured."""
        config = job.config
        for target in targets(self.measures, config.data, config.ood):
            image_set_of(target, self.measures, sets, vars(config))


def _job(run: FinishedRun) -> Job:
    """The run as a study knows it.

    Raises:
        UserError: If its settings cannot be read.
    """
    stored = stored_settings(run.folder)
    if not stored:
        raise UserError(f"{run.folder} has no config.yaml: its study cannot be evaluated on more")
    config = make_config(stored | {"out": run.folder}, f"{run.folder}/config.yaml")
    return Job(run.name, config.seed, config)
