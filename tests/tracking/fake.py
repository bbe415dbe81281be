"""A tracker that notes what it is told, and fails or hangs where it is asked to."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grace_geom.tracking import trackers
from grace_geom.tracking.base import Home


class FakeTracker:
    """Fails in the call named ``fails``; in the one named ``hangs`` it waits for ``release``."""

    def __init__(self, fails: str = "", hangs: str = "") -> None:
        self.fails, self.hangs, self.release = fails, hangs, threading.Event()
        self.homes: list[Home] = []
        self.calls: list[tuple[Any, ...]] = []
        self.sizes: dict[Path, int] = {}

    def at(self, home: Home) -> "FakeTracker":
        self.homes.append(home)
        self._did("import")
        return self

    def start(self, settings: dict[str, Any], name: str) -> dict[str, str]:
        self._did("start", settings, name)
        return {"id": self.homes[-1].known.get("id", f"run-{len(self.homes)}")}

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self._did("log", step, numbers)

    def figure(self, name: str, path: Path) -> None:
        self._did("figure", name, path)
        if path.is_file():
            self.sizes[path] = path.stat().st_size

    def finish(self, status: str) -> None:
        self._did("finish", status)

    def named(self, call: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of that name."""
        return [arguments for name, *arguments in self.calls if name == call]

    def _did(self, call: str, *arguments: Any) -> None:
        self.calls.append((call, *arguments))
        if call == self.hangs:
            self.release.wait(30)
        if call == self.fails:
            raise ConnectionError(f"no route\nto {call}")


Install = Callable[..., dict[str, FakeTracker]]


def install(monkeypatch: pytest.MonkeyPatch, **fakes: FakeTracker) -> dict[str, FakeTracker]:
    """Have these take the places of trackers by name, as if their libraries were installed."""
    monkeypatch.setattr(trackers, "import_tracker", lambda name, home: fakes[name].at(home))
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: name in fakes or find(name, *rest)
    )
    return fakes
