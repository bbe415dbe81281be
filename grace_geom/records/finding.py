"""One run's share of an analysis of one or several checkpoints."""

from dataclasses import dataclass
from typing import Any

from grace_geom.records.analysis import Result


@dataclass(frozen=True)
class Finding:
    """One run's share of an analysis: of its own file, or of one that holds several checkpoints.

    Attributes:
        run: Id.
        result: The whole file.
        prefix: What the names of this run's values and arrays begin with.
    """

    run: str
    result: Result
    prefix: str = ""

    def value(self, name: str) -> Any:
        """The ``Measure`` of that name, or ``None``."""
        return self.result.values.get(self.prefix + name)

    def array(self, name: str) -> Any:
        """The array of that name, or ``None``."""
        return self.result.arrays.get(self.prefix + name)

    def names(self, group: str) -> list[str]:
        """Names of values below ``group/``, without it."""
        start = f"{self.prefix}{group}/"
        return [name.removeprefix(start) for name in self.result.values if name.startswith(start)]

    def array_names(self, group: str) -> list[str]:
        """Names of arrays below ``group/``, without it."""
        start = f"{self.prefix}{group}/"
        return [name.removeprefix(start) for name in self.result.arrays if name.startswith(start)]

    def is_of(self, checkpoint: str) -> bool:
        """Whether it was measured on the file with this SHA-256, as far as that is on record."""
        return not (checkpoint and self.checkpoint) or checkpoint == self.checkpoint

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the file that was measured; empty where it is not on record."""
        label = self.prefix.rstrip("/")
        known = [c for c in self.result.checkpoints if not label or c.get("label") == label]
        return str(known[0].get("sha256", "")) if known else ""
