"""A search for learning rates: it finds what is known, spends what was told, and goes on where it
stopped.
"""

import importlib.util
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from grace_geom.checkpoint import load_checkpoint
from grace_geom.config import TrainConfig
from grace_geom.errors import Interrupted, StopReached, UserError
from grace_geom.serialise import to_yaml
from grace_geom.study.estimate import Timing
from grace_geom.study.halving import RateTrial, ladder
from grace_geom.study.rate_tables import rates_text
from grace_geom.study.rates import SearchedRates
from grace_geom.study.sampler import RateRange, check_optuna, next_rate
from grace_geom.study.search import ToRung
from grace_geom.study.state import StudyState
from grace_geom.training import train_run
from tests.small_run import lines, small_config
from tests.stub_study import Stub, rows_by_label, study

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None,
    reason="the extra `search` (optuna) is not installed",
)
SEARCH = {"methods": ("ft", "grace"), "seeds": (0,), "lr_search": "asha", "trial_share": 0.9}
"""Of 20 steps: rungs at 2, 6 and 18."""
BUDGET = 6 * 2 + 2 * 6 + 18


class Climber(Stub):
    """Trains trials as a run does: from its checkpoint to ``stop_after``; counts every step."""

    def __init__(self, best: float = -2.7, dies_after: int | None = None, **more: str) -> None:
        super().__init__(**more)
        self.best, self.left, self.steps = best, dies_after, 0
        self.rungs: list[tuple[str, int]] = []

    def score(self, lr: float, step: int) -> float:
        """Highest at ``10 ** best``, and rising with the steps."""
        return 0.6 + 0.01 * step - 0.05 * (math.log10(lr) - self.best) ** 2

    def train(self, config: TrainConfig) -> Path:
        if "-asha" not in config.run_dir.name:
            return super().train(config)
        out, end = config.run_dir, config.stop_after or config.max_steps
        if self.left is not None and len(self.rungs) == self.left:
            raise Interrupted("stopped")
        known = lines(out / "metrics.jsonl") if (out / "metrics.jsonl").is_file() else []
        begun = known[-1]["step"] if known else 0
        assert config.resume == bool(known) and begun < end and end in (*config.eval_at, 18)
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(to_yaml(config.flat() | {"resume": False}))
        known.append({"step": end, "val_acc": self.score(config.build_method().lr, end)})
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in known))
        self.steps += end - begun
        self.rungs.append((out.name, end))
        if self.fails and self.fails in out.name:
            raise RuntimeError("no such luck")
        if config.stop_after:
            raise StopReached("as told")
        return out


def searched(out: Path) -> dict:
    return json.loads((out / "table.json").read_text())["search"]


@needs_optuna
def test_a_search_finds_the_best_rate_for_the_same_steps_a_method(tmp_path):
    stub = Climber()
    one, said = study(tmp_path, stub, **SEARCH, set={"ft.lr": "1e-3", "grace.lr": "1e-3"})
    rows = rows_by_label(one.run())
    assert stub.steps == 2 * BUDGET
    for label in ("ft", "grace"):
        found = searched(tmp_path)[label]
        assert found["steps"] == found["budget"] == BUDGET
        assert (found["rungs"], found["places"]) == ([2, 6, 18], [9, 3, 1])
        assert sorted(len(trial["scores"]) for trial in found["trials"]) == [1] * 6 + [2, 2, 3]
        tried = [trial["lr"] for trial in found["trials"]]
        assert tried[:3] == [1e-3, 1e-4, 1e-2], "the recorded rate, then the ends"
        closest = min(tried, key=lambda lr: abs(math.log10(lr) + 2.7))
        assert rows[label].lr == found["best"] == closest
        assert abs(math.log10(closest) + 2.7) < 0.1, "a grid of nine is 0.25 wide"
    assert stub.trained == ["ft-s0", "grace-s0"] and not any("warning" in line for line in said)
    text = (tmp_path / "table.md").read_text()
    assert (
        "9 trials to step 2, 3 of them to 6, 1 of them to 18" in text and "| steps spent |" in text
    )


