"""Which engine a command line asks for. Needs no torch until the engine is made."""

from dataclasses import dataclass, field
from typing import Literal

from grace_geom.engines.base import Engine, Resources
from grace_geom.errors import UserError


@dataclass(frozen=True)
class EngineOptions:
    """Where runs are made, and what each of them needs.

    Attributes:
        engine: Where runs are made: local, the processes of this machine.
        retries: How often a run is begun again after its process was lost.
    """

    engine: Literal["local"] = field(default="local", metadata={"group": "where it runs"})
    retries: int = 0

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise UserError(f"--retries must be at least 0, not {self.retries}")

    def resources(self) -> Resources:
        """What each run needs."""
        return Resources(retries=self.retries)


def make_engine(options: EngineOptions, workers: int = 1, device: str = "auto") -> Engine:
    """The engine of a command.

    Args:
        options: Which one.
        workers: Tasks at a time.
        device: That of the tasks, as ``--device``; where it leaves the choice (auto, cuda), each
            process of this machine sees one of its GPUs.
    """
    from grace_geom.engines.local import Local, spread_over

    return Local(workers, spread_over(device))
