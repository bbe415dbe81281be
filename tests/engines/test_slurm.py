"""SLURM: what is sent, what comes back, and jobs that outlive the command; by stand-ins for sbatch,
srun and sacct which do on this machine what the real ones do on many.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from grace_geom.engines import Resources, Task, TaskOutcome
from grace_geom.engines.job_notes import NotedJob, read_notes, write_note
from grace_geom.engines.site import SiteOptions
from grace_geom.engines.slurm import Slurm, _digest
from grace_geom.errors import UserError
from tests.engines import work
from tests.processes import fork, wait, wait_until

pytest.importorskip("submitit", reason="--engine slurm needs submitit: the extra slurm")

SBATCH = r"""#!/bin/bash
number=$(($(cat "$FAKE/next" 2>/dev/null || echo 100) + 1))
echo $number > "$FAKE/next"
cp "$1" "$FAKE/$number.sh"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p' "$1")
export SLURM_JOB_NUM_NODES=$(sed -n 's/^#SBATCH --nodes=//p' "$1") SLURM_JOB_NODELIST=127.0.0.1
for i in $(seq 0 ${last:-0}); do
    export SLURM_JOB_ID=$((number * 100 + i))
    if [ -n "$last" ]; then export SLURM_ARRAY_JOB_ID=$number SLURM_ARRAY_TASK_ID=$i
    else export SLURM_JOB_ID=$number; fi
    bash "$FAKE/$number.sh" > "$FAKE/said" 2>&1 &
done
echo "Submitted batch job $number"
"""
SRUN = r"""#!/bin/bash
while [[ $1 != *python* ]]; do shift; done
for node in $(seq 0 $((SLURM_JOB_NUM_NODES - 1))); do
    SLURM_NODEID=$node SLURM_PROCID=$node SLURM_LOCALID=0 SLURM_NTASKS=$SLURM_JOB_NUM_NODES "$@" &
done
wait
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/bash\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    made = Slurm(
        SiteOptions({"time": 30, "partition": "gpu"}, "slurm", folder), tmp_path / "slurm", 7
    )
    made._pause = 0.1
    return made


def test_tasks_of_equal_needs_are_one_array_with_the_sites_options(
    slurm: Slurm, tmp_path: Path
) -> None:
    needs = Resources(cpus=3, gpus=1, memory=2**30)
    tasks = [Task("a", work.twice, (4,), needs), Task("b", work.refuses, (), needs)]
    tasks.append(Task("alone", work.twice, (5,)))
    outcomes = {outcome.name: outcome for outcome in slurm.run(tasks)}
    assert outcomes == {
        "a": TaskOutcome("a", 8),
        "b": TaskOutcome("b", error="no such file", failure="user"),
        "alone": TaskOutcome("alone", 10),
    }
    array, single = ((tmp_path / f"bin/{n}.sh").read_text().splitlines() for n in (101, 102))
    for flag in ("array=0-1%2", "partition=gpu", "time=30", "cpus-per-task=3", "gpus-per-node=1"):
        assert f"#SBATCH --{flag}" in array
    assert "#SBATCH --mem=1GB" in array and "#SBATCH --signal=USR2@90" in array
    assert not any("array" in line or "mem" in line for line in single if line.startswith("#S"))
    assert read_notes(slurm.notes) == {} and not list(slurm.notes.iterdir())


@pytest.mark.nightly
@pytest.mark.distributed
def test_processes_on_two_machines_meet(slurm: Slurm, tmp_path: Path) -> None:
    needs = Resources(processes=1, nodes=2)
    (outcome,) = slurm.run([Task("sums", work.ranks, (3.0,), needs)])
    assert outcome == TaskOutcome("sums", (2, 3.0))
    assert "#SBATCH --nodes=2" in (tmp_path / "bin/101.sh").read_text().splitlines()


def test_without_sbatch_it_is_refused(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="no sbatch here; start the command on a login node"):
        list(slurm.run([Task("a", work.twice, (4,))]))


def two_arrays(folder: Path) -> list[Task[str]]:
    some = Resources(cpus=2)
    wait = (str(folder), str(folder / "go"))
    tasks = [Task(name, work.begins_and_waits, wait, some) for name in ("a", "b")]
    return [*tasks, Task("alone", work.writes, (str(folder / "written"),))]


def test_who_is_killed_between_two_arrays_forgets_neither(slurm: Slurm, tmp_path: Path) -> None:
    sbatch = tmp_path / "bin/sbatch"
    kills = SBATCH.replace("cp ", "[ $number = 102 ] && kill -9 $PPID && exit\ncp ")
    sbatch.write_text(kills)
    killed = fork(lambda: list(slurm.run(two_arrays(tmp_path))))
    try:
        assert wait([killed]) == [-9]
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        (noted,) = read_notes(slurm.notes).values()
        assert {one.task: one.job for one in noted} == {"a": "101_0", "b": "101_1"}
        outcomes = slurm.run(two_arrays(tmp_path))
        assert next(outcomes).name == "alone"
    finally:
        (tmp_path / "go").touch()
    assert sorted(outcome.name for outcome in outcomes) == ["a", "b"]
    assert (
        len(list(tmp_path.glob("begun-*"))) == 2 and (tmp_path / "bin/next").read_text() == "103\n"
    )


