"""Which records of several seeds are one training told twice; a copy says nothing new."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from grace_geom.records.evaluation import EvalRecord

Name = TypeVar("Name", bound=Hashable)


def distinct(records: Mapping[Name, EvalRecord]) -> tuple[dict[Name, EvalRecord], str]:
    """The records that are trainings of their own, and a sentence on those that are not.

    Two records are one training if their checkpoints are the same file, if they were trained with
    the same seed, or if they are the same model: weights, prompt tokens and head, with its class
    names and prompts. Only where a record does not say which model it is, as those of earlier
    versions, equal answers to every image of every set stand for that.

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
    mine, other = _model(a), _model(b)
    if mine and other:  # real seeds may agree on every image, and copies be right on all of them
        return "are the same model" if mine == other else ""
    return "give the same answer to every image" if _answer_alike(a, b) else ""


def _model(record: EvalRecord) -> tuple[str, str] | None:
    """Digests of what a training leaves, as ``grace_geom.evaluation.identity`` makes them: not how
    precisely, or at what size, it was evaluated. ``None`` where the record has none.
    """
    model = record.settings.get("model")
    if not isinstance(model, Mapping) or not {"weights", "head"} <= model.keys():
        return None
    return str(model["weights"]), str(model["head"])


def _answer_alike(a: EvalRecord, b: EvalRecord) -> bool:
    """Whether two records answer the same questions, and every image alike; not where each is
    answered wholly right or wrong, which says too little.
    """
    theirs = {x.question: x for x in b.accuracies}
    if not a.accuracies or {x.question for x in a.accuracies} != theirs.keys():
        return False
    alike = all(
        x.outcomes and x.outcomes == theirs[x.question].outcomes and x.n == theirs[x.question].n
        for x in a.accuracies
    )
    return alike and any(0 < x.correct < x.n for x in a.accuracies)
