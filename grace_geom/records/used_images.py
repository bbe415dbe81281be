"""Which images checkpoints were measured on, and which checkpoints were measured on others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class UsedImages:
    """Images that were taken of one set.

    Attributes:
        n: How many.
        which: Digest of them and of the class of each.
    """

    n: int
    which: str

    def __str__(self) -> str:
        return f"{self.n} images ({self.which[:6]})"


def unlike(samples: Mapping[str, Mapping[str, UsedImages]]) -> dict[str, str]:
    """A sentence for each checkpoint whose images are not those of most; of equals, not those of
    the first.

    Args:
        samples: Label -> set -> the images that were used of it.
    """
    usual = _usual(list(samples.values()))
    found = {}
    for label, mine in samples.items():
        texts = [_apart(name, mine.get(name), usual.get(name)) for name in {**usual, **mine}]
        if differ := "; ".join(filter(None, texts)):
            found[label] = f"{label} is not measured on the images of the others: {differ}."
    return found


def _usual(every: Sequence[Mapping[str, UsedImages]]) -> Mapping[str, UsedImages]:
    counts = Counter(frozenset(sets.items()) for sets in every)
    most = max(counts.values(), default=0)
    return next((sets for sets in every if counts[frozenset(sets.items())] == most), {})


def _apart(name: str, mine: UsedImages | None, usual: UsedImages | None) -> str:
    if mine == usual:
        return ""
    if mine is None:
        return f"without {name}"
    return f"with {name}" if usual is None else f"{name} on {mine}, not {usual}"
