"""Schedulers of one study over one store: each run is made once, whoever dies."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from grace_geom.checkpoint import load_checkpoint
from grace_geom.config import TrainConfig
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import Measures, Source
from grace_geom.records import EvalRecord
from grace_geom.store import Store
from grace_geom.study import shared as module
from grace_geom.study.execute import REAL, Steps, run_job
from grace_geom.study.options import Job, StudyOptions
from grace_geom.study.shared import Claimed, SharedStudy, opened
from grace_geom.training import train_run
from tests.analysis.conftest import blank
from tests.processes import fork, wait, wait_until
from tests.small_run import small_config
from tests.stub_study import Stub, rows_by_label, study

LEASE = 1.0
RUNS = ["ft-s0", "ft-s1", "grace-s0", "grace-s1", "zero-shot-s0"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's figure takes longer than its stub."""
    monkeypatch.setattr("grace_geom.study.figure.save", blank)


class Logged(Stub):
    """Notes in a file that all schedulers write which run was begun, and which made."""

    def __init__(self, log: Path, hangs: str = "", takes: float = 0.1, **more: str) -> None:
        super().__init__(**more)
        self.log, self.hangs, self.takes = log, hangs, takes

    def note(self, what: str) -> None:
        with open(self.log, "a") as file:  # appended in one write
            file.write(f"{what}\n")

    def train(self, config: TrainConfig) -> Path:
        self.note(f"begun {config.run_dir.name}")
        time.sleep(60 if self.hangs == config.run_dir.name else self.takes)
        out = super().train(config)
        self.note(f"made {config.run_dir.name}")
        return out


def noted(log: Path, what: str) -> list[str]:
    lines = log.read_text().splitlines() if log.is_file() else []
    return sorted(line.split()[1] for line in lines if line.startswith(f"{what} "))


def scheduler(url: str, out: Path, stub: Stub, lease: float = LEASE, **more):
    one, said = study(out, stub, **more)
    one.shared = SharedStudy(Store(url), out, lease, said.append)
    return one, said


def schedule(url: str, out: Path, stub: Stub, lease: float = LEASE) -> None:
    scheduler(url, out, stub, lease)[0].run()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_two_schedulers_make_each_run_once(kind, tmp_path, request) -> None:
    url = str(tmp_path / "store")
    if kind == "s3":
        url = f"{request.getfixturevalue('s3')}/two"
    log = tmp_path / "log"
    # nobody dies here: a lease that a busy machine keeps
    both = [fork(schedule, url, tmp_path / f"{i}", Logged(log), 30.0) for i in range(2)]
    assert wait(both) == [0, 0]
    assert noted(log, "begun") == noted(log, "made") == RUNS
    alone, _ = study(tmp_path / "alone", Stub())
    wanted = _numbers(alone.run())
    third, said = scheduler(url, tmp_path / "third", Stub())
    assert _numbers(third.run()) == wanted  # to the digit, on a machine that has made nothing
    assert third.steps.train.__self__.trained == []  # type: ignore[union-attr]
    assert any("every run is finished" in line for line in said)
    made = Store(url).names()
    assert [name for name in made if not name.startswith("tables")] == RUNS
    third.run()
    assert Store(url).names() == made  # the same tables are not put again
    plan = json.loads(Store(url).objects.read("plan.json"))
    assert sorted(plan["seconds"]) == RUNS and plan["devices"] == 1.0
    table = json.loads(Store(url).read("tables/table.json"))
    assert [row["method"] for row in table["rows"]] == ["zero-shot", "ft", "grace"]


def _numbers(rows) -> list[list[float]]:
    return [row.values(column) for row in rows for column in ("ID", "OOD", "Adv", "HM")]


