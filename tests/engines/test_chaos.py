"""A study whose processes and whose command are killed at random ends complete, with nothing done
twice, by each engine; so do 1,000 tasks on three machines of Ray, one of which is killed.
"""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from multiprocessing import forkserver
from pathlib import Path

import pytest

from benchmarks import engines as benchmark
from grace_geom.config import TrainConfig
from grace_geom.engines import EngineOptions
from grace_geom.engines.local import Local
from grace_geom.evaluation import record_file
from tests.engines.made import machines, patient_ray, want
from tests.processes import LONGEST, ROOT, fork, wait_until
from tests.stub_study import Stub, study

KILLS = 20
SIZE = {"methods": ("zero-shot", "ft", "lora", "at", "lora-at", "grace"), "seeds": (0, 1, 2, 3)}


class Slow(Stub):
    """A stub that can be killed, and notes what it begins, and whether that was done already."""

    def __init__(self, events: str) -> None:
        super().__init__()
        self.events = events

    def train(self, config: TrainConfig) -> Path:
        done = record_file(config.run_dir / "ckpt.pt").exists()
        line = f"{config.run_dir.name} {os.getpid()} {'twice' if done else 'begun'}\n"
        descriptor = os.open(self.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        time.sleep(0.2)
        return super().train(config)


def command(folder: str, workers: int) -> None:
    """The study, whose processes come from the tests' one server of forks."""
    sys.stderr = open(Path(folder) / "err", "a", buffering=1)  # noqa: SIM115
    forkserver._forkserver.ensure_running = lambda: None  # it is up, but no child of this process
    real = multiprocessing.get_context
    multiprocessing.get_context = lambda kind=None: real("forkserver")  # type: ignore[assignment]
    made, _ = study(Path(folder) / "out", Slow(f"{folder}/events"), workers=workers, **SIZE)
    made.where = EngineOptions(retries=KILLS)
    rows = made.run()
    assert not [row.error for row in rows if row.error]  # else the command ends with code 1


def events(folder: Path) -> list[list[str]]:
    file = folder / "events"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def alive(pid: int) -> bool:
    """Whether it goes on; what ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_many_rows_arrive_once_where_nothing_is_killed() -> None:
    found = benchmark.timed(Local(1), 60, 0.0, {})
    assert found["rows"] == 60 and found["each_once_and_right"]


@pytest.mark.nightly
@pytest.mark.distributed
def test_a_study_killed_at_random_ends_complete_with_nothing_done_twice(tmp_path: Path) -> None:
    forkserver.set_forkserver_preload(["tests.stub_study"])  # torch is imported once
    forkserver.ensure_running()
    rng = random.Random(0)
    driver, workers_killed = fork(command, str(tmp_path), 2), 0
    for _ in range(KILLS):
        seen = len(events(tmp_path))
        wait_until(lambda n=seen, p=driver: len(events(tmp_path)) > n or not p.is_alive())
        time.sleep(0.3 * rng.random())
        living = sorted(pid for pid in {int(pid) for _, pid, _ in events(tmp_path)} if alive(pid))
        if rng.random() < 0.5 and living and driver.is_alive():
            os.kill(rng.choice(living), signal.SIGKILL)
            workers_killed += 1
            continue
        driver.kill()
        driver.join()
        wait_until(lambda living=living: not any(map(alive, living)))
        driver = fork(command, str(tmp_path), 2)
    driver.join(LONGEST)
    assert driver.exitcode == 0 and 0 < workers_killed < KILLS
    begun = events(tmp_path)
    assert len(begun) > 21 and not [name for name, _, what in begun if what == "twice"]
    (whole, _), twin = study(tmp_path / "whole", Stub(), **SIZE), tmp_path / "out"
    whole.run()
    for name in ("table.csv", "table.md"):
        assert (twin / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def at_work(folder: Path) -> list[int]:
    """Processes that have begun a row and are still alive without having noted its end."""
    last = {pid: what for _, pid, what in events(folder)}
    return sorted(int(pid) for pid, what in last.items() if what == "begun" and alive(int(pid)))


class Command:
    """A study of tiny tasks, which can be killed and given again.

    Args:
        folder: Of the study.
        words: What follows its name.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.line = [sys.executable, "-m", "tests.engines.tiny_study", *words]
        self.start()

    def start(self) -> None:
        with open(self.folder / "err", "ab") as said:
            self.process = subprocess.Popen(self.line, cwd=ROOT, stdout=said, stderr=said)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def at_work(self) -> list[int]:
        """Processes that have begun a row, have not noted its end, and are alive."""
        last = {pid: what for _, pid, what in events(self.folder)}
        return sorted(int(pid) for pid, what in last.items() if what == "begun" and alive(int(pid)))

    def wait_for_a_row(self) -> None:
        """Until another one is begun."""
        seen = len(events(self.folder))

        def begun() -> bool:
            new = events(self.folder)[seen:]
            return any(what == "begun" for *_, what in new) or self.process.poll() is not None

        wait_until(begun)
        assert self.process.poll() is None, (self.folder / "err").read_text()


def killed_at_random(command: Command, its_tasks_end: bool) -> dict[str, int]:
    """How often a worker and how often the command was killed."""
    rng, killed = random.Random(0), {"worker": 0, "command": 0}
    for _ in range(KILLS):
        command.wait_for_a_row()
        time.sleep(0.3 * rng.random())
        working = command.at_work()
        if rng.random() < 0.5 and working:
            os.kill(rng.choice(working), signal.SIGKILL)
            killed["worker"] += 1
            continue
        command.kill()
        killed["command"] += 1
        if its_tasks_end:
            wait_until(lambda: not command.at_work())
        command.start()
    return killed


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize(("name", "rows"), [("ray", 60), ("slurm", 45)])
def test_a_study_of_tiny_tasks_killed_at_random_ends_complete(
    name: str, rows: int, tmp_path: Path
) -> None:
    """SLURM's jobs outlive their command, and the next one takes them up; Ray ends its tasks."""
    want(name)
    started, words = time.monotonic(), [name, str(tmp_path), str(rows)]
    with machines(1, cores=2) if name == "ray" else nullcontext() as cluster:
        command = Command(tmp_path, *words, *([cluster.address] if name == "ray" else []))
        killed = killed_at_random(command, its_tasks_end=name == "ray")
        assert command.process.wait(LONGEST) == 0, (tmp_path / "err").read_text()
    table = json.loads((tmp_path / "table.json").read_text())
    assert table == {"rows": sorted(n * n for n in range(rows)), "errors": {}}
    after: dict[str, set[str]] = {}
    for number, _, what in events(tmp_path):
        assert what != "both" and "done" not in after.setdefault(number, set()), (number, what)
        after[number].add(what)
    assert len(after) == rows and min(killed.values()) > 0
    begun = sum(what == "begun" for *_, what in events(tmp_path))
    print(f"{name}: {killed}, {begun} begun, {rows} rows, {time.monotonic() - started:.0f} s")


@pytest.mark.nightly
@pytest.mark.distributed
def test_a_thousand_rows_arrive_once_though_a_machine_is_killed() -> None:
    want("ray")
    with patient_ray():
        found = benchmark.on_three_machines(1000, 0.01, kill=True)
    assert found["rows"] == 1000 and found["each_once_and_right"] and found["files"] == 1000
