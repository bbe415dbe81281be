"""The runs of a study: which are finished, and the others as tasks of an engine; a failure stops
only its own row.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import harmonic_mean

from grace_geom.checkpoint import trained_on
from grace_geom.config import TrainConfig, stored_settings
from grace_geom.data.prompts import given_templates
from grace_geom.devices import deterministic
from grace_geom.engines import Engine, EngineOptions, Resources, Task, feed
from grace_geom.engines.local import spread_over
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import (
    Measures,
    Sets,
    Source,
    Target,
    answer,
    assess,
    image_set_of,
    record_file,
    targets,
)
from grace_geom.files import sha256
from grace_geom.records import Accuracy, EvalRecord
from grace_geom.study.options import Job, StudyOptions
from grace_geom.training import train_run

Train = Callable[[TrainConfig], Path]
Evaluate = Callable[[Path, Measures, Source], EvalRecord]


@dataclass(frozen=True)
class RunOutcome:
    """How a job ended.

    Attributes:
        job: The job.
        record: Its evaluation, or ``None``.
        error: Why there is none.
        held: Another scheduler has it: it was not begun here.
    """

    job: Job
    record: EvalRecord | None
    error: str = ""
    held: bool = False


def simply(job: Job, run: Callable[[], RunOutcome]) -> RunOutcome:
    """The outcome of a run that is nobody else's."""
    return run()


@dataclass(frozen=True)
class Steps:
    """The two things that a job does; tests put others in their place.

    Attributes:
        train: Settings -> run directory; continues a run that was stopped (``resume``).
        evaluate: Run directory -> its record, written as ``eval.json``; numbers that are there are
            kept.
        around: Called with the job and the run, in the process where it is made: returns the run's
            outcome, or its own where the run is another scheduler's.
    """

    train: Train
    evaluate: Evaluate
    around: Callable[[Job, Callable[[], RunOutcome]], RunOutcome] = simply


def train_quietly(config: TrainConfig) -> Path:
    """One training run without progress of its own."""
    return train_run(config, quiet=True)


_sets: dict[tuple[Path | None, bool], Sets] = {}


def evaluate_quietly(folder: Path, measures: Measures, source: Source) -> EvalRecord:
    """One evaluation; data sets stay in memory for the next one in this process."""
    key = source.data_root, source.download
    return assess(folder, measures, source, sets=_sets.setdefault(key, Sets(*key)))


REAL = Steps(train_quietly, evaluate_quietly)
FREE = Resources()


def finished(
    job: Job, measures: Measures, sets: Sets, say: Callable[[str], None] = print
) -> EvalRecord | None:
    """The record of a run whose ``eval.json`` answers every question of ``measures`` on the data as
    they are now.

    ``None`` where it does not, or cannot be read, which is said. The settings were compared when
    the job was made.
    """
    path = record_file(job.folder / "ckpt.pt")
    try:
        if not (
            path.is_file() and stored_settings(job.folder) and (job.folder / "ckpt.pt").is_file()
        ):
            return None
        record = EvalRecord.load(path)
    except UserError as error:
        say(f"{job.name}: {error}")
        return None
    if record.settings.get("eval_seed") != measures.eval_seed or record.checkpoint != sha256(
        job.folder / "ckpt.pt"
    ):
        return None
    try:
        trained_on(job.folder / "ckpt.pt")
    except UserError:  # damaged: the run says so when it is continued
        return None
    wanted = targets(measures, job.config.data, job.config.ood)
    return (
        record
        if all(_answer(record, target, job, measures, sets) is not None for target in wanted)
        else None
    )


def asked(record: EvalRecord, job: Job, measures: Measures, sets: Sets) -> EvalRecord:
    """The record with nothing but the answers to the study's questions: a run may have been
    measured on more sets, and a mean over those would be compared with the means over the study's.
    """
    wanted = targets(measures, job.config.data, job.config.ood)
    found = [_answer(record, target, job, measures, sets) for target in wanted]
    return replace(record, accuracies=tuple(a for a in found if a is not None)).summed()


def _answer(
    record: EvalRecord, target: Target, job: Job, measures: Measures, sets: Sets
) -> Accuracy | None:
    config = job.config
    given = given_templates(config.templates)[1] if config.templates else None
    run = trained_on(job.folder / "ckpt.pt")
    image_set = image_set_of(target, measures, sets, vars(config), given, run)
    return answer(record.accuracies, target, measures.eval_seed, image_set)


def run_job(job: Job, measures: Measures, source: Source, steps: Steps) -> RunOutcome:
    """Train (or continue) and evaluate; any error of this run becomes its outcome.

    Raises:
        Interrupted, KeyboardInterrupt: Only these pass through.
    """
    return steps.around(job, lambda: _run_job(job, measures, source, steps))


def _run_job(job: Job, measures: Measures, source: Source, steps: Steps) -> RunOutcome:
    try:
        started = bool(stored_settings(job.folder))
        with deterministic(job.config.deterministic):
            folder = steps.train(replace(job.config, resume=started))
            return RunOutcome(job, steps.evaluate(folder, measures, source))
    except Interrupted:
        raise
    except UserError as error:
        return RunOutcome(job, None, str(error))
    except Exception as error:  # a fault in one method must not cost the others
        return RunOutcome(job, None, f"{type(error).__name__}: {error}")


