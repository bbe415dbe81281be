"""A study from its options to its tables: plan, trials, runs, report; started again, it goes on
where it stopped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from grace_geom import terminal
from grace_geom.config import TrainConfig
from grace_geom.devices import deterministic, share_threads
from grace_geom.engines import Engine, EngineOptions, Task, TaskOutcome, attempt, make_engine
from grace_geom.engines.local import Local
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import Measures, Sets, Source, record_file, targets
from grace_geom.evaluation import report as report_record
from grace_geom.files import alone
from grace_geom.progress import Progress, duration
from grace_geom.records import EvalRecord
from grace_geom.records.costs import device_hours
from grace_geom.refusals import check_also
from grace_geom.study.also import also_rows
from grace_geom.study.estimate import Timing, conditions, evaluation_seconds, probe, stops_early
from grace_geom.study.execute import (
    REAL,
    RunOutcome,
    Steps,
    asked,
    devices_of,
    finished,
    run_all,
    shared_gpus,
)
from grace_geom.study.options import Job, StudyOptions, jobs_of, refuse_other_runs
from grace_geom.study.rates import ChoiceOfRates, choice_of_rates, not_evaluated
from grace_geom.study.reporting import report_table
from grace_geom.study.rows import Row
from grace_geom.study.rows_of_runs import rows_of
from grace_geom.study.shared import SharedStudy
from grace_geom.study.state import Say, StudyState
from grace_geom.study.watch import QUIET_REFRESH, Expected, Watch, ended
from grace_geom.study.written import settings_of, write_reports
from grace_geom.tables import Cell, Table


@dataclass
class Study:
    """A comparison under way.

    Attributes:
        options: What is compared.
        measures: What is measured.
        steps: How a run is trained and evaluated.
        timed: Times a few steps of a method.
        say: Where lines for people go.
        failed: Where it is told which run, trial or checkpoint failed, and why.
        where: Where its runs are made.
        shared: The store of its runs, where others work on it too.
    """

    options: StudyOptions
    measures: Measures
    steps: Steps = REAL
    timed: Callable[[TrainConfig], Timing] = probe
    say: Say = print
    failed: Say = terminal.failed
    where: EngineOptions = field(default_factory=EngineOptions)
    shared: SharedStudy | None = None

    def __post_init__(self) -> None:
        self.source = Source(
            data_root=self.options.data_root,
            download=self.options.download,
            device=self.options.device,
            compile=self.options.compile,
        )
        self.sets = Sets(self.options.data_root, self.options.download)
        self.state = StudyState(self.options.out / "study.json")
        self.engine: Engine = Local()
        self.width = 100

    @property
    def place(self) -> str:
        """Where it is kept, for people."""
        return self.shared.store.url if self.shared else str(self.options.out)

    def run(self) -> list[Row]:
        """Do what is not done yet, write the tables, return the rows.

        Raises:
            UserError: Options that contradict each other or the folder, or another process at work
                on the same study; before anything is trained.
            Interrupted: Stopped; what is finished is kept.
        """
        options = self.options
        with alone(options.out, "study"), deterministic(options.deterministic):
            self.engine = make_engine(self.where, options.workers, options.device, options.out)
            return self._run()

    def _run(self) -> list[Row]:
        self.state = StudyState.load(self.state.path, self.say)
        if self.where.engine == "local":
            share_threads(self.options.workers or 1)
        rates = self._rates()
        missing = rates.missing()
        jobs = self._jobs(rates, check=not missing)
        self._read_sets(jobs[0])
        check_also(self.options.also)
        records = {} if missing else self._finished(jobs)
        self._time([job for job in jobs if job.name not in records])
        refuse_other_runs(rates.jobs())
        expected = self._expected(jobs)
        self._announce(jobs, records, expected, rates.left())
        if self.shared is not None:
            seconds = {name: each.seconds for name, each in expected.items()}
            self.shared.plan(seconds, self._devices())
        errors: dict[str, str] = {}
        try:
            if rates.missing():
                rates.try_them()
                jobs = self._jobs(rates, check=True)
                records = self._finished(jobs)
            for outcome in self._outcomes(
                [job for job in jobs if job.name not in records], expected
            ):
                if outcome.record is not None:
                    records[outcome.job.name] = outcome.record
                    self._report(outcome.record, outcome.job)
                else:
                    errors[outcome.job.name] = outcome.error
        except (Interrupted, KeyboardInterrupt):
            raise Interrupted(
                f"{len(records)} of {len(jobs)} runs are finished and kept in {self.place}; "
                "the same command goes on from here"
            ) from None
        for warning in rates.notes():
            self.say(f"warning: {warning}")
        own = [
            self._asked(row, jobs[0])
            for row in rows_of(self.options, self.state, jobs, records, errors)
        ]
        elsewhere = also_rows(
            self.options, self.measures, self.source, self.sets, self.say, self.failed
        )
        rows = own + elsewhere
        self.write(rows)
        if self.shared is not None:
            self.shared.put_tables()
        if names := self.options.report_to:
            settings = settings_of(self.options, self.measures)
            report_table(rows, self.baseline(rows), self.options.out, settings, names, self.say)
        return rows

    def _report(self, record: EvalRecord, job: Job) -> None:
        """The evaluation of a run; its training has reported itself."""
        if names := self.options.report_to:
            report_record(record, record_file(job.folder / "ckpt.pt"), names, self.say)

    def _asked(self, row: Row, job: Job) -> Row:
        """The row with the answers to this study's questions alone, which are the same for all."""
        own = {
            seed: asked(record, job, self.measures, self.sets)
            for seed, record in row.records.items()
        }
        return replace(row, records=own)

    def write(self, rows: Sequence[Row]) -> None:
        """The tables and figures of the study, in its folder."""
        baseline = self.baseline(rows)
        tried = self.state.trials, self.state.searches
        write_reports(rows, baseline, self.options, self.measures, *tried, self.place)

    def baseline(self, rows: Sequence[Row]) -> Row | None:
        """The row that the others are compared with, if the study has it."""
        return next(
            (row for row in rows if row.label == self.options.baseline and row.records), None
        )

    def _jobs(self, rates: ChoiceOfRates, check: bool) -> list[Job]:
        jobs = jobs_of(self.options, self.measures.ood, rates.best())
        if self.shared is not None:
            self.shared.fetch(jobs)
        if check:
            refuse_other_runs(jobs)
        return jobs

    def _finished(self, jobs: Sequence[Job]) -> dict[str, EvalRecord]:
        return {
            job.name: record
            for job in jobs
            if (self.shared is None or self.shared.kept(job))
            and (record := finished(job, self.measures, self.sets, self.say)) is not None
        }

    def _read_sets(self, job: Job) -> None:
        """Read every data set that will be evaluated on: a missing one stops the study before
        anything is written.
        """
        for target in targets(self.measures, job.config.data, job.config.ood):
            self.sets(target.spec, target.split, job.config.split_seed)

    def _time(self, jobs: Sequence[Job]) -> None:
        """Time the methods that were not timed yet, or as something else, where the runs will be
        made; one that fails here fails again, by name, when it is run.
        """
        untimed = self._untimed(jobs)
        needs = replace(self.where.resources(), processes=1, nodes=1)
        if needs.gpus is not None:
            needs = replace(needs, gpus=min(1, needs.gpus))
        tasks = [
            Task(f"timing {label}", self.timed, (job.config,), needs)
            for label, (job, _) in untimed.items()
        ]
        watch = Progress(parts=len(tasks), every=QUIET_REFRESH)
        for outcome in self._timings(tasks, watch):
            label = outcome.name.removeprefix("timing ")
            if outcome.failure == "user":
                raise UserError(outcome.error)
            if outcome.value is None:
                self.say(f"{label} cannot be timed: {outcome.error}")
            else:
                self.state.probes[label] = outcome.value
                self.state.probed[label] = untimed[label][1]
        watch.clear()
        self.state.save()

    def _untimed(self, jobs: Sequence[Job]) -> dict[str, tuple[Job, str]]:
        """The first run of each method that has no time of its own now, and what its time will
        depend on. What was timed as something else is forgotten.
        """
        first: dict[str, Job] = {}
        for job in jobs:
            first.setdefault(job.label, job)
        found: dict[str, tuple[Job, str]] = {}
        for label, job in first.items():
            now = conditions(job.config, self.where, self.options.workers or 1)
            if self.state.probed.get(label) != now:
                found[label] = job, now
                self.state.probes.pop(label, None)
                self.state.probed.pop(label, None)
        return found

    def _timings(
        self, tasks: Sequence[Task[Timing]], watch: Progress
    ) -> Iterator[TaskOutcome[Timing]]:
        if self.where.engine != "local":
            watch.begin("timing a few steps of each method")
            yield from self.engine.run(tasks)
            return
        for watch.part, task in enumerate(tasks, 1):  # in turn: others would disturb the clock
            watch.begin(task.name)
            yield attempt(task)

    def _expected(self, jobs: Sequence[Job]) -> dict[str, Expected]:
        found, known = {}, self.state.probes
        some = next((known[label] for label in self.options.labels() if label in known), UNKNOWN)
        for job in jobs:
            timed = known.get(job.label, some)
            evaluation = evaluation_seconds(self.measures, job.config, timed.image, self.sets)
            numbers = len(targets(self.measures, job.config.data, job.config.ood))
            found[job.name] = Expected(timed.steps, timed.seconds, evaluation, numbers)
        return found

    def _announce(
        self,
        jobs: Sequence[Job],
        records: Mapping[str, EvalRecord],
        expected: dict[str, Expected],
        trials: Mapping[str, float],
    ) -> None:
        """The plan, with an estimate of time; ``trials`` are steps to find rates, by label."""
        cells: list[list[Cell | str]] = []
        for label in self.options.labels():
            own = [job for job in jobs if job.label == label]
            timed = self.state.probes.get(label)
            cost = f"{timed.cost:.1f}" if timed and timed.steps else "-"
            if stops_early(own[0].config.build_method()):
                cost = f"≤ {cost}"
            done = sum(job.name in records for job in own)
            each = expected[own[0].name]
            cells.append(
                [
                    label,
                    str(len(own)),
                    cost,
                    duration(each.training),
                    duration(each.evaluation),
                    f"{done} finished" if done else "",
                ]
            )
        some = next((job.config for job in jobs if expected[job.name].steps), jobs[0].config)
        steps = max(e.steps for e in expected.values())
        differ = len({e.steps for e in expected.values() if e.steps}) > 1
        plan = Table(["method", "runs", "step, forwards", "training", "evaluation", ""], cells)
        self.say(
            f"{len(jobs)} runs on {some.data} from {some.model}: {'up to ' if differ else ''}{steps} "
            f"steps of {some.batch_size} images each{self._unequal()}\n\n{plan.text(self.width)}"
        )
        first = {job.label: expected[job.name] for job in reversed(jobs)}
        tried = sum(first[row].training * n / max(1, first[row].steps) for row, n in trials.items())
        left = sum(expected[job.name].seconds for job in jobs if job.name not in records) + tried
        if left > 0:
            shared = shared_gpus(self.options) if self.where.engine == "local" else ""
            hours = device_hours(left * self._devices())
            self.say(
                f"\nabout {duration(left / self._at_once(len(jobs)))} to go, {hours} (each method "
                f"was timed for a few steps){shared}\n"
            )
        else:
            self.say("\nevery run is finished: nothing is trained or measured again")

    def _unequal(self) -> str:
        """What methods may differ in, for people."""
        names = self.options.unequal
        return f"; not on equal terms: {', '.join(names)}" if names else ""

    def _rates(self) -> ChoiceOfRates:
        """How this study chooses its learning rates."""
        known = self.options, self.state, self.steps.train
        return choice_of_rates(*known, self._run_all, self.say, self.failed)

    def _at_once(self, jobs: int) -> int:
        """How many runs are made at a time; on this machine as many as there are workers."""
        local = self.where.engine == "local"
        return self.options.workers or 1 if local else self.engine.at_once(jobs)

    def _devices(self) -> float:
        """What each run holds."""
        return devices_of(self.options, self.where)

    def _run_all(
        self,
        jobs: Sequence[Job] | Iterator[Job | None],
        steps: Steps,
        totals: Mapping[str, int] | None = None,
    ) -> Iterator[RunOutcome]:
        """Outcomes of runs that are made here, or, where the study is shared, elsewhere."""

        def make(some: Sequence[Job] | Iterator[Job | None], steps: Steps) -> Iterator[RunOutcome]:
            needs = self.where.resources()
            return run_all(some, self.measures, self.source, self.engine, steps, needs)

        if self.shared is None or not isinstance(jobs, Sequence):
            return make(jobs, steps)
        most = 1 + self.where.resources().retries
        return self.shared.run(jobs, make, steps, self._record_of(steps), totals, most)

    def _record_of(self, steps: Steps) -> Callable[[Job], EvalRecord | None]:
        """What tells whether a run in its folder is finished; a trial is as soon as it is whole."""
        if steps.evaluate is not_evaluated:
            return lambda job: not_evaluated(job.folder, self.measures, self.source)
        return lambda job: finished(job, self.measures, self.sets, self.say)

    def _outcomes(self, jobs: Sequence[Job], expected: dict[str, Expected]) -> Iterator[RunOutcome]:
        with Watch(jobs, expected, self._at_once(len(jobs)), self._devices()) as watch:
            totals = {name: each.steps for name, each in expected.items()}
            for outcome in self._run_all(jobs, self.steps, totals):
                watch.finish(outcome.job)
                done = len(watch.over)
                left = f"   {duration(watch.left())}, {watch.cost()} left"
                left = left if done < len(jobs) else ""
                tell = self.failed if outcome.error else self.say
                tell(f"[{done}/{len(jobs)}] {ended(outcome)}{left}")
                yield outcome


UNKNOWN = Timing(steps=1, setup=0.0, step=0.0, forward=1.0, image=1e-3)
