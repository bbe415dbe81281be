"""Analyses of the finished runs of a study, as tasks of an engine: one for each run and analysis,
and one for each analysis that joins its parts into a result.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grace_geom import terminal
from grace_geom.analysis.current import is_current, stored_result
from grace_geom.analysis.named import Joined, PartDone, join, measure_part, options_of
from grace_geom.analysis.options import Common
from grace_geom.analysis.subject import labels_of
from grace_geom.engines import Engine, Resources, Task, TaskOutcome, feed
from grace_geom.errors import Interrupted, UserError, check_known
from grace_geom.files import alone
from grace_geom.known_analyses import ANALYSES
from grace_geom.progress import duration
from grace_geom.records import Result
from grace_geom.study.finished import LaterWork, finished_runs, summary_table
from grace_geom.study.state import Say
from grace_geom.tables import Table

OF_THE_COMMAND = ("checkpoints", "out", "fresh", "device", "data_root", "deterministic")


@dataclass(frozen=True)
class AnalysesOptions(LaterWork):
    """What is analysed.

    Attributes:
        analyses: Analyses to make; default: all.
        set: Options of one analysis, as ANALYSIS.FLAG=VALUE; repeatable.
        n: Number of test images; default: that of each analysis.
    """

    analyses: tuple[str, ...] = ()
    set: dict[str, str] = field(default_factory=dict)
    n: int | None = None

    def chosen(self) -> tuple[str, ...]:
        """The analyses, each once.

        Raises:
            UserError: For one that there is not.
        """
        for name in self.analyses:
            check_known("--analyses:", name, ANALYSES)
        return tuple(dict.fromkeys(self.analyses)) or tuple(ANALYSES)

    def of(self, name: str, files: list[Path]) -> Common:
        """The options of one analysis on all runs.

        Raises:
            UserError: For a flag that it does not have, or a value that does not fit.
        """
        flags = {"out": str(self.study / "analyses"), "device": self.device}
        for flag in ("deterministic", "fresh"):
            flags[flag] = str(getattr(self, flag)).lower()
        if self.data_root is not None:
            flags["data-root"] = str(self.data_root)
        if self.n is not None:
            flags["n"] = str(self.n)
        for key, value in self.set.items():
            analysis, dot, flag = key.partition(".")
            check_known("--set", analysis, ANALYSES)
            if not dot or flag.replace("-", "_") in OF_THE_COMMAND:
                raise UserError(
                    f"--set takes ANALYSIS.FLAG=VALUE, not {key}={value}; flags of the command "
                    f"itself: {', '.join(OF_THE_COMMAND[2:])}"
                )
            if analysis == name:
                flags[flag.replace("_", "-")] = value
        try:
            return options_of(name, files, [f"--{flag}={value}" for flag, value in flags.items()])
        except UserError as error:
            raise UserError(f"{name}: {error}") from None


@dataclass
class AnalysesDone:
    """What became of each analysis of each run.

    Attributes:
        states: (analysis, run) -> in a word: how long it took, ``current`` or ``failed``.
        errors: The same -> why it failed; of all runs together the run is empty.
        results: Analysis -> its JSON file.
        texts: Analysis -> its tables.
    """

    states: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    results: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain types, by analysis, then run."""
        found: dict[str, Any] = {}
        for (name, run), state in self.states.items():
            entry = found.setdefault(name, {"file": str(self.results.get(name, "")), "runs": {}})
            entry["runs"][run] = {"state": state, "error": self.errors.get((name, run), "")}
        return found