def run_all(
    jobs: Sequence[Job] | Iterator[Job | None],
    measures: Measures,
    source: Source,
    engine: Engine,
    steps: Steps = REAL,
    resources: Resources = FREE,
) -> Iterator[RunOutcome]:
    """Outcomes as they come.

    Args:
        jobs: What is run. Of an iterator each is taken when there is room for it, after the caller
            has had the outcomes before; ``None``: nothing is ready until another job has ended.
        measures: What is measured of each run.
        source: Where data come from.
        engine: Where the jobs run.
        steps: How a run is trained and evaluated.
        resources: What each run needs.
    """
    _sets.clear()  # files may have been replaced since they were last read
    by_name: dict[str, Job] = {}

    def task(job: Job) -> Task[RunOutcome]:
        by_name[job.name] = job
        return Task(job.name, run_job, (job, measures, source, steps), resources)

    if isinstance(jobs, Sequence):
        outcomes = engine.run([task(job) for job in jobs])
    else:
        outcomes = feed(engine, (task(job) if job is not None else None for job in jobs))
    for outcome in outcomes:
        yield outcome.value or RunOutcome(by_name[outcome.name], None, outcome.error)


def shared_gpus(options: StudyOptions) -> str:
    """What is said of a study that has more workers than GPUs; empty where there is nothing."""
    workers, gpus = options.workers or 1, len(spread_over(options.device))
    if not 0 < gpus < workers:
        return ""
    where = "the GPU" if gpus == 1 else f"{gpus} GPUs, in turn"
    return f"; {workers} runs at a time share {where}"


def devices_of(options: StudyOptions, where: EngineOptions) -> float:
    """Devices that a run holds, for its cost: its GPUs, or its part of one that it shares; 1 on
    CPUs, and where the engine gives what it has.
    """
    if where.gpus_per_run:
        return where.gpus_per_run
    workers, gpus = options.workers or 1, len(spread_over(options.device))
    shared = where.engine == "local" and 0 < gpus < workers
    return gpus / workers if shared else 1.0


def training_seconds(folder: Path) -> float | None:
    """Seconds of training over all parts of a run, however often it was stopped, from its
    ``metrics.jsonl``.
    """
    return number(last_record(folder), "seconds")


def held_out_score(folder: Path, step: int | None = None) -> float | None:
    """The newest held-out ID accuracy of a run, or that after a step; its harmonic mean with that
    under attack, where one was made.
    """
    scores = _held_out(folder, step)[0]
    return harmonic_mean(list(scores.values())) if scores else None


def held_out_text(folder: Path, step: int | None = None) -> str:
    """``held-out 62.2 % (n = 819)``; with an attack ``held-out 55.1 %, harmonic mean of clean 70.0
    and PGD-10 45.4 (n = 819 and 500)``; ``no held-out accuracy`` where there is none.
    """
    scores, record = _held_out(folder, step)
    if not scores:
        return "no held-out accuracy"
    counts = [number(record, key) for key in ("val_n", "val_pgd_n")][: len(scores)]
    n = " and ".join(f"{count:.0f}" for count in counts if count is not None)
    shown = f" (n = {n})" if n else ""
    whole = f"held-out {100 * harmonic_mean(list(scores.values())):.1f} %"
    if len(scores) == 1:
        return f"{whole}{shown}"
    clean, attacked = (100 * score for score in scores.values())
    return f"{whole}, harmonic mean of clean {clean:.1f} and PGD-10 {attacked:.1f}{shown}"


def held_out_images(folder: Path, step: int | None = None) -> int | None:
    """How many images the held-out accuracy of a run, or that after a step, rests on; ``None``
    where nothing says it.
    """
    n = number(_held_out(folder, step)[1], "val_n")
    return None if n is None else round(n)


def _held_out(folder: Path, step: int | None) -> tuple[dict[str, float], dict[str, object]]:
    """The newest held-out accuracies of a run, clean first, and the record that has them."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for record in map(_parsed, reversed(lines)):
        if step is not None and record.get("step") != step:
            continue
        scores = {k: number(record, k) for k in ("val_acc", "val_acc_pgd") if k in record}
        known: dict[str, float] = {
            key: x for key, x in scores.items() if x is not None and 0 <= x <= 1
        }
        if "val_acc" in record and len(known) == len(scores):
            return known, record
    return {}, {}


def number(record: Mapping[str, object], key: str) -> float | None:
    """A finite number of a record; ``None`` where it has none."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        return None
    return None if value != value else float(value)


def last_record(folder: Path, tail: int = 8192) -> dict[str, object]:
    """Last whole line of ``metrics.jsonl``; empty where there is none. Reads the end of the file
    only.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return {}
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - tail))
        lines = file.read().splitlines()
    return next((record for line in reversed(lines) if (record := _parsed(line))), {})


def _parsed(line: bytes) -> dict[str, object]:
    """A record; empty for half a line of a file that is being written."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
