"""One run's share of an analysis of one or several checkpoints."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from grace_geom.records.analysis import Part, Result
from grace_geom.records.references import PRETRAINED, Reference
from grace_geom.records.schema import Plain
from grace_geom.records.used_images import UsedImages


@dataclass(frozen=True)
class Finding:
    """One run's share of an analysis.

    Attributes:
        run: Id.
        result: The whole file.
        label: Which of its parts is this run's.
    """

    run: str
    result: Result
    label: str

    @property
    def part(self) -> Part:
        """What was found on this run's checkpoint."""
        return self.result.parts[self.label]

    def value(self, name: str) -> Any:
        """The ``Measure`` of that name, or ``None``."""
        return self.part.values.get(name)

    def array(self, name: str) -> Any:
        """The array of that name, or ``None``."""
        return self.part.arrays.get(name)

    def names(self, group: str) -> list[str]:
        """Names of values below ``group/``, without it."""
        return _below(group, self.part.values)

    def array_names(self, group: str) -> list[str]:
        """Names of arrays below ``group/``, without it."""
        return _below(group, self.part.arrays)

    def is_of(self, checkpoint: str) -> bool:
        """Whether it was measured on the file with this SHA-256, as far as that is on record."""
        return not (checkpoint and self.checkpoint) or checkpoint == self.checkpoint

    @property
    def record(self) -> Plain:
        """What the result says of the checkpoint; empty where it says nothing."""
        return next((c for c in self.result.checkpoints if c.get("label") == self.label), {})

    @property
    def checkpoint(self) -> str:
        """SHA-256 of the file that was measured; empty where it is not on record."""
        return str(self.record.get("sha256", ""))

    @property
    def images(self) -> dict[str, UsedImages]:
        """The images that were used, by set; none in results of earlier versions."""
        return {name: UsedImages(*one) for name, one in self.record.get("images", {}).items()}

    @property
    def reference(self) -> Reference | None:
        """What the checkpoint was compared with; ``None`` where the analysis has no ``reference``,
        or an earlier version did not keep which file that was.
        """
        name = self.result.settings.get("reference")
        if not isinstance(name, str):
            return None
        others = [*self.record.get("others", {}).values(), ""]
        sha256 = self.record.get("base", "") if name == PRETRAINED else others[0]
        return Reference(name, sha256) if sha256 else None


def _below(group: str, names: Iterable[str]) -> list[str]:
    start = f"{group}/"
    return [name.removeprefix(start) for name in names if name.startswith(start)]
