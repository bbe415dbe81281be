"""Which of how many processes this is. Needs no torch: where that is not imported, no process knows
of another one.
"""

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Which of how many.

    Attributes:
        rank: Number of this process.
        size: Processes in all.
        local: Number among those of this machine: its GPU.
        beside: Processes on this machine, this one among them.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    beside: int = 1


def world() -> World:
    """Of the process group that is up; alone where there is none."""
    dist = sys.modules.get("torch.distributed")
    if dist is None or not (dist.is_available() and dist.is_initialized()):
        return World()
    rank, size = dist.get_rank(), dist.get_world_size()
    local, beside = (
        int(os.environ.get(name, usual))
        for name, usual in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", size))
    )
    return World(rank, size, local, beside)


def first() -> bool:
    """Whether this is the process that writes and speaks."""
    return world().rank == 0


def asked_for() -> int:
    """How many processes torchrun started, whether or not they know of each other yet."""
    return int(os.environ.get("WORLD_SIZE", "1"))
