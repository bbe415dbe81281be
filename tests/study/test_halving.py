"""Successive halving: places and steps that are counted by hand, whatever order trials end in."""

import math
import random

import pytest

from grace_geom.study.halving import Halving, RateTrial, at_an_edge, ladder, spread

NINE = ladder(9, 100)


def score(lr: float) -> float:
    """Of every rung: highest at 1e-3."""
    return 0.8 / (1 + abs(math.log10(lr) + 3))


def climb(halving: Halving, workers: int, seed: int = 0, fails: tuple[float, ...] = ()) -> None:
    """Run a search on as many workers, which end in a random order."""
    rng, busy = random.Random(seed), []
    rates = iter(spread(1e-4, 1e-2, halving.ladder.places[0]))
    while True:
        while len(busy) < workers and (found := halving.next()) is not None:
            trial, rung = found
            if trial is None:
                trial = RateTrial(next(rates))
                halving.trials.append(trial)
            trial.rung = rung
            number = halving.trials.index(trial)
            assert number not in halving.busy
            halving.busy.add(number)
            busy.append(trial)
        if not busy:
            return
        trial = busy.pop(rng.randrange(len(busy)))
        halving.busy.discard(halving.trials.index(trial))
        if trial.lr in fails:
            trial.error = "it diverged"
        else:
            trial.scores.append(score(trial.lr) + 0.01 * trial.rung)


def test_a_budget_is_known_beforehand():
    assert (NINE.steps, NINE.places) == ((11, 33, 100), (9, 3, 1))
    assert NINE.budget == 6 * 11 + 2 * 33 + 100
    assert NINE.text() == "9 trials to step 11, 3 of them to 33, 1 of them to 100"
    assert (ladder(4, 10).steps, ladder(4, 10).places) == ((3, 10), (4, 1))
    assert ladder(9, 2).steps == (1, 2), "a rung is at least a step longer than the one before"
    assert ladder(9, 1).budget == 9


@pytest.mark.parametrize("workers", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", range(5))
def test_every_place_is_taken_once_in_whatever_order_trials_end(workers, seed):
    halving = Halving(NINE)
    climb(halving, workers, seed)
    reached = [len(trial.scores) for trial in halving.trials]
    assert sorted(reached, reverse=True) == [3, 2, 2, 1, 1, 1, 1, 1, 1]
    assert halving.steps == NINE.budget and halving.over


def test_on_one_worker_the_best_third_goes_on():
    halving = Halving(NINE)
    climb(halving, 1)
    ranked = sorted(halving.trials, key=lambda t: -score(t.lr))
    assert [len(trial.scores) for trial in ranked] == [3, 2, 2, 1, 1, 1, 1, 1, 1]
    assert halving.best() is ranked[0] and halving.best().lr == pytest.approx(1e-3)


def test_a_rung_does_not_wait_for_its_last_trial_but_a_third_of_those_seen_may_go_on():
    halving = Halving(NINE, [RateTrial(10.0**-i, scores=[0.1 * i]) for i in range(1, 6)])
    halving.trials += [RateTrial(2.0 * 10**-i) for i in range(4)]
    halving.busy = {5, 6, 7, 8}
    assert halving.next() == (halving.trials[4], 1), "one of the five seen"
    halving.trials[4].rung = 1
    halving.busy.add(4)
    assert halving.next() is None and not halving.over
    halving.busy.discard(5)
    halving.trials[5].scores.append(0.0)
    assert halving.next() == (halving.trials[3], 1), "two of the six seen"


def test_failed_trials_leave_their_places_to_others_and_never_win():
    halving, rates = Halving(NINE), spread(1e-4, 1e-2, 9)
    climb(halving, 1, fails=tuple(rates[:3]))  # the best one among them
    assert halving.best().lr not in rates[:3]
    assert sorted(len(t.scores) for t in halving.trials) == [0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert halving.steps == NINE.budget, "a failed trial counts the whole of its rung"
    none = Halving(NINE)
    climb(none, 2, fails=tuple(rates))
    assert none.best() is None and none.over and none.steps == 9 * 11


def test_an_interrupted_trial_goes_on_before_anything_else():
    halving = Halving(NINE, [RateTrial(1.0, scores=[0.5]), RateTrial(2.0)])
    assert halving.next() == (halving.trials[1], 0)
    halving.trials[0].rung, halving.busy = 1, {1}
    assert halving.next() == (halving.trials[0], 1)


def test_the_smaller_of_equal_rates_is_the_best():
    halving = Halving(ladder(3, 1), [RateTrial(lr, scores=[0.5]) for lr in (3.0, 1.0, 2.0)])
    assert halving.best().lr == 1.0


def test_the_best_rate_is_told_to_lie_at_an_edge():
    assert (
        at_an_edge(1.2e-4, 1e-4, 1e-2) == "smallest" and at_an_edge(1e-2, 1e-4, 1e-2) == "largest"
    )
    assert at_an_edge(2e-4, 1e-4, 1e-2) == ""


def test_rates_are_spread_evenly_from_the_middle():
    assert spread(0.1, 10.0, 5) == pytest.approx([1.0, 0.1, 10.0, 10**-0.5, 10**0.5])