def test_the_run_of_a_killed_scheduler_is_made_by_another(tmp_path: Path) -> None:
    url, log = str(tmp_path / "store"), tmp_path / "log"
    dies = fork(schedule, url, tmp_path / "0", Logged(log, hangs="ft-s0"))
    wait_until(lambda: "ft-s0" in noted(log, "begun"))
    os.kill(dies.pid, signal.SIGKILL)
    dies.join()
    one, said = scheduler(url, tmp_path / "1", Logged(log))
    rows = rows_by_label(one.run())
    assert noted(log, "made") == RUNS  # each whole once; what the first one made is not made again
    assert noted(log, "begun") == sorted([*RUNS, "ft-s0"])
    assert len(rows["ft"].records) == 2
    states = Store(url).claims()
    assert {name: state.number for name, state in states.items()} == dict.fromkeys(RUNS, 1) | {
        "ft-s0": 2
    }
    assert any(line.startswith("ft-s0: ") and "waiting for it" in line for line in said)


def head(url: str, out: Path, log: Path) -> None:
    scheduler(url, out, Logged(log, hangs="ft-s0"), workers=2)[0].run()


@pytest.mark.nightly
def test_the_runs_of_a_killed_head_are_made_by_another(tmp_path: Path) -> None:
    """Its workers, which have the claims, are processes of their own; they die with it."""
    url, log = str(tmp_path / "store"), tmp_path / "log"
    dies = fork(head, url, tmp_path / "0", log)
    wait_until(lambda: "ft-s0" in noted(log, "begun"))
    os.kill(dies.pid, signal.SIGKILL)
    dies.join()
    rows = rows_by_label(scheduler(url, tmp_path / "1", Logged(log))[0].run())
    assert len(rows["ft"].records) == len(rows["grace"].records) == 2
    assert set(noted(log, "made")) == set(RUNS) <= set(Store(url).names())
    assert len(noted(log, "begun")) <= len(RUNS) + 2  # what the two workers had in hand


MANY = {"methods": ("zero-shot", "ft", "at"), "seeds": tuple(range(24)), "baseline": "ft"}


def many(url: str, out: Path, log: Path) -> None:
    scheduler(url, out, Logged(log, takes=0.3), 3.0, **MANY)[0].run()


@pytest.mark.nightly
def test_a_study_killed_at_random_ends_complete(tmp_path: Path) -> None:
    """Two schedulers at a time, killed in the middle of runs; nothing that is whole is made
    again, and a run that was begun is lost only by a kill.
    """
    url, log, rng, kills = str(tmp_path / "store"), tmp_path / "log", random.Random(0), 0
    wanted = {f"{m}-s{s}" for m in ("ft", "at") for s in range(24)} | {"zero-shot-s0"}
    alive = {i: fork(many, url, tmp_path / f"{i}", log) for i in range(2)}

    def complete() -> bool:
        return wanted <= set(Store(url).names())

    while kills < 20 and not complete():
        before = len(noted(log, "begun"))
        wait_until(lambda before=before: len(noted(log, "begun")) > before or complete())
        time.sleep(rng.uniform(0.0, 0.4))  # in the middle of a run, or while it is put
        i = rng.randrange(2)
        if alive[i].is_alive():
            os.kill(alive[i].pid, signal.SIGKILL)
            kills += 1
        alive[i].join()
        alive[i] = fork(many, url, tmp_path / f"{i}", log)
    assert wait(list(alive.values())) == [0, 0]
    assert complete()
    made, begun = noted(log, "made"), noted(log, "begun")
    assert set(made) == wanted and len(begun) <= len(wanted) + kills
    last, said = scheduler(url, tmp_path / "last", Stub(), **MANY)
    reference, _ = study(tmp_path / "alone", Stub(), **MANY)
    assert _numbers(last.run()) == _numbers(reference.run())
    assert any("every run is finished" in line for line in said)
    print(f"{kills} kills, {len(begun)} runs begun for {len(wanted)}")


