"""Tasks that are decided on while others run."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grace_geom.engines import Feeding, Task, TaskOutcome, attempt, feed
from grace_geom.engines.local import Local
from tests.engines import work
from tests.engines.made import NAMES, engine


def double(x: int) -> int:
    return 2 * x


class Chain:
    """Tasks of which each third one waits for all before it."""

    def __init__(self, n: int) -> None:
        self.n, self.given, self.ended = n, 0, 0

    def __iter__(self) -> Iterator[Task[int] | None]:
        while self.ended < self.n:
            if self.given == self.n or (self.given % 3 == 0 and self.ended < self.given):
                yield None
            else:
                self.given += 1
                yield Task(f"t{self.given}", double, (self.given,))

    def run(self, outcomes: Iterator[TaskOutcome[int]]) -> list[int]:
        found = []
        for outcome in outcomes:
            self.ended += 1
            assert self.ended <= self.given
            found.append(outcome.value)
        return sorted(found)


class Eager:
    """An engine that takes its tasks all at once."""

    def __init__(self, room: int) -> None:
        self.room, self.calls = room, []

    def run(self, tasks: Sequence[Task[int]]) -> Iterator[TaskOutcome[int]]:
        self.calls.append(len(tasks))
        yield from map(attempt, tasks)

    def at_once(self, tasks: int) -> int:
        return min(self.room, tasks)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_later_tasks_wait_for_the_outcomes_that_they_depend_on(workers, monkeypatch):
    process = "grace_geom.engines.local._process"  # threads begin sooner
    monkeypatch.setattr(process, lambda workers, gpu: ThreadPoolExecutor(1))
    engine, chain = Local(workers), Chain(7)
    assert isinstance(engine, Feeding)
    assert chain.run(feed(engine, iter(chain))) == [2 * i for i in range(1, 8)]


def test_an_engine_that_takes_all_at_once_is_given_what_is_ready():
    engine, chain = Eager(room=2), Chain(7)
    assert not isinstance(engine, Feeding)
    assert chain.run(feed(engine, iter(chain))) == [2 * i for i in range(1, 8)]
    assert engine.calls == [2, 1, 2, 1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_a_free_place_takes_the_next_task_while_another_one_goes_on(name: str, tmp_path: Path):
    """The slow one ends once the third has run, which begins after the second."""
    file, found = str(tmp_path / "written"), list[str]()

    def tasks() -> Iterator[Task[object] | None]:
        yield Task("slow", work.waits_for, (file,))
        yield Task("quick", work.twice, (1,))
        while "quick" not in found:
            yield None
        yield Task("next", work.writes, (file,))

    for outcome in feed(engine(name, tmp_path), tasks()):
        found.append(outcome.name)
        assert not outcome.error and (outcome.name == "quick" or Path(file).exists())
    assert found[0] == "quick" and sorted(found[1:]) == ["next", "slow"]