def test_jobs_that_cannot_be_noted_are_named(
    slurm: Slurm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def note(folder: Path, jobs: Sequence[NotedJob]) -> Path:
        if jobs[0].task == "alone":
            raise UserError("cannot write it: no space left on device. Nothing was changed there.")
        return write_note(folder, jobs)

    monkeypatch.setattr("grace_geom.engines.slurm.write_note", note)
    try:
        with pytest.raises(UserError, match=r"no space left .* send them again: .*`scancel 102`"):
            list(slurm.run(two_arrays(tmp_path)))
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    finally:
        (tmp_path / "go").touch()
    told = capsys.readouterr().err
    assert "2 jobs go on without this command; the same command again waits" in told
    assert "`scancel 101_0 101_1` stops them" in told


def test_a_job_that_is_over_is_not_told_as_going_on(
    slurm: Slurm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It was lost, and SLURM does not take it a second time."""
    once = SBATCH.replace("cp ", "[ $number = 102 ] && exit 1\ncp ")
    (tmp_path / "bin/sbatch").write_text(once)
    task = Task("a", work.twice, (4,), Resources(retries=1))
    monkeypatch.setattr(slurm, "_outcome", lambda sent: TaskOutcome("a", failure="lost"))
    with pytest.raises(UserError, match="SLURM did not take the jobs"):
        list(slurm.run([task]))
    assert "go on without this command" not in capsys.readouterr().err


def local(folder: Path) -> Slurm:
    return Slurm(SiteOptions({"time": 30}, "local", folder), folder / "slurm")


def command(folder: str) -> None:
    """One that is killed while its job runs."""
    sys.stderr = open(Path(folder) / "err", "w", buffering=1)  # noqa: SIM115
    list(local(Path(folder)).run([waiting(folder)]))


def waiting(folder: str, name: str = "go") -> Task[str]:
    return Task("waits", work.begins_and_waits, (folder, f"{folder}/{name}"))


def test_a_job_outlives_its_command_and_the_same_command_waits_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fork(command, str(tmp_path))
    try:
        wait_until(lambda: list(tmp_path.glob("begun-*")))
    finally:
        first.kill()
        first.join()
    with pytest.raises(UserError, match="still does waits with other options: wait for it, or"):
        list(local(tmp_path).run([waiting(str(tmp_path), "another")]))
    outcomes = local(tmp_path).run([waiting(str(tmp_path)), Task("b", work.twice, (1,))])
    found = {}
    for outcome in outcomes:
        found[outcome.name] = outcome
        (tmp_path / "go").touch()  # the new one has ended: only the old one is waited for
    assert found["waits"].value == str(tmp_path / "go") and found["b"].value == 2
    assert len(list(tmp_path.glob("begun-*"))) == 1
    assert "1 jobs of an earlier command go on" in capsys.readouterr().err


def test_a_command_that_stops_says_where_its_jobs_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = local(tmp_path).run([waiting(str(tmp_path)), Task("b", work.twice, (1,))])
    assert next(outcomes).name == "b"
    outcomes.close()  # type: ignore[attr-defined]
    (tmp_path / "go").touch()
    assert "1 jobs go on without this command" in capsys.readouterr().err
    wait_until(lambda: list((tmp_path / "slurm").glob("*_result.pkl")))


def test_commands_that_share_a_folder_lose_no_job_of_each_other(
    slurm: Slurm, tmp_path: Path
) -> None:
    other, go = Slurm(slurm.site, slurm.folder), tmp_path / "go"
    slow = {n: Task(n, work.begins_and_waits, (str(tmp_path), str(go))) for n in ("a", "c")}
    first = slurm.run([slow["a"], Task("b", work.twice, (1,))])
    assert next(first).name == "b"
    before = slurm.notes / "101_0.json"
    inode, text = before.stat().st_ino, before.read_text()
    second = other.run([slow["c"], Task("d", work.twice, (1,))])
    assert next(second).name == "d"
    assert (before.stat().st_ino, before.read_text()) == (inode, text), "it may be writing its own"
    assert sorted(p.name for p in slurm.notes.iterdir()) == ["101_0.json", "102_0.json"]
    for command in (first, second):
        command.close()  # type: ignore[attr-defined]
    third = Slurm(slurm.site, slurm.folder)
    third._pause = 0.1
    outcomes = third.run(list(slow.values()))
    wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    go.touch()
    assert sorted(outcome.name for outcome in outcomes) == ["a", "c"]
    assert len(list(tmp_path.glob("begun-*"))) == 2 and not list(slurm.notes.iterdir())


def test_of_two_jobs_of_a_task_the_later_one_is_waited_for(slurm: Slurm, tmp_path: Path) -> None:
    task = Task("a", work.begins_and_waits, (str(tmp_path), str(tmp_path / "go")))
    (tmp_path / "go").touch()
    (outcome,) = slurm.run([task])  # job 101: its result lies there
    assert outcome.value is not None
    for job, times in (("100", 1), ("101", 2)):
        write_note(slurm.notes, [NotedJob("a", job, times, _digest(task))])
    (slurm.folder / "101_0_result.pkl").rename(slurm.folder / "kept")
    found = slurm._attached([task])
    assert [(sent.times, sent.job.job_id) for sent in found.values()] == [(2, "101")]


def test_a_call_without_tasks_forgets_no_job(slurm: Slurm) -> None:
    note = write_note(slurm.notes, [NotedJob("other", "4711", 1, "x")])
    assert list(slurm.run([])) == []
    (outcome,) = slurm.run([Task("mine", work.twice, (4,))])
    assert outcome.value == 8 and list(read_notes(slurm.notes)) == [note]


def test_a_damaged_list_of_jobs_is_refused(slurm: Slurm) -> None:
    slurm.notes.mkdir(parents=True)
    for text in ("{", '{"format": "else/9", "jobs": []}', "[]"):
        (slurm.notes / "12.json").write_text(text)
        with pytest.raises(UserError, match=r"12\.json cannot be read.*squeue"):
            list(slurm.run([Task("mine", work.twice, (4,))]))
