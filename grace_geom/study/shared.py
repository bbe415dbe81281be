"""A study whose runs lie in a store: each is claimed, made in a local folder, put whole, and read
by whoever else works on the study.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import filelock
import msgspec

from grace_geom.engines import EngineOptions
from grace_geom.errors import UserError
from grace_geom.files import cache_dir, write_text
from grace_geom.records import EvalRecord
from grace_geom.store import (
    DONE,
    FAILED,
    NOBODY,
    PLAN,
    STOPPED,
    TRIES,
    Claim,
    ClaimState,
    Patience,
    SeenClaim,
    Store,
    StoredFile,
    TakenError,
    base_of,
    newest_versions,
    protocol_of,
    version_of,
    versioned,
)
from grace_geom.study import parts
from grace_geom.study.claimant import note_of, owner
from grace_geom.study.execute import RunOutcome, Steps
from grace_geom.study.options import Job, StudyOptions, refuse_other_runs
from grace_geom.terminal.voice import warn

LEASE = 120.0
"""Seconds after which a dead worker's run is another's."""
COPY_OF = ".stored"
"""File in a run directory that says which upload it is the same as."""
MORE = "+"
"""Before the name of the upload where the directory has more by now, which was not put yet."""
TABLES = "tables"
PLACES = 64

Run = Callable[[], RunOutcome]
Make = Callable[[Sequence[Job], Steps], Iterator[RunOutcome]]


@dataclass(frozen=True)
class Claimed:
    """Around a run, in whichever process it is made: claim it, make it, put it.

    Attributes:
        store: Where to.
        names: What the store calls each job's run.
        after: The claims that have ended or expired, by that name.
        lease: Seconds.
        totals: Optimiser steps of each job's run, for those who watch.
    """

    store: Store
    names: Mapping[str, str]
    after: Mapping[str, SeenClaim]
    lease: float
    totals: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, job: Job, run: Run) -> RunOutcome:
        """The outcome of the run; one that is ``held`` where another scheduler has it."""
        name = self.names[job.name]
        after = self.after.get(name, NOBODY)

        def note() -> dict[str, Any]:
            return note_of(job, self.totals.get(job.name, 0))

        try:
            claim = self.store.claim(name, owner(), self.lease, after, note)
            if claim is None:
                return RunOutcome(job, None, held=True)
            return self._made(job, name, claim, run)
        except UserError as error:  # of the store: a run says its own in its outcome
            return RunOutcome(job, None, str(error))

    def _made(self, job: Job, name: str, claim: Claim, run: Run) -> RunOutcome:
        how, why = STOPPED, ""
        try:
            parts.take_newest(self.store, name, job.folder)
            mark = job.folder / COPY_OF
            if mark.is_file():  # more is measured of it
                write_text(mark, f"{MORE}{mark.read_text().removeprefix(MORE)}")
            with parts.PartKeeper(
                self.store, name, claim.number, job.folder, lambda: claim.held
            ) as keeper:
                try:
                    outcome = run()
                except BaseException:  # by the user: another machine may go on
                    try:
                        keeper.put()
                    except UserError as error:
                        warn(f"{name}: its state was not put: {error}")
                    raise
            how, why = (DONE, "") if outcome.record is not None else (FAILED, outcome.error)
            if how == DONE:
                self._put(job, name)
            return outcome
        except TakenError:
            return RunOutcome(job, None, held=True)
        except UserError as error:
            how, why = FAILED, str(error)
            raise
        finally:
            try:
                claim.release(how, why)
            except UserError as error:
                warn(f"{name} stays claimed until its lease of {self.lease:g} s is over: {error}")

    def _put(self, job: Job, name: str) -> None:
        known: dict[str, StoredFile] = {}
        for version in range(1, version_of(name)):  # measured before: its checkpoint is there
            known |= self.store.manifest(versioned(base_of(name), version)).files
        manifest = self.store.put_folder(
            job.folder, name, {f"{i}": file for i, file in enumerate(known.values())}
        )
        write_text(job.folder / COPY_OF, manifest.prefix)
        parts.drop_all(self.store, name)


@dataclass
class SharedStudy:
    """A study that several schedulers work on, over one store.

    Attributes:
        store: Where runs and tables lie.
        out: The local folder in which they are made.
        lease: Seconds after which a claim that shows no sign of life is another's.
        say: Where lines for people go.
    """

    store: Store
    out: Path
    lease: float = LEASE
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.patience = Patience()
        self._told: set[tuple[str, int]] = set()
        self._begun = {
            name: state.number if state.end else state.number - 1
            for name, state in self.store.claims().items()
        }
        self.store.objects.tries = TRIES  # it has answered: the address is right

    def fetch(self, jobs: Sequence[Job]) -> None:
        """Bring the newest whole version of each run to this machine, unless it is here."""
        newest = self._newest()
        for job in jobs:
            if version := newest.get(self._base(job)):
                self._bring(job, versioned(self._base(job), version))

    def kept(self, job: Job) -> bool:
        """Whether what the run's local folder holds is in the store, too."""
        mark = job.folder / COPY_OF
        return mark.is_file() and not mark.read_text().startswith(MORE)

    def plan(self, seconds: Mapping[str, float], devices: float = 1.0) -> None:
        """Tell who watches the store which runs the study has, and what each is expected to take.

        Args:
            seconds: By run.
            devices: That each run holds.
        """
        plan = {"seconds": dict(seconds), "devices": devices}
        self.store.objects.write(PLAN, msgspec.json.format(msgspec.json.encode(plan), indent=1))

    def run(
        self,
        jobs: Sequence[Job],
        make: Make,
        steps: Steps,
        finished: Callable[[Job], EvalRecord | None],
        totals: Mapping[str, int] | None = None,
        most: int = 1,
    ) -> Iterator[RunOutcome]:
        """Outcomes as they come, of runs that are made here or elsewhere.

        Args:
            jobs: What is not finished.
            make: Runs some jobs, with these steps.
            steps: How a run is made.
            finished: The record of a run in its local folder that answers the study's questions.
            totals: Optimiser steps by job.
            most: How often a run is begun on this machine that dies without a word.
        """
        died = dict.fromkeys((job.name for job in jobs), 0)
        wanted = {job.name: 1 for job in jobs}
        waiting = {job.name: job for job in jobs}
        while waiting:
            newest, states = self._look()
            ready: list[Job] = []
            for job in list(waiting.values()):
                if newest.get(self._base(job), 0) >= wanted[job.name]:
                    self.fetch([job])
                    refuse_other_runs([job])
                    if self.kept(job) and (record := finished(job)) is not None:
                        yield RunOutcome(waiting.pop(job.name), record)
                        continue
                    wanted[job.name] = newest[self._base(job)] + 1
                state = states.get(versioned(self._base(job), wanted[job.name]))
                if error := self._failed(state):
                    yield RunOutcome(waiting.pop(job.name), None, error)
                elif state is None or self.patience.over(state):
                    here = state is not None and state.record.host == socket.gethostname()
                    if here and died[job.name] >= most:
                        waiting.pop(job.name)
                        yield RunOutcome(job, None, f"it died {most} times and left no word")
                        continue
                    ready.append(job)
                else:
                    self._tell(state)
            names = {job.name: versioned(self._base(job), wanted[job.name]) for job in ready}
            after = {name: states[name].seen for name in names.values() if name in states}
            around = Claimed(self.store, names, after, self.lease, totals or {})
            for outcome in make(ready, replace(steps, around=around)) if ready else ():
                if outcome.held:
                    died[outcome.job.name] += 1
                else:
                    if outcome.record is not None:
                        self.fetch([outcome.job])  # made on another machine
                    del waiting[outcome.job.name]
                    yield outcome
            if waiting and not ready:
                time.sleep(self.lease / 20)

    def put_tables(self) -> None:
        """Put what lies beside the runs: tables, figures, evaluations of other checkpoints. Nothing
        where that is what the store has.
        """
        with TemporaryDirectory(dir=self.out, prefix=".tables.") as temporary:
            here = Path(temporary)
            for path in [*self.out.glob("*"), *self.out.glob("also/*")]:
                own = path.name.startswith(".") or path.name == "study.json"  # costs here
                if path.is_file() and not own:
                    target = here / path.relative_to(self.out)
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(path.read_bytes())
            while True:
                version = self._newest().get(TABLES, 0)
                if version and self._same(here, versioned(TABLES, version)):
                    return
                try:
                    self.store.put_folder(here, versioned(TABLES, version + 1))
                    return
                except TakenError:  # another scheduler's, at the same moment
                    continue

    def _same(self, here: Path, name: str) -> bool:
        there = {path: file.sha256 for path, file in self.store.manifest(name).files.items()}
        return there == {
            path.relative_to(here).as_posix(): sha256(path.read_bytes()).hexdigest()
            for path in here.rglob("*")
            if path.is_file()
        }

    def _look(self) -> tuple[dict[str, int], dict[str, ClaimState]]:
        """What is whole and who has what. While the store was away nobody could show a sign of
        life: leases are watched anew.
        """
        missed = self.store.objects.missed
        found = self._newest(), self.store.claims()
        if self.store.objects.missed != missed:
            self.patience = Patience()
        return found

    def _base(self, job: Job) -> str:
        return job.folder.relative_to(self.out).as_posix()

    def _newest(self) -> dict[str, int]:
        return newest_versions(self.store.names())

    def _bring(self, job: Job, name: str) -> None:
        manifest, mark = self.store.manifest(name), job.folder / COPY_OF
        if not (mark.is_file() and mark.read_text().removeprefix(MORE) == manifest.prefix):
            self.store.get_folder(name, job.folder, replace=True)
            write_text(mark, manifest.prefix)

    def _failed(self, state: ClaimState | None) -> str:
        """Why a run failed elsewhere since this scheduler began; a new start tries it again."""
        if state is None or state.end is None or state.end.how != FAILED:
            return ""
        if state.number <= self._begun.get(state.name, 0):
            return ""
        return f"on {state.record.host}: {state.end.why}"

    def _tell(self, state: ClaimState) -> None:
        if (state.name, state.number) not in self._told:
            self._told.add((state.name, state.number))
            record = state.record
            self.say(f"{state.name}: {record.owner} has it since {record.since}; waiting for it")


