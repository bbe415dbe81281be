"""Which learning rate to try next: evenly spread ones first, then what Optuna's Gaussian process
expects to be better, given the scores so far.
"""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grace_geom.errors import UserError
from grace_geom.study.halving import RateTrial, spread


@dataclass(frozen=True)
class RateRange:
    """Where rates are looked for.

    Attributes:
        low: The smallest.
        high: The largest.
        trials: How many are tried.
        seed: Random seed of the sampler.
    """

    low: float
    high: float
    trials: int
    seed: int

    @property
    def first(self) -> Sequence[float]:
        """Those that are tried whatever the scores: half of them, an odd number, so that the middle
        of the range is one.
        """
        n = max(3, (self.trials + 1) // 2)
        return [rounded(rate) for rate in spread(self.low, self.high, n | 1)]


def rounded(rate: float) -> float:
    """To three digits, as reports show it."""
    return float(f"{rate:.3g}")


def check_optuna() -> None:
    """Refuse a search where Optuna is not installed.

    Raises:
        UserError: With the line that installs it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError(
            "--lr-search asha: optuna is not installed here: pip install 'grace_geom[search]'"
        )


def next_rate(where: RateRange, tried: Sequence[RateTrial]) -> float:
    """The rate of the trial after those that were tried.

    The sampler sees the score at the first rung, which every trial has, and keeps away from trials
    that are under way. It is made anew for each rate, with a seed of its own, so that a search
    that was stopped goes on to the same rates.

    Args:
        where: Range, number and seed.
        tried: Those that have begun.

    Raises:
        UserError: If Optuna is not installed.
    """
    if len(tried) < len(where.first):
        return where.first[len(tried)]
    check_optuna()
    import optuna

    axis = {"lr": optuna.distributions.FloatDistribution(where.low, where.high, log=True)}
    with _quiet():
        sampler = optuna.samplers.GPSampler(seed=where.seed + len(tried), n_startup_trials=1)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        states = optuna.trial.TrialState
        for trial in tried:
            score = trial.scores[0] if trial.scores else None
            state = states.COMPLETE if trial.scores else states.FAIL
            study.add_trial(
                optuna.trial.create_trial(
                    params={"lr": min(max(trial.lr, where.low), where.high)},
                    distributions=axis,
                    state=states.RUNNING if trial.pending and not trial.scores else state,
                    value=score,
                )
            )
        return rounded(float(study.ask(axis).params["lr"]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own lines: a study says what it does itself."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
