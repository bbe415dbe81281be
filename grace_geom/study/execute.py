"""The runs of a study: which are finished, one after the other or in parallel, a failure stops only
its own row.
"""

import json
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import harmonic_mean

from grace_geom.checkpoint import trained_on
from grace_geom.config import TrainConfig, stored_settings
from grace_geom.data.prompts import given_templates
from grace_geom.devices import deterministic, visible_gpus
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
from grace_geom.study.estimate import share_threads
from grace_geom.study.options import Job, StudyOptions
from grace_geom.terminal.voice import line, say, voice
from grace_geom.training import train_run

Train = Callable[[TrainConfig], Path]
Evaluate = Callable[[Path, Measures, Source], EvalRecord]


@dataclass(frozen=True)
class Steps:
    """The two things that a job does; tests put others in their place.

    Attributes:
        train: Settings -> run directory; continues a run that was stopped (``resume``).
        evaluate: Run directory -> its record, written as ``eval.json``; numbers that are there are
            kept.
    """

    train: Train
    evaluate: Evaluate


def train_quietly(config: TrainConfig) -> Path:
    """One training run without progress of its own."""
    return train_run(config, quiet=True)


_sets: dict[tuple[Path | None, bool], Sets] = {}


def evaluate_quietly(folder: Path, measures: Measures, source: Source) -> EvalRecord:
    """One evaluation; data sets stay in memory for the next one in this process."""
    key = source.data_root, source.download
    return assess(folder, measures, source, sets=_sets.setdefault(key, Sets(*key)))


REAL = Steps(train_quietly, evaluate_quietly)


@dataclass(frozen=True)
class RunOutcome:
    """How a job ended.

    Attributes:
        job: The job.
        record: Its evaluation, or ``None``.
        error: Why there is none.
    """

    job: Job
    record: EvalRecord | None
    error: str = ""


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
    jobs: Sequence[Job], measures: Measures, source: Source, workers: int = 1, steps: Steps = REAL
) -> Iterator[RunOutcome]:
    """Outcomes as they come; in this process for one worker, else in ``workers`` processes that
    share the cores, and take the GPUs in turn unless the study names one.
    """
    _sets.clear()  # files may have been replaced since they were last read
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield run_job(job, measures, source, steps)
        return
    gpus = spread_over(jobs[0].config.device)

    def process(number: int) -> ProcessPoolExecutor:
        return _process(workers, gpus[number % len(gpus)] if gpus else None)

    slots = {number: process(number) for number in range(workers)}  # a death is its own job's
    waiting = list(jobs)
    running: dict[Future[RunOutcome], tuple[int, Job]] = {}
    try:
        while waiting or running:
            busy = {number for number, _ in running.values()}
            for number in sorted(slots.keys() - busy):
                if waiting:
                    job = waiting.pop(0)
                    running[slots[number].submit(run_job, job, measures, source, steps)] = (
                        number,
                        job,
                    )
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, job = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    slots[number].shutdown()  # its last words are said
                    slots[number] = process(number)
                    yield RunOutcome(job, None, "its process died (out of memory?)")
    finally:
        for slot in slots.values():
            slot.shutdown(wait=True, cancel_futures=True)


def spread_over(device: str) -> tuple[str, ...]:
    """The GPUs that the processes of a study take in turn; none where there are none, or where the
    study names its device.
    """
    return visible_gpus() if device in ("auto", "cuda") else ()


def shared_gpus(options: StudyOptions) -> str:
    """What is said of a study that has more workers than GPUs; empty where there is nothing."""
    workers, gpus = options.workers, len(spread_over(options.device))
    if not 0 < gpus < workers:
        return ""
    where = "the GPU" if gpus == 1 else f"{gpus} GPUs, in turn"
    return f"; {workers} runs at a time share {where}"


class _Process(ProcessPoolExecutor):
    """One process whose output the study says, above the rows that are drawn on its terminal."""

    def __init__(self, workers: int, gpu: str | None) -> None:
        context = multiprocessing.get_context("spawn")  # torch and CUDA do not survive a fork
        heard, self._told = context.Pipe(duplex=False)
        self._relay = threading.Thread(target=_relay, args=(heard,), daemon=True)
        self._relay.start()
        begin = workers, gpu, self._told, voice().quiet
        super().__init__(1, mp_context=context, initializer=_begin, initargs=begin)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the process end, and say the last of its lines."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._told.close()
        if wait:
            self._relay.join()


def _process(workers: int, gpu: str | None) -> ProcessPoolExecutor:
    return _Process(workers, gpu)


def _relay(heard: Connection) -> None:
    """Say what a process prints, line by line; its warnings are the study's. Under ``--quiet`` it
    mutes itself but for those, and what native code prints is heard.
    """
    rest = b""
    while piece := os.read(heard.fileno(), 65536):
        *lines, rest = (rest + piece).split(b"\n")
        for one in lines:
            _tell(one)
    if rest:  # it ended in the middle of a line
        _tell(rest)


def _tell(printed: bytes) -> None:
    text = printed.decode("utf-8", "replace")
    (say if text.startswith("warning: ") else line)(text)


def _begin(
    workers: int, gpu: str | None, told: Connection | None = None, quiet: bool = False
) -> None:
    """First thing in a process of its own: take its GPU and its part of the threads, let the study
    say what it prints, and end when the study does.

    The GPU is the only one that the process sees, so that the record of a run does not depend on
    which of them it was.

    Without the latter a study that was killed would leave its runs going, and the same command
    again would start a second process in their folders.
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA is first used
    voice().quiet, voice().relayed = quiet, told is not None
    if quiet:  # as the study itself does
        warnings.simplefilter("ignore")
    if told is not None:
        for stream in (1, 2):  # stdout is the study's own; native code prints there too
            os.dup2(told.fileno(), stream)
        told.close()
    share_threads(workers)
    if study := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(study,), daemon=True).start()


def _end_with(study: multiprocessing.process.BaseProcess) -> None:
    study.join()
    os._exit(1)  # as the study itself ended: at once; files are written whole or not at all


def training_seconds(folder: Path) -> float | None:
    """Seconds of training over all parts of a run, however often it was stopped, from its
    ``metrics.jsonl``.
    """
    return number(last_record(folder), "seconds")


def held_out_score(folder: Path) -> float | None:
    """The newest held-out ID accuracy of a run; its harmonic mean with that under attack, where one
    was made.
    """
    scores = _held_out(folder)[0]
    return harmonic_mean(list(scores.values())) if scores else None


def held_out_text(folder: Path) -> str:
    """``held-out 62.2 % (n = 819)``; with an attack ``held-out 55.1 %, harmonic mean of clean 70.0
    and PGD-10 45.4 (n = 819 and 500)``; ``no held-out accuracy`` where there is none.
    """
    scores, record = _held_out(folder)
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


def _held_out(folder: Path) -> tuple[dict[str, float], dict[str, object]]:
    """The newest held-out accuracies of a run, clean first, and the record that has them."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for record in map(_parsed, reversed(lines)):
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