@dataclass
class StudyAnalyses:
    """Analyses of a study under way.

    Attributes:
        options: What is analysed.
        engine: Where tasks run.
        resources: What each of them needs.
        say: Where lines for people go.
        failed: Where it is told what failed, and why.
    """

    options: AnalysesOptions
    engine: Engine
    resources: Resources
    say: Say = terminal.say
    failed: Say = terminal.failed

    def __post_init__(self) -> None:
        self.done = AnalysesDone()
        self.folder = self.options.study / "analyses"
        self.plans: dict[str, Common] = {}
        self.files: dict[str, Path] = {}
        self._waiting: list[tuple[str, str]] = []
        self._under_way: dict[str, tuple[str, str]] = {}
        self._due: set[str] = set()  # results to be written
        self._before: dict[str, Result | None] = {}  # what lay there

    def run(self) -> AnalysesDone:
        """Measure what is not known, write the results, and return what became of each.

        Raises:
            UserError: For options that do not fit, a study without finished runs, or another
                process at work on its analyses; before anything is measured.
            Interrupted: Stopped; what was measured is kept.
        """
        runs = finished_runs(self.options.study, self.say)
        labels = labels_of([run.file for run in runs])
        self.files = {label: run.file for label, run in zip(labels, runs, strict=True)}
        shas = {label: run.sha for label, run in zip(labels, runs, strict=True)}
        names = self.options.chosen()
        self.plans = {name: self.options.of(name, list(self.files.values())) for name in names}
        with alone(self.folder, "study's analyses"):
            self._plan(shas)
            total = len(self._waiting)
            if not total and not self._due:
                self.say("every analysis is current: nothing is measured again")
            try:
                for outcome in feed(self.engine, self._supply()):
                    self._note(outcome, total)
            except (Interrupted, KeyboardInterrupt):
                raise Interrupted(
                    f"{total - self._left()} of {total} parts are over, and what was measured is "
                    f"kept in {self.folder}; the same command goes on from here"
                ) from None
            self._settle()
        return self.done

    def table(self) -> Table:
        """One row a run, one column an analysis."""
        return summary_table(list(self.files), list(self.plans), self.done.states)

    def _plan(self, shas: Mapping[str, str]) -> None:
        """Note what is current; the rest waits."""
        for name, options in self.plans.items():
            stored = None if options.fresh else stored_result(self._path(name))
            self._before[name] = stored
            for label, file in self.files.items():
                if is_current(stored, options, file, label, shas[label]):
                    self.done.states[name, label] = "current"
                else:
                    self._waiting.append((name, label))
            if stored is None or stored.parts.keys() - self.files.keys():
                self._due.add(name)

    def _settle(self) -> None:
        """Which results answer: those that were written, and those that said the same before. Of
        what else lies there nothing was touched, and it is said.
        """
        for name in self.plans:
            path = self._path(name)
            if name in self.done.results or not path.is_file():
                continue
            if self._measured(name) and (name, "") not in self.done.errors:
                self.done.results[name] = path
            else:
                self.say(f"warning: {path} is as it was before: an earlier command's result")

    def _supply(self) -> Iterator[Task[PartDone | Joined] | None]:
        """Results whose parts are there, then parts."""
        while self._waiting or self._under_way or self._ripe():
            if name := next(iter(self._ripe()), None):
                self._due.discard(name)
                yield self._task(name, "")
            elif self._waiting:
                yield self._task(*self._waiting.pop(0))
            else:
                yield None

    def _ripe(self) -> list[str]:
        """Analyses whose result is due, and of which every part has ended."""
        open_parts = {name for name, _ in (*self._waiting, *self._under_way.values())}
        due = [name for name in self.plans if name in self._due - open_parts]
        return [name for name in due if self._measured(name)]

    def _left(self) -> int:
        """Parts that have not ended."""
        return sum(bool(run) for _, run in (*self._waiting, *self._under_way.values()))

    def _measured(self, name: str) -> list[str]:
        return [
            label
            for label in self.files
            if self.done.states.get((name, label), "failed") != "failed"
        ]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _says(self, name: str, label: str, why: str) -> bool:
        """Whether the result that lies there says already that a run is not measured, and why."""
        before = self._before[name]
        part = before.parts.get(label) if before is not None else None
        return part is not None and part.not_measured == why

    def _task(self, name: str, label: str) -> Task[PartDone | Joined]:
        """A part; with no label the result of all."""
        title = f"{name} of {label}" if label else f"{name} of all runs"
        self._under_way[title] = name, label
        options = self.plans[name]
        if label:
            one = replace(options, checkpoints=(self.files[label],))
            return Task(title, measure_part, (name, one, label, self.folder), self.resources)
        failed = {
            run: self.done.errors[name, run].splitlines()[0]
            for run in self.files
            if self.done.states[name, run] == "failed"
        }
        return Task(title, join, (name, replace(options, fresh=False), failed), self.resources)

    def _note(self, outcome: TaskOutcome[PartDone | Joined], total: int) -> None:
        name, label = self._under_way.pop(outcome.name)
        value = outcome.value
        for warning in value.warnings if value is not None else ():
            self.say(f"warning: {outcome.name}: {warning}")
        if isinstance(value, Joined):
            self.done.results[name], self.done.texts[name] = value.path, value.text
            return
        count = f"[{total - self._left()}/{total}] " if label else ""
        if value is None:
            self.done.errors[name, label], why = outcome.error, outcome.error.splitlines()[0]
            if label:
                self.done.states[name, label] = "failed"
                if not self._says(name, label, why):  # but an old number, or an old reason
                    self._due.add(name)
            self.failed(f"{count}{outcome.name} failed: {why}")
            return
        self._due.add(name)
        self.done.states[name, label] = "current" if value.known else duration(value.seconds)
        self.say(f"{count}{outcome.name}: {self.done.states[name, label]}")
