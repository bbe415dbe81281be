"""What is pretended at the moment, and what was seen of it."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
Key = tuple[str, str]


class DeviceMismatch(RuntimeError):
    """What CUDA says of operands on two devices."""


class Hang(BaseException):
    """The host would wait for a kernel that never ends: a sum by NCCL whose peer is gone.

    No ``Exception``, since no handler of the code under test could catch a hang either.
    """


class Race(RuntimeError):
    """A copy to the host is read although nobody waited for it."""


@dataclass
class Seen:
    """What was seen. Counters have keys ``(what, "/package/file.py:line")``, the place being the
    innermost line of the watched package.

    Attributes:
        waits: What made the host wait for the GPU.
        uploads: Copies from the host to a GPU; ``pageable`` and ``blocking`` are said where so.
        nondeterministic: Operators whose result may differ from run to run on CUDA.
        collectives: Process groups and sums, by device and type.
        pickled: GPU tensors that were pickled.
        mixed: What CUDA would have refused, ``(words, place)``; raised too where strict.
        ops: Operators.
    """

    waits: Counter[Key] = field(default_factory=Counter)
    uploads: Counter[Key] = field(default_factory=Counter)
    nondeterministic: Counter[Key] = field(default_factory=Counter)
    collectives: Counter[Key] = field(default_factory=Counter)
    pickled: Counter[Key] = field(default_factory=Counter)
    mixed: list[Key] = field(default_factory=list)
    ops: int = 0

    def lines(self) -> list[str]:
        """All of it for people, the most frequent first."""
        found = [f"operators: {self.ops}"]
        for name in ("waits", "uploads", "nondeterministic", "collectives", "pickled"):
            counter: Counter[Key] = getattr(self, name)
            found.append(f"{name}: {counter.total()}")
            found += [f"  {n:6d}  {what:34s} {at}" for (what, at), n in counter.most_common()]
        return [*found, *(f"refused: {words} at {at}" for words, at in self.mixed)]


class Pretence:
    """The machine that is pretended. Attributes as the arguments of
    :func:`tests.pretended_gpu.pretended_gpu`, and:

    Attributes:
        current: Index of the current GPU.
        lost: Where a sum was begun whose peer is gone; empty while all are there.
        copies: How many copies to the host were begun without waiting.
        landed: How many of them are there for certain.
        casts: Autocast by device type, ``(on, dtype)``, as the program asked for it.
    """

    def __init__(self, package: str, count: int, strict: bool, free: int, tf32: bool) -> None:
        self.package, self.count, self.strict = package, count, strict
        self.free, self.tf32 = free, tf32
        self.seen, self.current, self.lost = Seen(), 0, ""
        self.copies = self.landed = 0
        self.casts = {"cpu": (False, torch.bfloat16), "cuda": (False, torch.float16)}
        self._hush = False

    def where(self) -> str:
        """The innermost line of the watched package; ``?`` where there is none."""
        frame = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if self.package in file and not _own(file):
                return f"{file[file.rindex(self.package) :]}:{frame.f_lineno}"
            frame = frame.f_back  # type: ignore[assignment]
        return "?"

    def wait(self, what: str) -> None:
        """The host waits for all that was asked of the GPU."""
        if self._hush:
            return
        at = self.where()
        self._hangs(what, at)
        self.seen.waits[what, at] += 1
        self.landed = self.copies

    def upload(self, what: str, blocking: bool = False) -> None:
        """A copy from the host to the GPU; a blocking one has the host wait too."""
        at = self.where()
        if blocking:
            self._hangs(what, at)
            self.landed = self.copies
        self.seen.uploads[what + (", blocking" if blocking else ""), at] += 1

    def _hangs(self, what: str, at: str) -> None:
        if self.lost:
            raise Hang(f"{what} at {at} waits for the sum of {self.lost}, which never ends")

    def refuse(self, words: str, error: type[Exception] = DeviceMismatch) -> None:
        """Note what CUDA would refuse; raise it where strict."""
        at = self.where()
        self.seen.mixed.append((words, at))
        if self.strict:
            raise error(f"{words} at {at}")

    @contextlib.contextmanager
    def hushed(self) -> Iterator[None]:
        """Waits inside are one that was counted already."""
        before, self._hush = self._hush, True
        try:
            yield
        finally:
            self._hush = before


def _own(file: str) -> bool:
    return file.startswith(_HERE) and not file.startswith(_HERE + "test_")


def words(text: str) -> tuple[str, ...]:
    """The words of a table."""
    return tuple(text.split())


pretence: Pretence | None = None


def now() -> Pretence:
    """The machine under way."""
    if pretence is None:
        raise RuntimeError("no GPU is pretended")
    return pretence
