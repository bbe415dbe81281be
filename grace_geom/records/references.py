"""What findings were compared with, and which were compared with something else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

PRETRAINED = "pretrained"
"""The reference that is what each checkpoint was tuned from."""


@dataclass(frozen=True)
class Reference:
    """What an analysis set a checkpoint against. Equal are references of one digest, however they
    were named: a run and its checkpoint, a file and its copy.

    Attributes:
        name: As it was asked for: ``pretrained``, or a path.
        sha256: Of the weights or the file that lay there.
    """

    name: str = field(compare=False)
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:6]})"


def unlike_references(used: Mapping[str, Reference]) -> dict[str, str]:
    """A sentence for each checkpoint whose reference is not that of most; of equals, not that of
    the first.

    Args:
        used: Label -> what it was compared with.
    """
    counts = Counter(used.values())
    most = max(counts.values(), default=0)
    usual = next((one for one in used.values() if counts[one] == most), None)
    return {
        label: f"{label} is not measured against the reference of the others: against {mine}, not "
        f"{usual}."
        for label, mine in used.items()
        if mine != usual
    }
