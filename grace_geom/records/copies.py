"""Which records of several seeds are one training told twice; a copy says nothing new."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from grace_geom.records.evaluation import EvalRecord

Name = TypeVar("Name", bound=Hashable)


def distinct(records: Mapping[Name, EvalRecord]) -> tuple[dict[Name, EvalRecord], str]:
    """The records that are trainings of their own, and a sentence on those that are not.

    Two records are one training if their checkpoints are the same file, if they were trained with
    the same seed, or if they answer every image of every set alike.

    Args:
        records: Of one method, by the name of the run or by its seed.
    """
    kept: dict[Name, EvalRecord] = {}
    said = []
    for seed, record in records.items():
        for first, other in kept.items():
            if reason := _same(other, record):
                some = "seeds " if isinstance(seed, int) else ""
                said.append(f"{some}{first} and {seed} {reason}: counted once")
                break
        else:
            kept[seed] = record
    return kept, "; ".join(said)


def _same(a: EvalRecord, b: EvalRecord) -> str:
    """Why two records are one training; empty where they are not."""
    if a.checkpoint and a.checkpoint == b.checkpoint:
        return "have the same checkpoint"
    if a.seed is not None and a.seed == b.seed:
        return f"were both trained with seed {a.seed}"
    theirs = {x.question: x for x in b.accuracies}
    if not a.accuracies or {x.question for x in a.accuracies} != theirs.keys():
        return ""
    alike = all(
        x.outcomes and x.outcomes == theirs[x.question].outcomes and x.n == theirs[x.question].n
        for x in a.accuracies
    )
    telling = any(0 < x.correct < x.n for x in a.accuracies)
    return "give the same answer to every image" if alike and telling else ""
