"""``torch.cuda`` and ``torch.accelerator`` without a driver."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from tests.pretended_gpu.state import Pretence, now, words
from tests.pretended_gpu.tags import exact


def _gpu(device: Any = None) -> torch.device:
    found = exact("cuda" if device is None else device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return found


class Stream:
    """A queue of work; all that is asked of a GPU is done at once here."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = _gpu(device)
        self.lost = False  # behind a sum that never ends

    def synchronize(self) -> None:
        """Wait for all of it."""
        now().wait("stream.synchronize")

    def wait_stream(self, other: "Stream") -> None:
        """The GPU waits, not the host."""

    def wait_event(self, event: "Event") -> None:
        """The GPU waits, not the host."""
        self.lost = self.lost or event.lost

    def record_event(self, event: "Event | None" = None) -> "Event":
        """A mark in the queue."""
        event = event or Event()
        event.record(self)
        return event

    def query(self) -> bool:
        """Whether all is done."""
        now().landed = now().copies
        return True

    def is_capturing(self) -> bool:
        """No graph is captured here."""
        return False

    def __enter__(self) -> "Stream":
        """Work goes to this queue, which a sum that never ends in another does not stop."""
        self.before, now().lost = now().lost, now().lost if self.lost else ""
        return self

    def __exit__(self, *error: object) -> None:
        """The usual queue again."""
        now().lost = self.before or now().lost


class Event:
    """A mark in a queue: waiting for it, or seeing it passed, makes the copies before it safe."""

    BEHIND = 10
    """Operators that must have been asked for after a mark, so that waiting for it does not leave
    the GPU without work."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, **other: Any) -> None:
        self.copies = self.ops = 0
        self.lost = False

    def record(self, stream: Stream | None = None) -> None:
        """Set it behind what was asked for until now."""
        self.copies, self.ops, self.lost = now().copies, now().seen.ops, bool(now().lost)

    def wait(self, stream: Stream | None = None) -> None:
        """The GPU waits, not the host."""

    def query(self) -> bool:
        """Whether the GPU has passed it: the pretended one is never late, but stays before a sum
        whose peer is gone.
        """
        if not self.lost:
            now().landed = max(now().landed, self.copies)
        return not self.lost

    def synchronize(self) -> None:
        """Wait until the GPU has passed it; no wait that counts if it has work behind it."""
        if self.lost or now().seen.ops - self.ops < self.BEHIND:
            copies = now().landed
            now().wait("event.synchronize")
            now().landed = copies
        now().landed = max(now().landed, self.copies)

    def elapsed_time(self, later: "Event") -> float:
        """Milliseconds between two marks."""
        return 1.0


class _Device:
    """``with torch.cuda.device(1):``"""

    def __init__(self, device: Any) -> None:
        self.index = now().current if device is None or device == -1 else _gpu(device).index

    def __enter__(self) -> None:
        self.before, now().current = now().current, self.index

    def __exit__(self, *error: object) -> None:
        now().current = self.before


def _questions(pretence: Pretence) -> dict[str, Any]:
    """The functions of ``torch.cuda`` by name."""

    def choose(device: Any) -> None:
        pretence.current = _gpu(device).index

    def properties(device: Any = None) -> SimpleNamespace:
        _gpu(device)
        return SimpleNamespace(
            name="Pretended GPU", total_memory=pretence.free, major=9, minor=0,
            multi_processor_count=132, gcnArchName="",
        )  # fmt: skip

    def none(device: Any = None) -> int:
        _gpu(device)
        return 0

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "_lazy_init": lambda: None,
        "device_count": lambda: pretence.count,
        "current_device": lambda: pretence.current,
        "set_device": choose,
        "device": _Device,
        "synchronize": lambda device=None: pretence.wait("torch.cuda.synchronize"),
        "empty_cache": lambda: None,
        "ipc_collect": lambda: None,
        "mem_get_info": lambda device=None: (pretence.free, pretence.free),
        **dict.fromkeys(_MEMORY, none),
        "get_device_name": lambda device=None: properties(device).name,
        "get_device_properties": properties,
        "get_device_capability": lambda device=None: (9, 0),
        "is_bf16_supported": lambda including_emulation=True: True,
        "is_current_stream_capturing": lambda: False,
        "current_stream": Stream,
        "default_stream": Stream,
        "Stream": Stream,
        "Event": Event,
        "stream": lambda stream: stream,
    }


_MEMORY = words(
    "memory_allocated max_memory_allocated memory_reserved max_memory_reserved "
    "reset_peak_memory_stats reset_accumulated_memory_stats"
)


def stand_ins(pretence: Pretence) -> Iterator[tuple[Any, str, Any]]:
    """All of them."""
    for name, stand_in in _questions(pretence).items():
        yield torch.cuda, name, stand_in

    def choose(index: int) -> None:
        pretence.current = index

    here = torch.device("cuda")
    for name, stand_in in {
        "is_available": lambda: True,
        "device_count": lambda: pretence.count,
        "current_accelerator": lambda check_available=False: here,
        "set_device_index": choose,
        "set_device_idx": choose,
        "current_device_index": lambda: pretence.current,
        "current_stream": Stream,
        "synchronize": lambda device=None: pretence.wait("torch.accelerator.synchronize"),
    }.items():
        yield torch.accelerator, name, stand_in
