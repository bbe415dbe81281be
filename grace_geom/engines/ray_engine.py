"""Tasks by Ray (Moritz et al. 2018), on this machine or on a cluster. Which machine has room is
Ray's business.
"""

import logging
import os
import queue
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic

from grace_geom.engines.base import Resources, T, Task, TaskOutcome, again
from grace_geom.engines.elsewhere import Origin, Report, report, tell
from grace_geom.engines.feed import MOST
from grace_geom.engines.parts import MachinePart, joined
from grace_geom.errors import Interrupted, UserError, first_line
from grace_geom.terminal import say, warn

LAST_WORDS = 60.0
"""Seconds that tasks have to end their step and write a checkpoint after Ctrl-C."""


@dataclass(frozen=True)
class _Begun(Generic[T]):
    """A task that Ray has: its result to come, what works on it (a part on each machine), and the
    room that was set aside for it.
    """

    task: Task[T]
    times: int
    result: Any
    parts: tuple[Any, ...]
    group: Any = None


class RayEngine:
    """Each task is a remote function of Ray. The connection stays until the process ends, and so
    does a Ray that was started for it.

    Args:
        needs: What most tasks ask for, to estimate how many run at a time. A task that names no
            cores gets one; no GPUs: one if Ray has any and ``device`` allows it.
        device: That of the tasks, as ``--device``.
        address: Of a cluster, as ``ray.init`` takes it; ``None`` starts Ray on this machine.
        workers: Most tasks at a time; ``None``: as many as there is room for.
    """

    def __init__(
        self,
        needs: Resources,
        device: str = "auto",
        address: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.needs, self.device, self.address, self.workers = needs, device, address, workers
        self._connected = False

    def at_once(self, tasks: int) -> int:
        """As many as Ray's machines have room for now, by cores and GPUs."""
        room = self._ray().cluster_resources()
        asked = self._options(self.needs)
        found = [
            int(room.get(name, 0) // (need * self.needs.nodes))
            for name, need in (("CPU", asked["num_cpus"]), ("GPU", asked["num_gpus"]))
            if need
        ]
        return max(1, min([tasks, *found, *([self.workers] if self.workers else [])]))

    def run(self, tasks: Sequence[Task[T]]) -> Iterator[TaskOutcome[T]]:
        """See :class:`grace_geom.engines.Engine`. A lost process or machine is tried again from
        here and not by Ray, so that it can be said.
        """
        wanted = dict.fromkeys(task.resources for task in tasks)
        self._refuse_too_much(list(wanted))
        yield from self._work(iter(tasks), lambda: self.workers or MOST, set(wanted))

    def feed(self, tasks: Iterator[Task[T] | None]) -> Iterator[TaskOutcome[T]]:
        """See :class:`grace_geom.engines.Feeding`. Room is what Ray's machines have together at the
        time, whoever uses it: of more tasks Ray itself makes a queue.
        """
        yield from self._work(tasks, lambda: self.at_once(MOST), set())

    def _work(
        self, tasks: Iterator[Task[T] | None], room: Callable[[], int], known: set[Resources]
    ) -> Iterator[TaskOutcome[T]]:
        """Outcomes of tasks, of which Ray has at most ``room()`` at a time; what those ask for that
        are not ``known`` may be refused.
        """
        home, ended = Origin.here(), queue.SimpleQueue[int]()
        lost, running = list[tuple[Task[T], int]](), dict[int, _Begun[T]]()
        number = 0
        try:
            while True:
                while len(running) < room():
                    given, times = lost.pop(0) if lost else (next(tasks, None), 1)
                    if given is None:
                        break
                    if given.resources not in known:
                        self._refuse_too_much([given.resources])
                        known.add(given.resources)
                    number += 1
                    running[number] = self._submit(given, times, home)
                    told = running[number].result.future()
                    told.add_done_callback(partial(_put, ended, number))
                if not running:
                    return
                begun = running.pop(ended.get())
                outcome = self._outcome(begun)
                if outcome.failure == "lost" and again(begun.task, outcome.error, begun.times):
                    lost.append((begun.task, begun.times + 1))
                else:
                    yield replace(outcome, attempts=begun.times)
        finally:
            self._stop(list(running.values()))

    def _ray(self) -> Any:
        """Ray, connected."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        import ray

        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)  # its own advice is no news of ours
            more = {} if self.address else {"include_dashboard": False}
            try:
                ray.init(
                    self.address or "local", log_to_driver=False, logging_level="error", **more
                )
            except Exception as error:  # Ray has no class of its own for a start that fails
                if self.address is None:
                    raise UserError(f"Ray did not start here: {first_line(error)}") from error
                raise UserError(
                    f"--ray-address {self.address}: {first_line(error)}. On one of its machines "
                    "`ray status` says whether the cluster is up"
                ) from error
        if not self._connected:
            self._connected = True
            # Of lost workers we speak ourselves; Ray prints pages on them to stdout, a table's
            # place, and has no option against that.
            ray._private.worker._worker_logs_enabled = False
            room = ray.cluster_resources()
            has = f"{room.get('CPU', 0):g} cores and {room.get('GPU', 0):g} GPUs"
            say(f"Ray: {len(ray.nodes())} machines with {has}")
        return ray

    def _options(self, needs: Resources) -> dict[str, Any]:
        """Ray's options for the processes of one machine."""
        gpus = needs.gpus
        if gpus is None:
            any_there = self._ray().cluster_resources().get("GPU", 0) > 0
            gpus = float(any_there and self.device in ("auto", "cuda"))
        found: dict[str, Any] = {
            "num_cpus": 1 if needs.cpus is None else needs.cpus,
            "num_gpus": gpus / needs.nodes,
            "max_retries": 0,
        }
        return found | ({} if needs.memory is None else {"memory": needs.memory})

    def _refuse_too_much(self, wanted: Sequence[Resources]) -> None:
        """Refuse at once what this machine will never have; a cluster may grow, so there it is
        said.
        """
        most: dict[str, float] = {}
        for node in self._ray().nodes():
            for name, amount in node["Resources"].items() if node["Alive"] else ():
                most[name] = max(most.get(name, 0), amount)
        for needs in wanted:
            asked = self._options(needs)
            for flag, name, key in (
                ("--cpus-per-run", "CPU", "num_cpus"),
                ("--gpus-per-run", "GPU", "num_gpus"),
                ("--memory-per-run", "memory", "memory"),
            ):
                if asked.get(key, 0) > most.get(name, 0):
                    lacks = f"{flag}: no machine of Ray has {asked[key]:g} of {name}, the largest "
                    lacks += f"has {most.get(name, 0):g}"
                    if self.address is None:
                        raise UserError(f"{lacks}; ask for less, or name a cluster: --ray-address")
                    warn(f"{lacks}; such runs wait until one joins")

    def _submit(self, task: Task[T], times: int, home: Origin) -> _Begun[T]:
        ray, options = self._ray(), self._options(task.resources)
        if task.resources.nodes == 1:
            work = ray.remote(_alone).options(name=task.name, **options)
            result = work.remote(home, task)
            return _Begun(task, times, result, (result,))
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        names = (("num_cpus", "CPU"), ("num_gpus", "GPU"), ("memory", "memory"))
        bundle = {name: options[key] for key, name in names if options.get(key)}
        nodes = task.resources.nodes
        group = placement_group([bundle] * nodes, strategy="STRICT_SPREAD")
        on = [PlacementGroupSchedulingStrategy(group, bundle) for bundle in range(nodes)]
        where = ray.remote(_address).options(num_cpus=0, scheduling_strategy=on[0]).remote()
        name = f"{task.name} {times}"
        parts = [
            ray.remote(_part).options(name=task.name, scheduling_strategy=one, **options)
            for one in on
        ]
        found = [part.remote(home, task, where, name, i) for i, part in enumerate(parts)]
        whole = ray.remote(_join).options(num_cpus=0, max_retries=0).remote(task, *found)
        return _Begun(task, times, whole, tuple(found), group)

    def _outcome(self, begun: _Begun[T]) -> TaskOutcome[T]:
        ray, name = self._ray(), begun.task.name
        try:
            found: Report[T] = ray.get(begun.result)
        except ray.exceptions.RayTaskError as error:  # our own functions there: what they return
            if not isinstance(error.cause, ray.exceptions.RayError):
                return TaskOutcome(name, error=first_line(error.cause or error), failure="fault")
            return TaskOutcome(name, error=_lost(error.cause), failure="lost")
        except ray.exceptions.RayError as error:
            return TaskOutcome(name, error=_lost(error), failure="lost")
        finally:
            self._free(begun)
        tell(found.said)
        return found.outcome

    def _free(self, begun: _Begun[Any]) -> None:
        if begun.group is not None:
            from ray.util.placement_group import remove_placement_group

            remove_placement_group(begun.group)

    def _stop(self, running: Sequence[_Begun[Any]]) -> None:
        """Have the tasks that have not ended write their checkpoints and stop; end those that take
        too long, or all when the user asks once more.
        """
        if not running:
            return
        ray = self._ray()
        parts = [part for begun in running for part in begun.parts]
        say(
            f"{len(running)} runs stop; those under way have {LAST_WORDS:g} s to end their step and "
            "write a checkpoint, Ctrl-C again ends them now"
        )
        late = parts
        try:
            for part in parts:
                ray.cancel(part)  # as Ctrl-C there, once
            _, late = ray.wait(parts, num_returns=len(parts), timeout=LAST_WORDS)
        finally:
            for part in late:
                ray.cancel(part, force=True)
            for begun in running:
                self._free(begun)
        if late:
            many = "1 process was" if len(late) == 1 else f"{len(late)} processes were"
            warn(f"{many} not ready within {LAST_WORDS:g} s, and ended by force")


def _put(ended: "queue.SimpleQueue[int]", number: int, _: object) -> None:
    ended.put(number)


def _lost(error: BaseException) -> str:
    return f"its process or its machine was lost ({type(error).__name__})"


def _alone(home: Origin, task: Task[T]) -> Report[T]:
    """A task on one machine, in the process that Ray keeps for it."""
    _share(task)
    return report(home, task)


def _part(home: Origin, task: Task[Any], endpoint: str, name: str, number: int) -> MachinePart:
    """One machine's part of a task on several."""
    import ray

    from grace_geom.engines.several import part_of_machine

    _share(task)
    home.enter()
    try:
        here = ray.util.get_node_ip_address()
        return part_of_machine(task, endpoint, name, number, here)
    except Interrupted:
        return MachinePart({}, died=True)


def _join(task: Task[T], *parts: MachinePart) -> Report[T]:
    return Report(joined(task, parts))


def _address() -> str:
    """Where the machines of a task meet: this one, at a port that is free."""
    import ray

    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"


def _share(task: Task[Any]) -> None:
    """Decode images on the task's part of the cores; Ray itself counts them and limits nothing."""
    if task.resources.cpus:
        from grace_geom.devices import cores, share_cores

        share_cores(max(1, cores() // task.resources.cpus))
