"""Processes of a test. Those of one machine are forked from the tests' own, where torch is imported
already: an interpreter that starts anew imports for longer than most tests compute.
"""

import multiprocessing as mp
import os
import runpy
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
Command = Callable[[list[str]], None]
LONGEST = 600
"""Seconds after which a process that has not ended fails its test."""


def fork(function: Callable[..., object], *args: object) -> mp.process.BaseProcess:
    """A process that has started."""
    process = mp.get_context("fork").Process(target=function, args=args)
    process.start()
    return process


def wait(processes: Sequence[mp.process.BaseProcess]) -> list[int | None]:
    """How each of them ended; ``None`` for one that did not, which is killed."""
    for process in processes:
        process.join(LONGEST)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
    return codes


def wait_until(happens: Callable[[], object]) -> None:
    """Look ten times a second whether it is so.

    Raises:
        TimeoutError: If it is not within ``LONGEST``, which a busy machine does not reach.
    """
    end = time.monotonic() + LONGEST
    while not happens():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {LONGEST} seconds")
        time.sleep(0.1)


def ranks(
    folder: Path, flags: list[str], size: int, command: Command
) -> list[mp.process.BaseProcess]:
    """The processes that torchrun would start on this machine; what rank R says on stderr goes to
    ``err.R``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [fork(_rank, command, rank, size, port, folder, flags) for rank in range(size)]


def _rank(
    command: Command, rank: int, size: int, port: str, folder: Path, flags: list[str]
) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    sys.stderr = open(folder / f"err.{rank}", "w", buffering=1)  # noqa: SIM115
    command(flags)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Path]) -> Path:
    """What ``make`` returns for a folder of that name, called once for all workers of pytest-xdist,
    whose tests only look at it.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each has its own folder inside the session's
        root = root.parent
    made = root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not made.is_file():
            made.write_text(str(make(root / name)))
    return Path(made.read_text())


class Ended(NamedTuple):
    """What a process left."""

    code: int | None
    said: str


def python(words: Sequence[str], folder: Path, log: Path) -> Ended:
    """``python WORDS`` in ``folder``: ``-m MODULE``, ``-c CODE`` or a script of ours, with flags.

    Args:
        words: Arguments of the interpreter.
        folder: Working directory.
        log: File for what it writes.
    """
    process = fork(_python, list(words), folder, log)
    (code,) = wait([process])
    return Ended(code, log.read_text(encoding="utf-8", errors="replace"))


def _python(words: list[str], folder: Path, log: Path) -> None:
    os.chdir(folder)
    sys.stdout = sys.stderr = open(log, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
    try:
        if words[0] == "-c":
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        elif words[0] == "-m":
            sys.argv = words[1:]
            module = "grace_geom.data.__main__" if words[1] == "grace_geom.data" else words[1]
            sys.modules.pop(module, None)  # as in a process that has not imported it
            runpy.run_module(module, run_name="__main__")
        else:
            sys.argv = words
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
