"""One task in several processes or on several machines: what each of them says, as one outcome.
Needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grace_geom.engines.base import T, Task, TaskOutcome


@dataclass(frozen=True)
class MachinePart:
    """What the processes of one machine say of a task.

    Attributes:
        outcomes: Of those that came to an end, by rank.
        died: Whether one did not.
    """

    outcomes: dict[int, TaskOutcome[Any]]
    died: bool


def joined(task: Task[T], parts: Sequence[MachinePart]) -> TaskOutcome[T]:
    """The outcome of a task from those of all its processes: a failure of any of them, else what
    the first one returned.
    """
    outcomes = {rank: outcome for part in parts for rank, outcome in part.outcomes.items()}
    failed = [outcomes[rank] for rank in sorted(outcomes) if outcomes[rank].failure]
    if failed:
        return failed[0]
    if any(part.died for part in parts) or 0 not in outcomes:
        size = task.resources.processes * task.resources.nodes
        return TaskOutcome(
            task.name, error=f"one of its {size} processes died (out of memory?)", failure="lost"
        )
    return outcomes[0]
