"""What an engine is asked and what it answers. Needs no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from grace_geom.errors import Interrupted, UserError
from grace_geom.terminal import warn

T = TypeVar("T")
Failure = Literal["", "user", "fault", "lost"]


@dataclass(frozen=True)
class Resources:
    """What one task needs.

    Attributes:
        cpus: CPU cores; ``None``: what the engine gives by itself.
        gpus: GPUs on all its machines, for an engine that hands them out; a part of one where
            several tasks share it; ``None``: what the engine gives by itself.
        memory: Main memory of each machine, bytes; ``None``: not asked for.
        processes: Processes on each machine, started and brought together as by ``torchrun``.
        nodes: Machines.
        retries: How often the task is tried again after its process or its machine was lost. An
            error that the function raises is an answer, and is not tried again.
    """

    cpus: int | None = None
    gpus: float | None = None
    memory: int | None = None
    processes: int = 1
    nodes: int = 1
    retries: int = 0


@dataclass(frozen=True)
class Task(Generic[T]):
    """One part of the work.

    Attributes:
        name: For people and in outcomes; no two tasks of a call share it.
        function: Can be pickled, as its arguments and its result can. It leaves what it made in
            files, whole, and goes on from them where it is called again.
        args: Its arguments.
        resources: What it needs.
    """

    name: str
    function: Callable[..., T]
    args: tuple[Any, ...] = ()
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class TaskOutcome(Generic[T]):
    """How a task ended.

    Attributes:
        name: That of the task.
        value: What its function returned; ``None`` where it failed.
        error: Why it failed, for people; empty where it did not.
        failure: Whether by a mistake that the user can mend (``user``), by a fault of the function
            (``fault``), or because its process or its machine was lost (``lost``).
        attempts: How often it was begun.
    """

    name: str
    value: T | None = None
    error: str = ""
    failure: Failure = ""
    attempts: int = 1


class Engine(Protocol):
    """Runs tasks."""

    def run(self, tasks: Sequence[Task[T]]) -> Iterator[TaskOutcome[T]]:
        """One outcome for each task, in the order in which they end. A task that fails costs no
        other one.

        Where the caller stops early (an exception, ``close()``), what has not ended is stopped; an
        engine whose tasks outlive the command (SLURM) says where they go on.

        Raises:
            UserError: If the engine cannot be had, or cannot give what a task needs.
            Interrupted: If the user stops the work.
        """
        ...

    def at_once(self, tasks: int) -> int:
        """How many of so many tasks are expected to run at a time, for estimates of time; at least
        1.
        """
        ...


def attempt(task: Task[T]) -> TaskOutcome[T]:
    """Call the function in this process; whatever it raises becomes the outcome.

    Raises:
        Interrupted, KeyboardInterrupt: Only these pass through.
    """
    try:
        return TaskOutcome(task.name, task.function(*task.args))
    except Interrupted:
        raise
    except UserError as error:
        return TaskOutcome(task.name, error=str(error), failure="user")
    except Exception as error:  # a fault in one task must not cost the others
        return TaskOutcome(task.name, error=f"{type(error).__name__}: {error}", failure="fault")


def again(task: Task[T], why: str, begun: int) -> bool:
    """Whether a task whose process or machine was lost is begun again, which is said.

    Args:
        task: The task.
        why: What became of it.
        begun: How often it was begun.
    """
    most = task.resources.retries + 1
    if begun < most:
        warn(f"{task.name}: {why}; attempt {begun + 1} of {most} begins")
    return begun < most
