"""Functions that tasks of the tests call, in whichever process."""

import os
import signal
import time
from pathlib import Path

from grace_geom.errors import Interrupted, UserError
from grace_geom.terminal import say, warn


def twice(x: int) -> int:
    return 2 * x


def refuses() -> int:
    raise UserError("no such file")


def breaks() -> int:
    raise ZeroDivisionError("by nought")


def stops() -> int:
    raise Interrupted("stopped after step 3")


def dies_at_first(folder: str, times: int) -> str:
    """Killed the first ``times`` times that it is called."""
    begun = len(list(Path(folder).iterdir()))
    (Path(folder) / str(begun)).touch()
    if begun < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"begun {begun + 1} times"


def saves_when_stopped(folder: str, seconds: float = 3.0) -> str:
    """As a training: told to stop it ends its step and saves, told twice it stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    usual = signal.signal(signal.SIGINT, ask)
    try:
        (Path(folder) / f"begun-{os.getpid()}").touch()
        end = time.monotonic() + 300
        while not asked:
            time.sleep(0.05)
            if time.monotonic() > end:
                return "nobody asked"
        time.sleep(seconds)
        (Path(folder) / f"saved-{os.getpid()}").touch()
    finally:
        signal.signal(signal.SIGINT, usual)
    raise Interrupted("stopped after step 3")


def waits_for(file: str, seconds: float = 300) -> str:
    end = time.monotonic() + seconds
    while not Path(file).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return file


def begins_and_waits(folder: str, file: str) -> str:
    (Path(folder) / f"begun-{os.getpid()}").touch()
    return waits_for(file)


def writes(file: str) -> str:
    Path(file).touch()
    return file


def speaks(text: str) -> str:
    say(text)
    warn("careful")
    print("for nobody")
    return text


def ranks(scale: float) -> tuple[int, float]:
    """How many processes there are, and the sum of their ranks, which is found by a message."""
    import torch

    from grace_geom.distributed import total
    from grace_geom.world import world

    here = world()
    found = torch.tensor([scale * here.rank])
    total([found])
    return here.size, found.item()


def one_refuses() -> None:
    """The second process finds a mistake while the first one waits for it."""
    import torch

    from grace_geom.distributed import total
    from grace_geom.world import world

    if world().rank == 1:
        raise UserError("the second has no file")
    total([torch.ones(1)])


def one_dies(folder: str) -> int:
    """The second process is killed at the first attempt."""
    import torch

    from grace_geom.distributed import total
    from grace_geom.world import world

    here, died = world(), Path(folder) / "died"
    if here.rank == 1 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    total([torch.ones(1)])
    return here.size
