"""The search for one method's learning rate: range, rungs, and how its trials train.

The schedule of every trial is that of the longest rung. A trial that goes on continues the same run
from its checkpoint, so that the rates of its steps are those of a run that was never stopped.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from grace_geom.checkpoint import load_checkpoint
from grace_geom.config import TrainConfig, make_config
from grace_geom.errors import StopReached, UserError
from grace_geom.files import folder_name
from grace_geom.study.execute import Train, held_out_score
from grace_geom.study.halving import Halving, RateTrial, at_an_edge, ladder
from grace_geom.study.options import StudyOptions, settings_of
from grace_geom.study.sampler import RateRange, next_rate, rounded


@dataclass
class RateSearch:
    """A method's search, under way or over.

    Attributes:
        where: The range of rates.
        halving: Its trials.
    """

    where: RateRange
    halving: Halving

    def begin(self) -> RateTrial:
        """A new trial, at the rate that the sampler proposes."""
        trial = RateTrial(next_rate(self.where, self.halving.trials))
        self.halving.trials.append(trial)
        return trial

    @property
    def same(self) -> tuple[object, ...]:
        """What two searches have in common whose trials may be mixed."""
        return self.where, self.halving.ladder

    def edge(self) -> str:
        """``smallest`` or ``largest`` where the best rate lies at an end of the range."""
        best = self.halving.best()
        return at_an_edge(best.lr, self.where.low, self.where.high) if best else ""

    def plain(self) -> dict[str, Any]:
        """All of it as plain types, with the steps that it spent."""
        rungs, best = self.halving.ladder, self.halving.best()
        return {
            "low": self.where.low,
            "high": self.where.high,
            "seed": self.where.seed,
            "rungs": list(rungs.steps),
            "places": list(rungs.places),
            "budget": rungs.budget,
            "steps": self.halving.steps,
            "best": best.lr if best else None,
            "trials": [asdict(trial) for trial in self.halving.trials],
        }


def new_search(options: StudyOptions, label: str, steps: Mapping[str, int]) -> RateSearch:
    """A search around the recorded rate of a row, or the one that is set.

    Args:
        options: The study.
        label: The row.
        steps: Optimiser steps of a whole run, by label; rows on equal terms have the same.
    """
    centre = trial_config(options, label, None, 1, 0).build_method().lr
    run = steps.get(label) or max(steps.values(), default=1)
    longest = max(1, round(options.trial_share * run))
    low, high = rounded(centre / options.lr_range), rounded(centre * options.lr_range)
    where = RateRange(low, high, options.lr_trials, options.seeds[0])
    return RateSearch(where, Halving(ladder(options.lr_trials, longest)))


def rung_config(
    options: StudyOptions, label: str, search: RateSearch, trial: RateTrial
) -> TrainConfig:
    """The run of a trial up to the rung that it was sent to."""
    number, steps = search.halving.trials.index(trial), search.halving.ladder.steps
    config = trial_config(options, label, trial.lr, steps[-1], number)
    stop = steps[trial.rung]
    return replace(config, eval_at=steps[:-1], stop_after=stop if stop < steps[-1] else None)


def trial_config(
    options: StudyOptions, label: str, lr: float | None, longest: int, number: int
) -> TrainConfig:
    """A run whose schedule ends at the longest rung; held-out images are looked at where a rung
    ends only, and under attack where the method trains for that.
    """
    values = settings_of(options, label, options.seeds[0])
    name = f"{folder_name(label)}-asha{number}" + (f"-lr{lr:.3g}" if lr is not None else "")
    values |= {"max_steps": longest, "epochs": None, "out": options.out / "trials" / name}
    values |= {"report_to": (), **({"lr": lr} if lr is not None else {})}
    config = make_config(values, f"--methods {label}")
    attacked = "eps" in {f.name for f in fields(config.build_method())}
    return replace(config, eval_every=0, val_pgd=10 * attacked)


@dataclass(frozen=True)
class ToRung:
    """Trains a trial to the end of its rung, where it pauses.

    Attributes:
        train: Settings -> run directory, as of whole runs.
    """

    train: Train

    def __call__(self, config: TrainConfig) -> Path:
        """The run directory; nothing is trained that was trained before.

        Raises:
            Interrupted: Stopped by the user.
        """
        folder = config.run_dir
        if config.stop_after is not None and _reached(folder, config.stop_after):
            return folder
        try:
            return self.train(config)
        except StopReached:
            return folder


def _reached(folder: Path, step: int) -> bool:
    """Whether a trial stands at the end of this rung: its study was killed before it took note."""
    if held_out_score(folder, step) is None:
        return False
    try:
        return load_checkpoint(folder / "ckpt.pt").step == step
    except UserError:  # damaged: the run says so when it is continued
        return False