def rates_of(out: Path, stub: Climber, workers: int = 1, **more) -> SearchedRates:
    """The search of a study, without its runs; what it remembers is read from its file."""
    one, _ = study(out, stub, **SEARCH | more, workers=workers)
    one.state = StudyState.load(out / "study.json")
    one.state.probes = {label: timed(None) for label in ("ft", "grace")}
    return one._rates()


def timed(config: TrainConfig | None) -> Timing:
    return Timing(20, 0.1, 0.05, 0.01, 1e-4)


@needs_optuna
@pytest.mark.parametrize("after", [0, 6, 9, 11])
def test_a_search_that_was_stopped_goes_on_to_the_same_trials(tmp_path, after):
    whole, first, again = Climber(), Climber(dies_after=after), Climber()
    one = {"methods": ("ft",)}
    rates_of(tmp_path / "whole", whole, **one).try_them()
    with pytest.raises(Interrupted):
        rates_of(tmp_path / "parts", first, **one).try_them()
    rates_of(tmp_path / "parts", again, **one).try_them()
    assert first.rungs + again.rungs == whole.rungs and len(whole.rungs) == 13
    assert first.steps + again.steps == whole.steps == BUDGET
    a, b = (StudyState.load(tmp_path / name / "study.json") for name in ("whole", "parts"))
    assert a.searches == b.searches
    done = rates_of(tmp_path / "parts", Climber(), **one)
    assert not done.missing() and done.left() == {} and list(done.best()) == ["ft"]


@needs_optuna
def test_what_was_trained_before_a_kill_is_not_trained_again_though_the_study_has_no_note_of_it(
    tmp_path, monkeypatch
):
    first, again = Climber(dies_after=4), Climber()
    with pytest.raises(Interrupted):
        rates_of(tmp_path, first).try_them()
    plain = json.loads((tmp_path / "study.json").read_text())
    plain["search"]["ft"]["trials"][3]["scores"] = []  # killed between training and its note
    (tmp_path / "study.json").write_text(json.dumps(plain))
    monkeypatch.setattr(
        "grace_geom.study.search.load_checkpoint", lambda path: SimpleNamespace(step=2)
    )
    rates_of(tmp_path, again).try_them()
    assert first.steps + again.steps == 2 * BUDGET


@needs_optuna
def test_several_workers_spend_the_same_steps(tmp_path, monkeypatch):
    process = "grace_geom.engines.local._process"  # threads begin sooner
    monkeypatch.setattr(process, lambda workers, gpu: ThreadPoolExecutor(1))
    stub = Climber()
    rates = rates_of(tmp_path, stub, workers=3)
    rates.try_them()
    assert stub.steps == 2 * BUDGET and len(stub.rungs) == len(set(stub.rungs)) == 26
    assert [s.halving.steps for s in rates.state.searches.values()] == [BUDGET, BUDGET]


@needs_optuna
def test_a_trial_that_fails_goes_no_further_and_is_told(tmp_path):
    rates = rates_of(tmp_path / "one", Climber(fails="ft-asha0"), methods=("ft",))
    rates.try_them()
    (search,) = rates.state.searches.values()
    assert search.halving.trials[0].scores == []
    assert "no such luck" in search.halving.trials[0].error
    assert "| 9 (1 failed) |" in rates_text({}, rates.state.searches)
    none = rates_of(tmp_path / "all", Climber(fails="ft-asha"), methods=("ft",))
    none.try_them()
    assert none.best() == {} and not none.missing()
    assert "every trial failed; it trains with the recorded rate" in none.notes()[0]
    assert f"it spent 18 of {BUDGET} steps" in none.notes()[1]


