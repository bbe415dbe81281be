"""Intervals over seeds and images: what they promise is coverage, so they are held to it on seeds
and images drawn from a known model.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from grace_geom.records import Accuracy, over_seeds, pack
from grace_geom.records import crossed as rule
from grace_geom.records.answers import Answers
from grace_geom.records.crossed import Spread, gap_interval, half_width, p_value, share_interval
from grace_geom.records.statistics import wilson

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def answers(right: np.ndarray, suite: str = "id", data: str = "d") -> Answers:
    return Answers((suite, data), data, len(right), len(right), 0, pack(right))


class Draw:
    """Seeds that answer the same images, in a probit model: right where ``m + a_s + b_i + e_si`` is
    positive, with b and e of total variance 1 and a share ``alike`` of it in b.

    Columns are the seeds of one method, or those of two. What images do is drawn as counts of the
    2^S patterns of right and wrong.
    """

    def __init__(self, shares: tuple[float, ...], S: int, sigma: float, alike: float) -> None:
        self.shares, self.S, self.sigma, self.alike = shares, S, sigma, alike
        self.patterns = np.array(list(itertools.product((0, 1), repeat=S * len(shares))))

    def counts(self, n: int, rng: np.random.Generator) -> np.ndarray:
        m = np.repeat(ndtri(self.shares), self.S) * math.sqrt(1 + self.sigma**2)
        z = (m + self.sigma * rng.standard_normal(len(m)))[None, :] + math.sqrt(self.alike) * NODES[
            :, None
        ]
        right = ndtr(z / math.sqrt(1 - self.alike))
        each = np.where(self.patterns[:, None] == 1, right, 1 - right).prod(axis=2) @ WEIGHTS
        return rng.multinomial(n, each / each.sum())


def one_column(counts: np.ndarray, patterns: np.ndarray) -> tuple[float, Spread]:
    """Mean and spread of one set from its counts: the textbook's mean squares, half an image of
    either kind added.
    """
    n, S = counts.sum(), patterns.shape[1]
    means = counts @ patterns / n
    p = (counts @ patterns + 0.5) / (n + 1)
    cov = np.einsum("k,ks,kt->st", counts, patterns - p, patterns - p)
    cov = (cov + 0.5 * (np.outer(1 - p, 1 - p) + np.outer(p, p))) / (n * (n + 1))
    return float(means.mean()), _of(means, float(p.mean()), cov, S)


def gap(counts: np.ndarray, patterns: np.ndarray, S: int) -> tuple[float, Spread]:
    """The same of a difference; one image added on either side."""
    n, d = counts.sum(), patterns[:, :S] - patterns[:, S:]
    means = counts @ d / n
    shares = counts @ patterns
    p, q = (shares[:S] + 1) / (n + 2), (shares[S:] + 1) / (n + 2)
    cov = np.einsum("k,ks,kt->st", counts, d - (p - q), d - (p - q))
    for extra in (1, -1):
        cov = cov + np.outer(extra - (p - q), extra - (p - q))
    cov /= (n + 2) ** 2
    return float(means.mean()), _of(means, float((p - q).mean()), cov, S)


def _of(means: np.ndarray, centre: float, cov: np.ndarray, S: int) -> Spread:
    images = float(cov.mean())
    if S == 1:
        return Spread(centre, 1, 0.0, images, images)
    shared = float((cov.sum() - np.trace(cov)) / (S * (S - 1)))
    return Spread(centre, S, float(means.var(ddof=1)) / S, images, max(0.0, shared))


def expanded(counts: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    return np.repeat(patterns, counts, axis=0).astype(bool)


@pytest.mark.parametrize("S", [1, 2, 3])
def test_the_spread_is_the_textbooks_mean_squares(S: int):
    draw, rng = Draw((0.7,), S, 0.1, 0.7), np.random.default_rng(S)
    counts = draw.counts(200, rng)
    rows = expanded(counts, draw.patterns)
    found = rule.spread(tuple((answers(rows[:, s]),) for s in range(S)), "ID")
    assert vars(found) == pytest.approx(vars(one_column(counts, draw.patterns)[1]), rel=1e-5)
    two = Draw((0.7, 0.6), S, 0.1, 0.7)
    counts = two.counts(200, rng)
    rows = expanded(counts, two.patterns)
    sides = [tuple((answers(rows[:, s + k]),) for s in range(S)) for k in (0, S)]
    found = rule.gap_spread(*sides, "ID")
    assert vars(found) == pytest.approx(vars(gap(counts, two.patterns, S)[1]), rel=1e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 30), (1, 30), (17, 40), (40, 40), (4990, 5000)])
def test_one_seed_on_one_set_has_wilsons_interval(k: int, n: int):
    right = np.arange(n) < k
    found = rule.spread(((answers(right),),), "ID")
    assert share_interval(k / n, found) == pytest.approx(wilson(k, n), abs=1e-9)


def coverage(shares: tuple[float, ...], S: int, n: int, sigma: float, alike: float) -> float:
    draw, hit = Draw(shares, S, sigma, alike), 0
    rng = np.random.default_rng([S, n, round(1000 * sigma), round(1000 * shares[0])])
    for _ in range(DRAWS):
        counts = draw.counts(n, rng)
        if len(shares) == 1:
            low, high = share_interval(*one_column(counts, draw.patterns))
        else:
            low, high = gap_interval(*gap(counts, draw.patterns, S))
        hit += low <= shares[0] - sum(shares[1:]) <= high
    return hit / DRAWS


DRAWS = 400
SLACK = 3 * math.sqrt(0.95 * 0.05 / DRAWS)


@pytest.mark.parametrize(("S", "n"), [(2, 30), (2, 300), (2, 5000), (3, 30), (3, 300), (3, 5000)])
def test_intervals_of_shares_cover_as_they_say(S: int, n: int):
    """Where seeds differ 93 to 97 %; two seeds that do not differ cannot be told from two that
    agree by chance, and their interval errs to the wide side.
    """
    for sigma in (0.0, 0.05, 0.3):
        found = [coverage((p,), S, n, sigma, 0.8) for p in (0.01, 0.03, 0.5, 0.97)]
        assert min(found) > 0.93 - SLACK
        apart = sigma * math.sqrt(n) > 3
        assert np.mean(found) < (0.97 if apart else 0.98 if S == 3 else 0.99) + SLACK / 2


@pytest.mark.parametrize(("S", "n"), [(1, 300), (2, 300), (3, 300), (2, 5000), (3, 5000)])
def test_intervals_of_differences_cover_as_they_say(S: int, n: int):
    for sigma in (0.0, 0.3) if S > 1 else (0.0,):
        for pair in ((0.02, 0.01), (0.5, 0.45), (0.97, 0.95)):
            assert coverage(pair, S, n, sigma, 0.8) > 0.93 - SLACK
    if sigma:
        assert coverage((0.5, 0.45), S, n, sigma, 0.8) < 0.97 + SLACK


def test_a_difference_of_harmonic_means_at_one_percent_robustness_covers():
    rng, hit = np.random.default_rng(4), 0
    shares = {"id": (0.8, 0.75), "ood": (0.6, 0.55), "adv": (0.01, 0.02)}
    truth = np.subtract(*(3 / sum(1 / shares[s][k] for s in shares) for k in (0, 1)))
    for _ in range(DRAWS):
        hard = {"x": rng.standard_normal(1000), "y": rng.standard_normal(500)}
        sides: list[list[Answers]] = [[], []]
        for suite, pair in shares.items():
            b = hard["y" if suite == "ood" else "x"]
            for k, p in enumerate(pair):
                z = math.sqrt(0.6) * b + math.sqrt(0.4) * rng.standard_normal(len(b))
                sides[k].append(answers(z < ndtri(p), suite, "y" if suite == "ood" else "x"))
        found = rule.gap_spread.__wrapped__((tuple(sides[0]),), (tuple(sides[1]),), "HM")
        low, high = gap_interval(found.centre, found)
        hit += low <= truth <= high
    assert abs(hit / DRAWS - 0.95) < 0.02 + SLACK


def test_seeds_that_agree_by_chance_keep_the_images_doubt():
    right = np.arange(100) < 80
    other = np.roll(right, 3)  # as many right, other images
    found = rule.spread(((answers(right),), (answers(other),)), "ID")
    assert found.between == 0
    low, high = share_interval(0.8, found)
    assert high - low > 0.12
    worse = np.roll(np.arange(100) < 77, 1)
    gaps = rule.gap_spread(((answers(right),),) * 2, ((answers(worse),), (answers(worse),)), "ID")
    assert gaps.between == 0 and p_value(gaps) > 0.1 and gap_interval(0.03, gaps)[0] < 0


@pytest.mark.parametrize("between", [0.0, 1e-6, 1e-4, 1e-2])
def test_p_is_the_level_at_which_the_interval_ends_at_zero(between: float):
    found = Spread(0.05, 3, between, 4e-4, 3e-4)
    p = p_value(found)
    assert half_width(found, 1 - p) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.004, 0.5, 1.0])
@pytest.mark.parametrize("between", [0.0, 1e-3, 0.2])
def test_shares_stay_between_0_and_100_and_hold_their_value(share: float, between: float):
    found = Spread(min(max(share, 0.002), 0.998), 2, between, 1e-4, 5e-5)
    low, high = share_interval(share, found)
    assert 0 <= low <= share <= high <= 1 and high > low
    low, high = gap_interval(2 * share - 1, Spread(2 * share - 1, 2, between, 1e-4, 5e-5))
    assert -1 <= low <= 2 * share - 1 <= high <= 1


def test_totals_alone_give_the_larger_error():
    rng = np.random.default_rng(0)
    rows = [rng.random(300) < p for p in (0.7, 0.72)]
    records = [
        Accuracy("id", "d", "d", 300, int(r.sum()), float(r.mean()), *wilson(int(r.sum()), 300),
                 0.1, subset={"of": 300, "seed": 0}, outcomes=pack(r))
        for r in rows
    ]  # fmt: skip
    known = over_seeds([[a] for a in records], "ID")
    totals = over_seeds([[replace(a, outcomes="")] for a in records], "ID")
    assert totals.error > known.error and totals.value == known.value
