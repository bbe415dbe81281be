"""The answers behind an accuracy and where their images stand in the data set, so that several
accuracies can be taken image by image; and how the columns of the tables follow from accuracies.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grace_geom.records.accuracy import Accuracy, numbers_of, outcomes_of
from grace_geom.records.classes import is_mean_per_class
from grace_geom.records.schema import RecordError

Key = tuple[str, str]
"""Suite and data set."""

SUITE_OF = {"ID": "id", "OOD": "ood", "Adv": "adv", "NatAdv": "natural_adv", "ZS": "zeroshot"}
SUITES_OF = {name: (suite,) for name, suite in SUITE_OF.items()} | {
    "HM": ("id", "ood", "adv"), "OOD'": ("ood", "zeroshot"), "Adv'": ("adv", "natural_adv"),
    "HM'": ("id", "ood", "zeroshot", "adv", "natural_adv"),
}  # fmt: skip
"""The suites that a column is made of."""
MEANS = {"OOD'": ("OOD", "ZS"), "Adv'": ("Adv", "NatAdv")}
HARMONIC = {"HM": ("ID", "OOD", "Adv"), "HM'": ("ID", "OOD'", "Adv'")}
"""The columns that are means of others, and their harmonic means."""


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
        ids: Digest of the numbers that the images have in the data set; empty where the record has
            none.
        content: Digest of images, labels and class names; empty where the record has none.
        labels: Class of each image, packed, where the mean over classes counts; empty for top-1
            accuracy.
    """

    key: Key
    spec: str
    of: int
    n: int
    seed: int | None
    packed: str
    ids: str = ""
    content: str = ""
    labels: str = ""

    @classmethod
    def of_accuracy(cls, a: Accuracy) -> "Answers":
        """The answers behind an accuracy.

        Raises:
            RecordError: If the record holds totals only.
        """
        known: Answers | None = vars(a).get("_answers")  # kept as a cached property would be
        if known is not None:
            return known
        a.right()
        by_class = is_mean_per_class(a)
        if by_class:
            a.label_of_each()
        vars(a)["_answers"] = found = cls(
            (a.suite, a.data),
            a.spec,
            int(a.subset.get("of", a.n)),
            a.n,
            a.subset.get("seed"),
            a.outcomes,
            str(a.subset.get("ids_sha256") or ""),
            str(a.subset.get("content") or ""),
            a.labels if by_class else "",
        )
        return found

    def right(self) -> np.ndarray:
        """``(n,)`` bool, image by image."""
        return outcomes_of(self.packed, self.n)

    def strata(self) -> np.ndarray:
        """``(n,)`` the class of each image where the mean over classes counts; else all are 0."""
        return numbers_of(self.labels, self.n) if self.labels else np.zeros(self.n, np.int64)

    def share(self) -> float:
        """Top-1 accuracy, or the mean over classes."""
        strata = self.strata()
        n = np.bincount(strata)
        correct = np.bincount(strata, self.right())
        return float((correct[n > 0] / n[n > 0]).mean())

    def positions(self) -> np.ndarray:
        """``(n,)`` places in the whole set, drawn as :meth:`ImageSet.subset` draws them.

        Raises:
            RecordError: If the record does not say how they were drawn.
        """
        if self.n < self.of and self.seed is None:
            raise RecordError(
                f"{'/'.join(self.key)}: the record does not say how its images were drawn"
            )
        return _places(self.of, self.n, self.seed)


@functools.lru_cache(maxsize=64)  # runs of a study share their images
def _places(of: int, n: int, seed: int | None) -> np.ndarray:
    """Which ``n`` of how many, in order; not to be written to."""
    every = n >= of
    found = np.arange(n) if every else np.random.default_rng(seed).choice(of, n, replace=False)
    found.sort()
    found.flags.writeable = False
    return found


def column_of(shares: Mapping[Key, np.ndarray], column: str) -> np.ndarray:
    """A column of the paper's tables from accuracies of its data sets, ``(k,)`` each."""

    def suite(name: str) -> np.ndarray:
        return np.mean(
            [value for (kind, _), value in shares.items() if kind == SUITE_OF[name]], axis=0
        )

    def harmonic(parts: Sequence[np.ndarray]) -> np.ndarray:
        stacked = np.stack(parts)
        with np.errstate(divide="ignore"):
            return np.where((stacked > 0).all(0), len(parts) / (1 / stacked).sum(0), 0.0)

    if column in MEANS:
        return np.mean([suite(name) for name in MEANS[column]], axis=0)
    if column in HARMONIC:
        return harmonic([column_of(shares, name) for name in HARMONIC[column]])
    return suite(column)


def same_images(groups: Sequence[Sequence[Answers]]) -> bool:
    """Whether several checkpoints answered the same images in the same sets: those of the same
    numbers in sets of the same contents, where the records tell (contents were not always kept),
    all counted by the mean over classes or all by top-1.
    """
    contents: dict[Key, set[str]] = {}
    for a in (a for group in groups for a in group):
        contents.setdefault(a.key, set()).update({a.content} - {""})
    which = {
        tuple(sorted((a.key, a.spec, a.of, a.n, str(a.seed), a.ids, bool(a.labels)) for a in group))
        for group in groups
    }
    return len(which) < 2 and all(len(found) < 2 for found in contents.values())
