"""Processes of this machine, which share its cores and take its GPUs in turn."""

import multiprocessing
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.connection import Connection

from grace_geom.devices import share_threads, visible_gpus
from grace_geom.engines.base import T, Task, TaskOutcome, again
from grace_geom.engines.feed import ready
from grace_geom.engines.several import perform
from grace_geom.errors import UserError
from grace_geom.terminal.voice import line, say, voice

DIED = "its process died (out of memory?)"


class Local:
    """Tasks in this process for one worker, else in ``workers`` processes that share the cores.

    Args:
        workers: Tasks at a time.
        gpus: GPUs that the processes take in turn, as ``CUDA_VISIBLE_DEVICES`` names them; where
            there are none, each process sees what this one sees.
        each: GPUs that each process has to itself; 0: one, which several may share.

    Raises:
        UserError: If there are too few GPUs for that.
    """

    def __init__(self, workers: int = 1, gpus: Sequence[str] = (), each: int = 0) -> None:
        if each * workers > len(gpus):
            raise UserError(
                f"--gpus-per-run {each} for --workers {workers}: this machine has {len(gpus)} GPUs"
            )
        size = max(1, each)
        self.workers = workers
        self.gpus = tuple(",".join(gpus[i : i + size]) for i in range(0, len(gpus), size))

    def at_once(self, tasks: int) -> int:
        """As many as there are workers, if there are as many tasks."""
        return max(1, min(self.workers, tasks))

    def run(self, tasks: Sequence[Task[T]]) -> Iterator[TaskOutcome[T]]:
        """See :class:`grace_geom.engines.Engine`. A process that dies is its own task's failure."""
        if len(tasks) < 2:
            for task in tasks:
                yield self._here(task)
        else:
            yield from self.feed(iter(tasks))

    def feed(self, tasks: Iterator[Task[T] | None]) -> Iterator[TaskOutcome[T]]:
        """See :class:`grace_geom.engines.Feeding`."""
        if self.workers == 1:
            yield from map(self._here, ready(tasks))
            return
        slots = {number: self._process(number) for number in range(self.workers)}
        lost: list[tuple[Task[T], int]] = []
        running: dict[Future[TaskOutcome[T]], tuple[int, Task[T], int]] = {}
        try:
            while True:
                busy = {number for number, _, _ in running.values()}
                for number in sorted(slots.keys() - busy):
                    given, begun = lost.pop(0) if lost else (next(tasks, None), 1)
                    if given is None:
                        break
                    try:
                        future = slots[number].submit(perform, given)
                    except BrokenProcessPool:  # it died while it had nothing to do
                        slots[number].shutdown()
                        slots[number] = self._process(number)
                        future = slots[number].submit(perform, given)
                    running[future] = number, given, begun
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number, task, begun = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool:
                        slots[number].shutdown()  # its last words are said
                        slots[number] = self._process(number)
                        outcome = TaskOutcome(task.name, None, DIED, "lost")
                    if outcome.failure == "lost" and again(task, outcome.error, begun):
                        lost.append((task, begun + 1))
                    else:
                        yield replace(outcome, attempts=begun)
        finally:
            for slot in slots.values():
                slot.shutdown(wait=True, cancel_futures=True)

    def _here(self, task: Task[T]) -> TaskOutcome[T]:
        """Do a task in this process; one that has processes of its own may lose them."""
        begun = 1
        while (outcome := perform(task)).failure == "lost" and again(task, outcome.error, begun):
            begun += 1
        return replace(outcome, attempts=begun)

    def _process(self, number: int) -> ProcessPoolExecutor:
        gpu = self.gpus[number % len(self.gpus)] if self.gpus else None
        return _process(self.workers, gpu)


def spread_over(device: str) -> tuple[str, ...]:
    """The GPUs that processes take in turn; none where there are none, or where ``--device`` names
    one.
    """
    return visible_gpus() if device in ("auto", "cuda") else ()


class _Process(ProcessPoolExecutor):
    """One process whose output this one says, above the rows that are drawn on its terminal."""

    def __init__(self, workers: int, gpu: str | None) -> None:
        context = multiprocessing.get_context("spawn")  # torch and CUDA do not survive a fork
        heard, self._told = context.Pipe(duplex=False)
        self._relay = threading.Thread(target=_relay, args=(heard,), daemon=True)
        self._relay.start()
        begin = workers, gpu, self._told, voice().quiet
        super().__init__(1, mp_context=context, initializer=_begin, initargs=begin)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the process end, and say the last of its lines."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._told.close()
        if wait:
            self._relay.join()


def _process(workers: int, gpu: str | None) -> ProcessPoolExecutor:
    return _Process(workers, gpu)


def _relay(heard: Connection) -> None:
    """Say what a process prints, line by line; its warnings are the command's. Under ``--quiet`` it
    mutes itself but for those, and what native code prints is heard.
    """
    rest = b""
    while piece := os.read(heard.fileno(), 65536):
        *lines, rest = (rest + piece).split(b"\n")
        for one in lines:
            _tell(one)
    if rest:  # it ended in the middle of a line
        _tell(rest)


def _tell(printed: bytes) -> None:
    text = printed.decode("utf-8", "replace")
    (say if text.startswith("warning: ") else line)(text)


def _begin(
    workers: int, gpu: str | None, told: Connection | None = None, quiet: bool = False
) -> None:
    """First thing in a process of its own: take its GPU and its part of the threads, let the
    command say what it prints, and end when the command does.

    The GPU is the only one that the process sees, so that the record of a run does not depend on
    which of them it was.

    Without the latter a command that was killed would leave its tasks going, and the same command
    again would start a second process in their folders.
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA is first used
    voice().quiet, voice().relayed = quiet, told is not None
    if quiet:  # as the command itself does
        warnings.simplefilter("ignore")
    if told is not None:
        for stream in (1, 2):  # stdout is the command's own; native code prints there too
            os.dup2(told.fileno(), stream)
        told.close()
    share_threads(workers)
    if command := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(command,), daemon=True).start()


def _end_with(command: multiprocessing.process.BaseProcess) -> None:
    command.join()
    os._exit(1)  # as the command itself ended: at once; files are written whole or not at all
