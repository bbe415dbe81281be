"""Which learning rates a study takes: it tries a grid, or searches, before its runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from grace_geom.config import TrainConfig, stored_settings
from grace_geom.errors import UserError
from grace_geom.evaluation import Measures, Source
from grace_geom.methods import method_class
from grace_geom.progress import Progress
from grace_geom.records import EvalRecord
from grace_geom.records.statistics import FEW, half_width
from grace_geom.study.execute import (
    RunOutcome,
    Steps,
    Train,
    held_out_images,
    held_out_score,
    held_out_text,
)
from grace_geom.study.halving import RateTrial
from grace_geom.study.options import Job, StudyOptions, for_all
from grace_geom.study.rate_tables import edges, search_notes
from grace_geom.study.sampler import check_optuna
from grace_geom.study.search import RateSearch, ToRung, new_search, rung_config
from grace_geom.study.state import Say, StudyState
from grace_geom.study.trials import as_jobs, best_rate, trials_of
from grace_geom.study.watch import QUIET_REFRESH
from grace_geom.training.data import where_began
from grace_geom.training.sentences import more_held_out

Runs = Callable[[Sequence[Job] | Iterator[Job | None], Steps], Iterator[RunOutcome]]
"""Jobs and what each does -> outcomes as they come. ``None`` among the jobs: ask again after the
next outcome."""


@dataclass
class Rates:
    """What every way to choose rates has.

    Attributes:
        options: The study.
        state: What it remembers.
        train: Trains a run.
        run: Runs jobs.
        say: Where lines for people go.
        failed: Where it is told which trial failed, and why.
        warned: Whether it was said that held-out images are few.
    """

    options: StudyOptions
    state: StudyState
    train: Train
    run: Runs
    say: Say
    failed: Say
    warned: bool = field(default=False, init=False)

    def warn_of_few(self, folder: Path, step: int | None = None) -> None:
        """Say once that the held-out images of a trial are too few to tell rates apart."""
        n = held_out_images(folder, step)
        if n is None or n >= FEW or self.warned:
            return
        self.warned = True
        kept = stored_settings(folder)
        how = str(where_began(folder, "data", "val", "how"))
        self.say(
            f"warning: learning rates are chosen on {n} held-out images, which tell an accuracy to "
            f"±{100 * half_width(n):.0f} points (95 %): which rate is best is largely chance; "
            f"{more_held_out(n, kept['val_images'], kept['val_fraction'], how, _set_for_all)}"
        )

    @property
    def steps(self) -> dict[str, int]:
        """Optimiser steps of a whole run, by label."""
        known = self.state.probes
        return {label: known[label].steps for label in self.options.labels() if label in known}


def _set_for_all(name: str, value: float) -> str:
    return f"{name} (now {value:g}; {for_all(name)} for every method)"


class ChoiceOfRates(Protocol):
    """How a study chooses its learning rates."""

    def jobs(self) -> list[Job]:
        """Trials that are known so far."""

    def missing(self) -> bool:
        """Whether rates are to be tried."""

    def left(self) -> dict[str, float]:
        """What is still to be trained, in steps, by label."""

    def best(self) -> dict[str, float]:
        """The rate of each row that was tried and did not fail."""

    def notes(self) -> list[str]:
        """What a reader of the table should know."""

    def try_them(self) -> None:
        """Try what is missing, and take note of each trial once it is over."""


class RecordedRates(Rates):
    """Nothing is tried."""

    def jobs(self) -> list[Job]:
        """None."""
        return []

    def missing(self) -> bool:
        """Never."""
        return False

    def left(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def best(self) -> dict[str, float]:
        """None was looked for."""
        return {}

    def notes(self) -> list[str]:
        """What earlier trials in this folder told."""
        return edges(self.state.trials)

    def try_them(self) -> None:
        """Nothing to do."""


class GridRates(Rates):
    """The same grid for every method."""

    def jobs(self) -> list[Job]:
        """See :class:`ChoiceOfRates`."""
        return as_jobs(trials_of(self.options, self.steps, self.state.trials))

    def missing(self) -> bool:
        """See :class:`ChoiceOfRates`."""
        return bool(self._wanted())

    def left(self) -> dict[str, float]:
        """See :class:`ChoiceOfRates`."""
        share = self.options.trial_share
        return {
            label: share * self.steps.get(label, 1) * len(wanted)
            for label, wanted in self._wanted().items()
        }

    def best(self) -> dict[str, float]:
        """See :class:`ChoiceOfRates`."""
        found = {label: best_rate(tried) for label, tried in self.state.trials.items()}
        return {label: rate for label, rate in found.items() if rate is not None}

    def notes(self) -> list[str]:
        """See :class:`ChoiceOfRates`."""
        return edges(self.state.trials)

    def try_them(self) -> None:
        """In rounds: a second one where grids are extended."""
        while wanted := self._wanted():
            self._round(wanted)

    def _wanted(self) -> dict[str, dict[float, TrainConfig]]:
        """Trials that were not made yet."""
        done = self.state.trials
        every = trials_of(self.options, self.steps, done)
        left = {
            label: {r: c for r, c in trials.items() if f"{r:.6g}" not in done.get(label, {})}
            for label, trials in every.items()
        }
        return {label: trials for label, trials in left.items() if trials}

    def _round(self, wanted: Mapping[str, Mapping[float, TrainConfig]]) -> None:
        """Short runs with each rate of the grid; the held-out score is noted."""
        jobs = as_jobs(wanted)
        rates = {
            c.run_dir.name: (label, rate)
            for label, trials in wanted.items()
            for rate, c in trials.items()
        }
        watch = Progress(len(jobs), stage="trials of learning rates", every=QUIET_REFRESH)
        watch.draw()
        for outcome in self.run(jobs, Steps(self.train, not_evaluated)):
            watch.step(0)
            label, rate = rates[outcome.job.name]
            score = None if outcome.error else held_out_score(outcome.job.folder)
            self.state.trials.setdefault(label, {})[f"{rate:.6g}"] = score
            self.state.save()
            tell = self.failed if outcome.error else self.say
            shown = outcome.error or held_out_text(outcome.job.folder)
            tell(f"trial {label} at lr {rate:.3g}: {shown}")
            self.warn_of_few(outcome.job.folder)
        watch.clear()


class SearchedRates(Rates):
    """A search of its own for every method, on the same budget."""

    def jobs(self) -> list[Job]:
        """See :class:`ChoiceOfRates`."""
        self._prepare()
        return [
            self._job(label, trial)
            for label in self._labels()
            for trial in self.state.searches[label].halving.trials
        ]

    def missing(self) -> bool:
        """See :class:`ChoiceOfRates`."""
        labels, found = self._labels(), self.state.searches
        if all(label in found and found[label].halving.over for label in labels):
            return False
        check_optuna()  # before anything is timed
        return True

    def left(self) -> dict[str, float]:
        """See :class:`ChoiceOfRates`."""
        self._prepare()
        return {
            label: float(max(0, search.halving.ladder.budget - search.halving.steps))
            for label, search in self.state.searches.items()
            if not search.halving.over
        }

    def best(self) -> dict[str, float]:
        """See :class:`ChoiceOfRates`."""
        found = {label: s.halving.best() for label, s in self.state.searches.items()}
        return {label: trial.lr for label, trial in found.items() if trial is not None}

    def notes(self) -> list[str]:
        """See :class:`ChoiceOfRates`."""
        return search_notes(self.state.searches)

    def try_them(self) -> None:
        """See :class:`ChoiceOfRates`; a rung does not wait for its last trial."""
        self._prepare()
        labels = self._labels()
        total = sum(sum(self.state.searches[label].halving.ladder.places) for label in labels)
        done = sum(self.state.searches[label].halving.sent for label in labels)
        watch = Progress(total, done=done, stage="search for learning rates", every=QUIET_REFRESH)
        watch.draw()
        places: dict[str, tuple[str, RateTrial]] = {}
        steps = Steps(ToRung(self.train), not_evaluated)
        for outcome in self.run(self._supply(places), steps):
            watch.step(0)
            self._note(outcome, *places.pop(outcome.job.name))
        watch.clear()
        if self.missing():
            raise RuntimeError("the search ended before its trials did")

    def _supply(self, places: dict[str, tuple[str, RateTrial]]) -> Iterator[Job | None]:
        """The next job of the first method that has one, as long as any is not over."""
        searches = {label: self.state.searches[label] for label in self._labels()}
        while not all(search.halving.over for search in searches.values()):
            for label, search in searches.items():
                if (sent := self._send(search)) is not None:
                    self.state.save()  # the rate of a trial is known before it costs anything
                    job = self._job(label, sent)
                    places[job.name] = label, sent
                    yield job
                    break
            else:
                yield None

    def _send(self, search: RateSearch) -> RateTrial | None:
        """The next trial, on its way."""
        if (found := search.halving.next()) is None:
            return None
        trial = found[0] or search.begin()
        trial.rung = found[1]
        search.halving.busy.add(search.halving.trials.index(trial))
        return trial

    def _note(self, outcome: RunOutcome, label: str, trial: RateTrial) -> None:
        halving = self.state.searches[label].halving
        halving.busy.discard(halving.trials.index(trial))
        step = halving.ladder.steps[trial.rung]
        score = None if outcome.error else held_out_score(outcome.job.folder, step)
        if score is None:
            trial.error = outcome.error or f"it has no held-out score at step {step}"
        else:
            trial.scores.append(score)
        self.state.save()
        tell = self.failed if trial.error else self.say
        shown = trial.error or held_out_text(outcome.job.folder, step)
        tell(f"trial {label} at lr {trial.lr:.3g}, step {step}: {shown}")
        self.warn_of_few(outcome.job.folder, step)

    def _labels(self) -> list[str]:
        return [
            label for label in self.options.labels() if method_class(label.partition(":")[0]).trains
        ]

    def _prepare(self) -> None:
        """A search for every row that trains.

        Raises:
            UserError: If this folder holds a search of another kind.
        """
        for label in self._labels():
            new = new_search(self.options, label, self.steps)
            known = self.state.searches.setdefault(label, new)
            if known.same != new.same:
                raise UserError(
                    f"{self.state.path}: the rates of {label} were searched otherwise "
                    f"({_search_text(known)}; now {_search_text(new)}). Choose another --out, or "
                    "the same --lr-trials, --lr-range and --trial-share"
                )

    def _job(self, label: str, trial: RateTrial) -> Job:
        config = rung_config(self.options, label, self.state.searches[label], trial)
        return Job(label, config.seed, config)


def _search_text(search: RateSearch) -> str:
    where = search.where
    return f"{where.low:.3g} to {where.high:.3g}, {search.halving.ladder.text()}"


def choice_of_rates(
    options: StudyOptions, state: StudyState, train: Train, run: Runs, say: Say, failed: Say
) -> ChoiceOfRates:
    """How this study chooses its learning rates.

    Args:
        options: The study.
        state: What it remembers.
        train: Trains a run.
        run: Runs jobs.
        say: Where lines for people go.
        failed: Where it is told which trial failed.
    """
    kinds = {"asha": SearchedRates, "off": RecordedRates if options.lr_grid == "off" else GridRates}
    return kinds[options.lr_search](options, state, train, run, say, failed)


def not_evaluated(folder: Path, measures: Measures, source: Source) -> EvalRecord:
    """The empty record of a trial, of which only the held-out score counts."""
    return EvalRecord("", folder.name, "", None, {}, ())
