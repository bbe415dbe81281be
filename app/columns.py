"""Columns of the summary of a run, made when they are asked for."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from grace_geom.records import Accuracy, Estimate, point_estimates, summarise


class Columns(Mapping[str, Estimate | None]):
    """Columns of the summary of a run. Their intervals take most of the time to list 200 runs, so
    they are made when the first one is asked for.

    Attributes:
        points: Values alone, in [0, 1].
    """

    def __init__(self, accuracies: Sequence[Accuracy]) -> None:
        found = point_estimates(accuracies)
        self.points = {name: e.value for name, e in found.items() if e is not None}
        self._names = tuple(found)
        self._accuracies = accuracies

    @cached_property
    def _whole(self) -> dict[str, Estimate | None]:
        return summarise(self._accuracies)

    def __getitem__(self, name: str) -> Estimate | None:
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def values(estimates: Mapping[str, Estimate | None]) -> Mapping[str, float]:
    """Values alone, in [0, 1], for which no interval is computed that was not asked for."""
    if isinstance(estimates, Columns):
        return estimates.points
    return {name: found.value for name, found in estimates.items() if found is not None}