@needs_optuna
def test_a_best_rate_at_the_end_of_the_range_is_told(tmp_path):
    near = {"methods": ("ft",), "set": {"ft.lr": "1e-3"}}
    rates = rates_of(tmp_path, Climber(best=-4.5), **near)
    rates.try_them()
    assert rates.best()["ft"] == pytest.approx(1e-4, rel=0.3)
    assert "lies at the lower end of the range; a wider --lr-range" in rates.notes()[0]
    inside = rates_of(tmp_path / "inside", Climber(), **near)
    inside.try_them()
    assert inside.notes() == []


@needs_optuna
def test_a_search_of_another_kind_is_not_mixed_in(tmp_path):
    rates_of(tmp_path, Climber(), methods=("ft",)).try_them()
    with pytest.raises(UserError, match=r"searched otherwise .*now .* 12 trials.*--lr-trials"):
        rates_of(tmp_path, Climber(), methods=("ft",), lr_trials=12).jobs()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"lr_grid": "search"}, "--lr-search asha and --lr-grid search are two ways"),
        ({"lr_trials": 2}, "--lr-trials must be at least 3"),
        ({"lr_range": 1.0}, "--lr-range must lie in"),
        ({"lr_extend": True}, "--lr-extend needs a grid"),
        ({"methods": ("ft:lr=1e-3",), "baseline": "ft:lr=1e-3"}, "that --lr-search would choose"),
    ],
)
def test_options_that_do_not_fit_a_search_are_refused(tmp_path, more, said):
    with pytest.raises(UserError, match=said):
        study(tmp_path, Climber(), **SEARCH | more)


def test_without_optuna_the_line_that_installs_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'grace_geom\[search\]'"):
        study(tmp_path, Climber(), **SEARCH)[0].run()
    assert not (tmp_path / "trials").exists()


@needs_optuna
def test_a_rate_depends_on_the_seed_and_the_scores_alone():
    where = RateRange(1e-4, 1e-2, 9, seed=0)
    tried = [RateTrial(lr, scores=[0.5 - abs(math.log10(lr) + 2.5)]) for lr in where.first]
    rate = next_rate(where, tried)
    assert rate == next_rate(where, tried) and 1e-4 <= rate <= 1e-2
    assert rate == pytest.approx(10**-2.5, rel=0.5), "where the scores are best"
    other = [RateTrial(t.lr, scores=[-t.scores[0]]) for t in tried]
    assert next_rate(where, other) != rate
    check_optuna()


@pytest.mark.parametrize("method", ["ft", "at"])
def test_a_trial_that_climbs_is_the_run_that_was_never_stopped(tmp_path, method):
    """Its schedule is that of the longest rung, and its checkpoint that of one training."""
    rungs = ladder(9, 9).steps
    assert rungs == (1, 3, 9)
    plan = {"max_steps": 9, "epochs": None, "eval_every": 0, "eval_at": rungs[:-1]}
    climb = ToRung(train_run)
    for stop in (*rungs[:-1], None):
        begun = (tmp_path / "run").exists()
        config = small_config(tmp_path, method, **plan, stop_after=stop, resume=begun)
        folder = climb(config)
        assert load_checkpoint(folder / "ckpt.pt").step == (stop or 9)
        if stop is not None:
            before = (folder / "metrics.jsonl").read_bytes()
            assert (
                climb(small_config(tmp_path, method, **plan, stop_after=stop, resume=True))
                == folder
            )
            assert (folder / "metrics.jsonl").read_bytes() == before, "nothing is trained twice"
    whole = train_run(small_config(tmp_path, method, **plan, out=str(tmp_path / "whole")))
    assert (whole / "ckpt.pt").read_bytes() == (folder / "ckpt.pt").read_bytes()
    first, second = (
        [(r["step"], r.get("lr"), r.get("val_acc")) for r in lines(f / "metrics.jsonl")]
        for f in (whole, folder)
    )
    assert first == second and {step for step, _, score in first if score is not None} == {1, 3, 9}
