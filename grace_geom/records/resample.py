"""Bootstrap over images, for numbers that several accuracies make together: an image is drawn for
all of them at once.

ID accuracy and robust accuracy are measured on the same images, so their errors go together: an
interval that takes them as independent leaves out their covariance.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grace_geom.records.accuracy import Accuracy, outcomes_of
from grace_geom.records.schema import RecordError

RESAMPLES = 4000
Key = tuple[str, str]
"""Suite and data set."""

Draws = dict[Key, np.ndarray]

SUITE_OF = {"ID": "id", "OOD": "ood", "Adv": "adv", "NatAdv": "natural_adv", "ZS": "zeroshot"}
SUITES_OF = {name: (suite,) for name, suite in SUITE_OF.items()} | {
    "HM": ("id", "ood", "adv"), "OOD'": ("ood", "zeroshot"), "Adv'": ("adv", "natural_adv"),
    "HM'": ("id", "ood", "zeroshot", "adv", "natural_adv"),
}  # fmt: skip
"""The suites that a column is made of."""


@dataclass(frozen=True)
class Answers:
    """Right or wrong for each image of one accuracy, and where these images stand in their data
    set.

    Attributes:
        key: Suite and data set.
        spec: SPEC of the data set, and its size.
        of: Images of the whole set.
        n: Images measured.
        seed: Of the draw of ``n`` out of ``of``.
        packed: Outcomes as the record has them.
    """

    key: Key
    spec: str
    of: int
    n: int
    seed: int | None
    packed: str

    @classmethod
    def of_accuracy(cls, a: Accuracy) -> "Answers":
        """The answers behind an accuracy.

        Raises:
            RecordError: If the record holds totals only.
        """
        a.right()
        return cls(
            (a.suite, a.data),
            a.spec,
            int(a.subset.get("of", a.n)),
            a.n,
            a.subset.get("seed"),
            a.outcomes,
        )

    def positions(self) -> np.ndarray:
        """``(n,)`` places in the whole set, drawn as :meth:`ImageSet.subset` draws them."""
        if self.n >= self.of:
            return np.arange(self.n)
        if self.seed is None:
            raise RecordError(
                f"{'/'.join(self.key)}: the record does not say how its images were drawn"
            )
        return np.sort(np.random.default_rng(self.seed).choice(self.of, self.n, replace=False))


def resampled(
    groups: Sequence[Sequence[Answers]], draws: int = RESAMPLES, seed: int = 0
) -> list[Draws]:
    """Accuracies on images drawn again with replacement.

    Accuracies on one data set, of one checkpoint or several, are drawn together: their images are
    counted by what all of them answered, and these counts are drawn again (multinomial), as often
    as there are images that the same ones of them have seen. Data sets are independent of each
    other.

    Args:
        groups: The accuracies of each checkpoint.
        draws: How often.
        seed: Of the draws.

    Returns:
        For each checkpoint its accuracies, ``(draws,)`` each, by suite and data set.
    """
    rng = np.random.default_rng(seed)
    sets: dict[tuple[str, int], list[tuple[int, Answers]]] = {}
    for place, group in enumerate(groups):
        for answers in group:
            sets.setdefault((answers.spec, answers.of), []).append((place, answers))
    found: list[Draws] = [{} for _ in groups]
    for (_, of), members in sets.items():
        table = np.full((of, len(members)), -1, dtype=np.int8)  # -1: not seen
        for column, (_, answers) in enumerate(members):
            table[answers.positions(), column] = outcomes_of(answers.packed, answers.n)
        shares = _draw(table, rng, draws)
        for column, (place, answers) in enumerate(members):
            found[place][answers.key] = shares[:, column]
    return found


def _draw(table: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """``(draws, columns)`` shares of right answers of a table ``(images, columns)`` whose rows are
    drawn again.
    """
    rows, counts = np.unique(table, axis=0, return_counts=True)
    _, stratum = np.unique(rows >= 0, axis=0, return_inverse=True)
    right = np.zeros((draws, table.shape[1]))
    for k in range(stratum.max() + 1):
        own = np.flatnonzero(stratum.reshape(-1) == k)
        total = counts[own].sum()
        right += rng.multinomial(total, counts[own] / total, draws) @ (rows[own] == 1)
    return right / (table >= 0).sum(axis=0)


def column_of(shares: Mapping[Key, np.ndarray], column: str) -> np.ndarray:
    """A column of the paper's tables from accuracies of its data sets, for every draw."""

    def suite(name: str) -> np.ndarray:
        return np.mean(
            [value for (kind, _), value in shares.items() if kind == SUITE_OF[name]], axis=0
        )

    def harmonic(parts: Sequence[np.ndarray]) -> np.ndarray:
        stacked = np.stack(parts)
        with np.errstate(divide="ignore"):
            return np.where((stacked > 0).all(0), len(parts) / (1 / stacked).sum(0), 0.0)

    paper = {"OOD'": ("OOD", "ZS"), "Adv'": ("Adv", "NatAdv")}
    if column in paper:
        return np.mean([suite(name) for name in paper[column]], axis=0)
    if column == "HM":
        return harmonic([suite("ID"), suite("OOD"), suite("Adv")])
    if column == "HM'":
        return harmonic([suite("ID"), column_of(shares, "OOD'"), column_of(shares, "Adv'")])
    return suite(column)


@functools.lru_cache(maxsize=4096)
def image_interval(group: tuple[Answers, ...], column: str) -> tuple[float, float, float]:
    """Standard error and 95 % interval of a column of one checkpoint: percentile bootstrap, seed 0.

    A set with no (or only) right answers would be drawn without spread although 0 of 100 is not the
    same as impossible: there a binomial share of ``(k + 1/2) / (n + 1)`` is drawn instead.
    """
    (shares,) = resampled([group])
    rng = np.random.default_rng(1)
    for answers in group:
        k = int(outcomes_of(answers.packed, answers.n).sum())
        if k in (0, answers.n):
            p = (k + 0.5) / (answers.n + 1)
            shares[answers.key] = rng.binomial(answers.n, p, RESAMPLES) / answers.n
    values = column_of(shares, column)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(values.std(ddof=1)), float(low), float(high)
