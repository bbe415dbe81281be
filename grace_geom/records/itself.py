"""Keys that tell objects apart by which object they are."""

from typing import Any


class Itself:
    """An object that is equal to itself alone; held, so that no other takes its place.

    Args:
        held: Never changed once it is made.
    """

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)
