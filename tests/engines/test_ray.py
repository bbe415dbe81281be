"""Ray: what Ctrl-C leaves time for."""

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from grace_geom.engines import Resources, Task
from grace_geom.engines.ray_engine import RayEngine
from tests.engines import work
from tests.engines.made import engine, machines
from tests.processes import wait_until

pytest.importorskip("ray", reason="--engine ray needs ray: the extra ray")


def test_as_many_run_at_once_as_all_machines_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    room = SimpleNamespace(cluster_resources=lambda: {"CPU": 8.0, "GPU": 6.0})
    monkeypatch.setattr(RayEngine, "_ray", lambda self: room)
    for needs, n in ((Resources(), 6), (Resources(gpus=0.5), 8), (Resources(gpus=2, nodes=2), 3)):
        assert RayEngine(needs).at_once(100) == n
    assert RayEngine(Resources(cpus=2, gpus=0, nodes=2)).at_once(100) == 2
    assert RayEngine(Resources(), workers=4).at_once(100) == 4


def numbers(folder: Path, what: str) -> set[str]:
    """Processes that have begun or saved."""
    return {file.name.partition("-")[2] for file in folder.glob(f"{what}-*")}


def interrupted(engine, tasks: list[Task[str]], folder: Path, processes: int) -> None:
    """Run tasks until all their processes are at work, then press Ctrl-C."""

    def press() -> None:
        wait_until(lambda: len(numbers(folder, "begun")) == processes)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.run(tasks))
    thread.join()


def saving(folder: Path, names: str, needs: Resources) -> list[Task[str]]:
    return [Task(name, work.saves_when_stopped, (str(folder),), needs) for name in names]


def test_ctrl_c_leaves_tasks_time_to_save(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(engine("ray", tmp_path), saving(tmp_path, "abc", Resources()), tmp_path, 2)
    assert numbers(tmp_path, "saved") == numbers(tmp_path, "begun")
    said = capsys.readouterr().err
    assert "2 runs stop; those under way have 60 s" in said and "were ended" not in said


def test_who_takes_too_long_is_ended_which_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engine("ray", tmp_path)
    monkeypatch.setattr("grace_geom.engines.ray_engine.LAST_WORDS", 0.5)
    interrupted(made, saving(tmp_path, "a", Resources()), tmp_path, 1)
    said = capsys.readouterr().err
    assert "warning: 1 process was not ready within 0.5 s, and ended by force" in said
    (pid,) = numbers(tmp_path, "begun")
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert not numbers(tmp_path, "saved")


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize("needs", [Resources(processes=2), Resources(processes=1, nodes=2)])
def test_so_it_does_where_a_task_has_several_processes_or_machines(
    needs: Resources, tmp_path: Path
) -> None:
    with machines(needs.nodes, cores=2) as made:
        interrupted(made, saving(tmp_path, "a", needs), tmp_path, 2)
        assert numbers(tmp_path, "saved") == numbers(tmp_path, "begun")