def test_a_run_that_fails_elsewhere_is_not_tried_again_by_this_start(tmp_path: Path) -> None:
    url, log = str(tmp_path / "store"), tmp_path / "log"
    waits, _ = scheduler(url, tmp_path / "1", Logged(log))
    other, _ = scheduler(url, tmp_path / "0", Logged(log, fails="ft-s0"))
    other.run()
    rows = rows_by_label(waits.run())
    assert "no such luck" in rows["ft"].error and "seed 0: on " in rows["ft"].error
    assert noted(log, "begun") == RUNS
    again, _ = scheduler(url, tmp_path / "2", Logged(log))
    assert not rows_by_label(again.run())["ft"].error  # a new start is a new try
    assert noted(log, "begun") == sorted([*RUNS, "ft-s0"])


def test_more_questions_make_a_new_version_and_no_new_training(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    scheduler(url, tmp_path / "0", Stub())[0].run()
    stub = Stub()
    more, _ = scheduler(url, tmp_path / "1", stub)
    more.measures = Measures(suites=("id", "ood", "adv"), n_attack=50)

    def evaluated_only(config: TrainConfig) -> Path:
        assert config.resume and (config.run_dir / "ckpt.pt").is_file()
        return config.run_dir

    more.steps = Steps(evaluated_only, stub.evaluate)
    more.run()
    store = Store(url)
    assert sorted(stub.evaluated) == RUNS
    assert [name for name in store.names() if name.startswith("ft-s0")] == ["ft-s0", "ft-s0@2"]
    first, second = store.manifest("ft-s0"), store.manifest("ft-s0@2")
    assert second.files["ckpt.pt"].object == first.files["ckpt.pt"].object  # moved once
    assert second.files["eval.json"] != first.files["eval.json"]


def test_a_run_that_always_dies_is_told_as_failed(tmp_path: Path) -> None:
    store, begun = Store(str(tmp_path / "store")), []
    job = Job("ft", 0, small_config(tmp_path, "ft", out=str(tmp_path / "out" / "ft-s0")))
    shared = SharedStudy(store, tmp_path / "out", 0.2)

    def dies(jobs, steps):
        """As a process that is killed: its claim is renewed no more, and it leaves no word."""
        around = steps.around
        claim = store.claim("ft-s0", "me", 0.2, around.after.get("ft-s0", module.NOBODY))
        assert claim is not None
        claim._stop.set()
        begun.append(claim.number)
        yield module.RunOutcome(job, None, held=True)

    (outcome,) = shared.run([job], dies, REAL, lambda job: None, most=2)
    assert outcome.error == "it died 2 times and left no word" and begun == [1, 2]


def test_what_more_was_measured_outlives_a_stop(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    scheduler(url, tmp_path / "0", Stub())[0].run()

    def stopped(folder: Path, measures: Measures, source: Source) -> EvalRecord:
        (folder / "more.json").write_text("measured")
        raise Interrupted("stopped")

    more, _ = scheduler(url, tmp_path / "0", Stub())
    more.measures = Measures(suites=("id", "ood", "adv"), n_attack=50)
    more.steps = Steps(lambda config: config.run_dir, stopped)
    with pytest.raises(Interrupted):
        more.run()
    begun = [path.parent.name for path in (tmp_path / "0").rglob("more.json")]
    assert len(begun) == 1
    again, _ = scheduler(url, tmp_path / "0", stub := Stub())
    again.measures = more.measures
    again.steps = Steps(lambda config: config.run_dir, stub.evaluate)
    again.run()
    assert "more.json" in Store(url).manifest(f"{begun[0]}@2").files


def test_trials_of_rates_are_shared_too(tmp_path: Path) -> None:
    url, log = str(tmp_path / "store"), tmp_path / "log"
    options = {"methods": ("ft",), "seeds": (0,), "baseline": "ft", "lr_grid": "1e-4,1e-3"}
    first = scheduler(url, tmp_path / "0", Logged(log), **options)[0]
    second = scheduler(url, tmp_path / "1", Logged(log), **options)[0]
    first.run(), second.run()
    assert noted(log, "begun") == ["ft-lr0.0001", "ft-lr0.001", "ft-s0"]
    assert second.state.trials == first.state.trials != {}


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    scheduler(url, tmp_path / "0", Stub())[0].run()
    with pytest.raises(UserError, match="was made with other settings"):
        scheduler(url, tmp_path / "1", Stub(), batch_size=7)[0].run()


def never(*_: object) -> EvalRecord:
    raise AssertionError("this run is stopped before it is evaluated")


def evaluated(folder: Path, *_: object) -> EvalRecord:
    return EvalRecord("", folder.name, "", None, {}, ())


def quietly(config: TrainConfig) -> Path:
    return train_run(config, quiet=True)


def test_another_machine_goes_on_from_where_a_run_was_stopped(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    whole = train_run(small_config(tmp_path), quiet=True)
    store = Store(tmp_path / "store")
    data = f"npz:{tmp_path / 'toy.npz'}"

    def around(place: str, **more: object) -> tuple[Job, Claimed]:
        (tmp_path / place / "toy.npz").touch()  # the data are given
        config = small_config(tmp_path / place, data=data, **more)
        return Job("lora", 0, config), Claimed(store, {"run": "lora-s0"}, {}, 60)

    job, claimed = around("one", stop_after=4)
    with pytest.raises(Interrupted):
        run_job(job, Measures(), Source(), Steps(quietly, never, claimed))
    assert store.names("parts") and not store.has("lora-s0")
    state = store.claims()["lora-s0"]
    assert state.end is not None and state.end.how == "stopped"

    job, claimed = around("two")
    after = Claimed(store, claimed.names, {"lora-s0": state.seen}, 60)
    resumed: list[bool] = []

    def train(config: TrainConfig) -> Path:
        resumed.append(config.resume)
        return quietly(config)

    outcome = run_job(job, Measures(), Source(), Steps(train, evaluated, after))
    assert outcome.error == "" and resumed == [True]
    found, wanted = (load_checkpoint(p / "ckpt.pt") for p in (job.folder, whole))
    assert found.step == wanted.step == 10
    for name, tensor in wanted.state_dict.items():
        assert torch.equal(found.state_dict[name], tensor), name
    assert store.names("parts") == [] and store.has("lora-s0")
    assert [o.path for o in store.objects.listing("files/parts")] == []


def test_a_part_is_put_while_the_run_goes_on(tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    with module.parts.PartKeeper(store, "run", 1, folder, every=0.05):
        for step in (5, 10):
            (folder / "checkpoints" / f"step_{step}.pt").write_text(f"{step}")
            (folder / "metrics.jsonl").write_text("{}\n" * step)
            wait_until(lambda step=step: _at(store) == step)
    assert len(store.names("parts")) == 1  # the newest only
    assert module.parts.take_newest(store, "run", tmp_path / "other")
    assert (tmp_path / "other" / "checkpoints" / "step_10.pt").read_text() == "10"
    assert not module.parts.take_newest(store, "run", tmp_path / "other")


def _at(store: Store) -> int:
    try:
        return module.parts.newest_step(store.manifest(store.names("parts")[-1]).files)
    except (IndexError, UserError):  # none yet; just replaced by the next
        return -1


def test_the_address_of_a_study_opens_a_store_and_a_folder_each(tmp_path: Path) -> None:
    options = StudyOptions(out=Path(f"file://{tmp_path}/store"))
    with opened(options) as (first, one), opened(options) as (second, two):
        assert one is not None and two is not None
        assert one.store.url == two.store.url == f"file://{tmp_path}/store"
        assert first.out != second.out and first.out.parent == second.out.parent
    with opened(options) as (again, _):
        assert again.out == first.out  # what was begun there is gone on with
    plain = StudyOptions(out=tmp_path)
    with opened(plain) as (same, none):
        assert same is plain and none is None
    with (
        pytest.raises(UserError, match="the memory of one process"),
        opened(StudyOptions(out=Path("memory://x")), alone=False),
    ):
        pass
