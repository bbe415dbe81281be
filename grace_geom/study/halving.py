"""Asynchronous successive halving (Li et al. 2020, algorithm 2) of one method's learning rates,
with a budget that is known beforehand.

Every trial trains to the first rung; the best third of them goes on to the next one, and so forth.
A trial that is not among the best pauses, and may go on later. Three things differ from the paper.
The places of a rung are limited, so that every method spends the same steps. New trials begin
before any goes on, since a rate that was tried early has no right to a place. And once a rung is
complete its places are filled with the best of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ETA = 3
"""One in so many trials goes on."""


@dataclass(frozen=True)
class Ladder:
    """The rungs of a search, the same for every method.

    Attributes:
        steps: Optimiser steps at which each rung ends, rising; the last one is the length of the
            learning-rate schedule of every trial.
        places: How many trials each rung has room for; of the first, all.
    """

    steps: tuple[int, ...]
    places: tuple[int, ...]

    @property
    def budget(self) -> int:
        """Steps that a method spends: each place costs the steps since the rung before."""
        before = (0, *self.steps)
        return sum(
            n * (end - begin)
            for n, begin, end in zip(self.places, before, self.steps, strict=False)
        )

    def text(self) -> str:
        """``9 trials to step 11, 3 of them to 33, 1 of them to 100``."""
        first, *rest = zip(self.places, self.steps, strict=True)
        more = [f"{n} of them to {step}" for n, step in rest]
        return ", ".join([f"{first[0]} trials to step {first[1]}", *more])


def ladder(trials: int, longest: int) -> Ladder:
    """As many rungs as the number of trials can be divided by 3, and the longest has steps for.

    Args:
        trials: How many rates are tried.
        longest: Optimiser steps of the last rung.
    """
    places, steps = [trials], [max(1, longest)]
    while places[-1] >= ETA and round(longest / ETA ** len(places)) >= 1:
        shorter = round(longest / ETA ** len(places))
        if shorter == steps[0]:
            break
        places.append(places[-1] // ETA)
        steps.insert(0, shorter)
    return Ladder(tuple(steps), tuple(places))


@dataclass
class RateTrial:
    """One learning rate on its way up.

    Attributes:
        lr: The rate.
        rung: Number of the rung that it was last sent to.
        scores: Held-out score at the end of each rung that it has reached.
        error: Why it failed; such a trial goes nowhere.
    """

    lr: float
    rung: int = 0
    scores: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def pending(self) -> bool:
        """Whether it has not reached its rung yet, and still may."""
        return not self.error and len(self.scores) <= self.rung


Next = tuple[RateTrial | None, int]
"""A trial and the rung to send it to; ``None`` for one that has no rate yet."""


@dataclass
class Halving:
    """The trials of one method.

    Attributes:
        ladder: Its rungs.
        trials: In the order in which they began.
        busy: Numbers of those at work now.
    """

    ladder: Ladder
    trials: list[RateTrial] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)

    def next(self) -> Next | None:
        """What to do now: continue a trial that was interrupted, begin one, or send one on.

        ``None`` if there is nothing until another trial has ended, or at all.
        """
        for number, trial in enumerate(self.trials):
            if trial.pending and number not in self.busy:
                return trial, trial.rung
        if len(self.trials) < self.ladder.places[0]:
            return None, 0
        for rung in reversed(range(len(self.ladder.places) - 1)):
            if risen := self._rising(rung):
                return risen[0], rung + 1
        return None

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.next() is None and not self.busy

    @property
    def steps(self) -> int:
        """Optimiser steps spent so far; a trial that failed counts the whole of its rung."""
        return sum(self.ladder.steps[trial.rung] for trial in self.trials)

    @property
    def sent(self) -> int:
        """How many rungs trials were sent to, together."""
        return sum(trial.rung + 1 for trial in self.trials)

    def best(self) -> RateTrial | None:
        """The best of the highest rung that any has reached, the smaller rate of equals; ``None``
        if all failed.
        """
        sound = [trial for trial in self.trials if trial.scores and not trial.error]
        return max(sound, key=lambda t: (len(t.scores), t.scores[-1], -t.lr), default=None)

    def _rising(self, rung: int) -> list[RateTrial]:
        """Trials that may leave a rung for the next one now, the best first."""
        places = self.ladder.places[rung + 1]
        free = places - sum(trial.rung > rung for trial in self.trials)
        known = [trial for trial in self.trials if len(trial.scores) > rung]
        ranked = sorted(known, key=lambda t: (-t.scores[rung], t.lr))
        if not self._complete(rung):
            seen = len(known) + sum(t.rung == rung and bool(t.error) for t in self.trials)
            ranked = ranked[: seen // ETA]
        return [trial for trial in ranked if trial.rung == rung and not trial.error][:free]

    def _complete(self, rung: int) -> bool:
        """Whether no trial can reach the end of this rung any more."""
        if any(trial.pending and trial.rung <= rung for trial in self.trials):
            return False
        if rung == 0:
            return len(self.trials) == self.ladder.places[0]
        return self._complete(rung - 1) and not self._rising(rung - 1)


def spent(halvings: Mapping[str, Halving]) -> dict[str, int]:
    """Optimiser steps that each method has spent on its search."""
    return {label: halving.steps for label, halving in halvings.items()}


def at_an_edge(best: float, low: float, high: float) -> str:
    """``smallest`` or ``largest`` where the best rate lies in the outer twentieth of the range, on
    a log scale; else empty.
    """
    margin = (high / low) ** 0.05
    if best <= low * margin:
        return "smallest"
    return "largest" if best >= high / margin else ""


def spread(low: float, high: float, n: int) -> Sequence[float]:
    """``n`` rates, evenly on a log scale from end to end: the middle one first, then the ends."""
    points = [low * (high / low) ** (i / (n - 1)) for i in range(n)] if n > 1 else [low]
    order = sorted(range(n), key=lambda i: (i != n // 2, i not in (0, n - 1), i))
    return [points[i] for i in order]
