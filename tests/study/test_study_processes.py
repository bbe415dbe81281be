"""Processes of a study: none outlives the study that started it, however that ended."""

import json
import multiprocessing
import os
import sys
import time
import warnings
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from grace_geom.config import TrainConfig, make_config
from grace_geom.engines.local import Local, _begin, _relay
from grace_geom.evaluation import Measures, Source
from grace_geom.study.execute import RunOutcome, Steps, run_all
from grace_geom.study.options import Job
from grace_geom.terminal import door, say, voice, warn
from tests.processes import LONGEST, fork, wait_until

SEEDS = (0, 1)


def beat(config: TrainConfig) -> Path:
    """A training that only shows that it is alive, for longer than the test waits for its end."""
    print(f"seed {config.seed} is alive", file=sys.stderr, flush=True)
    os.write(1, b"native code too\n")
    for _ in range(20 * LONGEST):
        with open(f"{config.run_dir}.beat", "a") as file:
            file.write(".")
        time.sleep(0.1)
    return config.run_dir


def never(*_: object) -> None:
    raise AssertionError("a training that never ends is not evaluated")


def study(folder: str) -> None:
    """Two such trainings in two processes; called in a process of its own."""
    sys.stderr = open(Path(folder) / "said", "w", buffering=1)  # noqa: SIM115
    jobs = [
        Job(
            "ft",
            seed,
            make_config({"method": "ft", "seed": seed, "out": Path(folder) / f"ft-s{seed}"}),
        )
        for seed in SEEDS
    ]
    list(run_all(jobs, Measures(), Source(), Local(2), Steps(beat, never)))  # type: ignore[arg-type]


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.glob("*.beat"))]


def test_a_killed_study_leaves_no_process_that_goes_on_writing(tmp_path: Path) -> None:
    parent = fork(study, str(tmp_path))
    try:
        wait_until(lambda: len(sizes(tmp_path)) == len(SEEDS))
        wait_until(lambda: len((tmp_path / "said").read_text().splitlines()) >= 2 * len(SEEDS))
        said = sorted((tmp_path / "said").read_text().splitlines())
    finally:
        parent.kill()
        parent.join()
    wait_until(lambda: at_rest(tmp_path))
    # The study says it, so that it can stand above the rows of its terminal.
    assert said == [*["native code too"] * 2, "seed 0 is alive", "seed 1 is alive"]


@pytest.mark.parametrize("flags", [(), ("--quiet", "--json")])
def test_what_a_process_says_is_the_studys_to_the_last_line(capsys, flags):
    @door
    def command(argv=None):
        heard, told = multiprocessing.Pipe(duplex=False)
        os.write(told.fileno(), b"warning: careful\nfrom native code\nwithout an end")
        told.close()
        _relay(heard)
        if "--json" not in flags:
            assert voice().warnings == ["careful"]

    command(list(flags))
    out, err = capsys.readouterr()
    native = ["from native code", "without an end"]
    assert err.splitlines() == (native if "--quiet" in flags else ["warning: careful", *native])
    if "--json" in flags:
        assert json.loads(out)["warnings"] == ["careful"]


def test_a_process_of_a_quiet_study_leaves_it_the_warnings_of_ours(monkeypatch, capsys):
    monkeypatch.setattr(voice(), "quiet", True)
    for relayed in (False, True):
        monkeypatch.setattr(voice(), "relayed", relayed)
        say("a line")
        warn("careful")
        assert capsys.readouterr().err == ("warning: careful\n" if relayed else "")


@pytest.mark.parametrize("quiet", [True, False])
def test_a_process_of_a_quiet_study_mutes_the_warnings_of_libraries(monkeypatch, quiet):
    monkeypatch.setattr("grace_geom.engines.local.share_threads", lambda workers: None)
    monkeypatch.setattr(voice(), "quiet", False)
    monkeypatch.setattr(voice(), "relayed", True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        _begin(1, None, None, quiet)
        warnings.warn("of a library", stacklevel=1)
    assert (len(found), voice().quiet) == (not quiet, quiet)


class Dies:
    """A process that dies of its job; it is heard to the end once it is shut down."""

    ended = 0

    def submit(self, *job: object) -> "Future[RunOutcome]":
        found: Future[RunOutcome] = Future()
        found.set_exception(BrokenProcessPool())
        return found

    def shutdown(self, **how: object) -> None:
        Dies.ended += 1


def test_a_process_that_died_is_heard_to_the_end_before_its_run_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("grace_geom.engines.local._process", lambda workers, gpu: Dies())
    jobs = [
        Job("ft", seed, make_config({"method": "ft", "seed": seed, "out": tmp_path / f"s{seed}"}))
        for seed in SEEDS
    ]
    outcomes = run_all(jobs, Measures(), Source(), Local(2))
    for died, outcome in enumerate(outcomes, 1):
        assert "its process died" in outcome.error and Dies.ended == died


def at_rest(folder: Path) -> bool:
    """Whether nobody writes there for a second, in which a living process does so ten times."""
    before = sizes(folder)
    time.sleep(1)
    return sizes(folder) == before
