"""How many steps a run takes, from its settings."""

DEFAULT_EPOCHS = 10


def total_steps(epochs: int | None, max_steps: int | None, steps_per_epoch: int) -> int:
    """``epochs`` (default :data:`DEFAULT_EPOCHS`) or ``max_steps``, whichever ends first;
    ``max_steps`` alone where only that is given.
    """
    if epochs is None and max_steps is not None:
        return max_steps
    whole = (DEFAULT_EPOCHS if epochs is None else epochs) * steps_per_epoch
    return whole if max_steps is None else min(whole, max_steps)