@contextmanager
def working_folder(store: Store) -> Iterator[Path]:
    """A folder of this machine for the runs of a store, the same again for the next start; another
    one for a second scheduler at the same time.

    Raises:
        UserError: If all are in use, or the cache cannot be written.
    """
    place = cache_dir() / "studies" / sha256(store.url.encode()).hexdigest()[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}") from error
    for i in range(1, PLACES + 1):
        lock = filelock.FileLock(place / f"{i}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            continue
        try:
            yield place / f"{i}"
        finally:
            lock.release()
        return
    raise UserError(f"{PLACES} schedulers work on {store.url} on this machine already")


@contextmanager
def opened(
    options: StudyOptions,
    say: Callable[[str], None] = print,
    *,
    alone: bool = True,
    where: EngineOptions | None = None,
) -> Iterator[tuple[StudyOptions, SharedStudy | None]]:
    """The options with a local folder in place of an address, and the store there; a study in a
    plain folder is nobody else's.

    Args:
        options: The study.
        say: Where lines for people go.
        alone: Whether all runs are made in this process.
        where: The engine.

    Raises:
        UserError: If the address is no store, or a memory that other processes do not see; if
            rates are to be searched there, a run is of several processes, or SLURM makes the runs.
    """
    if not protocol_of(str(options.out)):
        yield options, None
        return
    if options.lr_search != "off":
        raise UserError(
            f"--lr-search {options.lr_search} makes its trials on one machine: search with --out "
            f"FOLDER and give --out {options.out} the rates (--set METHOD.lr=RATE), or take "
            "--lr-grid search"
        )
    where = where or EngineOptions()
    if where.engine == "slurm":
        raise UserError(
            f"--engine slurm and --out {options.out}: give --out a folder on the disk that the "
            "cluster's machines share"
        )
    needs = where.resources()
    if needs.processes * needs.nodes > 1:
        raise UserError(
            f"--out {options.out}: the runs of a shared study have one process each; give a run "
            "one GPU and one machine, or --out a folder"
        )
    store = Store(options.out)
    if store.objects.protocol == "memory" and not alone:
        raise UserError(
            f"--out {store.url} is the memory of one process: --engine local --workers 1"
        )
    with working_folder(store) as folder:
        yield replace(options, out=folder), SharedStudy(store, folder, say=say)
