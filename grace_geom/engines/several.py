"""One task in several processes, which torch's elastic launcher starts (what ``torchrun`` is) and
brings together.
"""

import pickle
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from grace_geom.devices import share_threads
from grace_geom.distributed import PeerLost, processes
from grace_geom.engines.base import T, Task, TaskOutcome, attempt
from grace_geom.engines.parts import MachinePart, joined
from grace_geom.errors import Interrupted
from grace_geom.files import atomic_write

HERE = "127.0.0.1:0"
"""Endpoint of a rendezvous on one machine, at any port that is free."""


def perform(task: Task[T]) -> TaskOutcome[T]:
    """Do a task on this machine, in as many processes as it asks for.

    Raises:
        Interrupted, KeyboardInterrupt: As :func:`grace_geom.engines.attempt`.
    """
    needs = task.resources
    if needs.processes * needs.nodes == 1:
        return attempt(task)
    return joined(task, [part_of_machine(task)])


def part_of_machine(
    task: Task[Any],
    endpoint: str = HERE,
    name: str = "",
    number: int = 0,
    address: str | None = None,
) -> MachinePart:
    """Start the task's processes of this machine and wait until they end.

    Args:
        task: Whose ``resources.nodes`` machines all call this.
        endpoint: HOST:PORT where the machines meet; the first of them is that host.
        name: Of the meeting, the same on all of them.
        number: Of this machine. The first one, 0, holds the meeting: a host's own name often leads
            to 127.0.1.1 there, and torch would take the endpoint for another machine.
        address: Where the others find this machine; ``None``: by its name.

    Raises:
        Interrupted: If this process was told to stop (SIGTERM, Ctrl-C), as the others were then.
    """
    needs = task.resources
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=needs.nodes,
            max_nodes=needs.nodes,
            nproc_per_node=needs.processes,
            run_id=name or uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint=endpoint,
            rdzv_configs={"is_host": number == 0},
            local_addr="127.0.0.1" if endpoint == HERE else address,
            logs_specs=DefaultLogsSpecs(log_dir=f"{folder}/logs"),
            max_restarts=0,  # the engine tries again, on other machines if need be
        )
        died = False
        with _own_signals():
            try:
                elastic_launch(config, _one)(task, folder)
            except ChildFailedError:
                died = True
            except SignalException as stopped:
                raise Interrupted(f"stopped by {stopped.sigval.name}") from None
        found = {int(file.stem): _read(file) for file in sorted(Path(folder).glob("*.pkl"))}
        return MachinePart(found, died)


def _one(task: Task[Any], folder: str) -> None:
    """One of the processes. What it found goes to a file before it takes leave of the others."""
    share_threads(task.resources.processes)
    with processes() as world:
        try:
            outcome = attempt(task)
        except PeerLost:
            raise SystemExit(1) from None
        except Interrupted as stopped:
            outcome = TaskOutcome(task.name, error=str(stopped), failure="lost")
        with atomic_write(Path(folder) / f"{world.rank}.pkl") as file:
            pickle.dump(outcome, file)


def _read(file: Path) -> TaskOutcome[Any]:
    outcome: TaskOutcome[Any] = pickle.loads(file.read_bytes())
    return outcome


@contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher takes signals where it may, in the main thread, and does not give them back. Its
    processes must hear them: those of Ray, and what they start, are born deaf to SIGINT, which
    multiprocessing mends by chance in some versions of Python.
    """
    main = threading.current_thread() is threading.main_thread()
    kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT) if main else ()
    before = {kind: signal.getsignal(kind) for kind in kinds}
    deaf = signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, deaf)
        for kind, handler in before.items():
            signal.signal(kind, handler)
