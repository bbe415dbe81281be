"""What was computed is not computed again, and nothing that has changed is shown as it was."""

import json
import os
from dataclasses import dataclass

import numpy as np
import pytest

from app.kept import KeptResults, told_apart
from app.store import Entry
from grace_geom.plots import accuracies, layers, training
from grace_geom.plots.legend import Identity, Legend
from grace_geom.records import Result, paired
from tests.app.conftest import evaluation, sees, specs


@dataclass
class Calls:
    """Counts how often a function is called."""

    make: object
    n: int = 0
    __module__ = "tests"
    __name__ = "counted"

    def __call__(self, *args, **kwargs):
        self.n += 1
        return self.make(*args, **kwargs)

    def __hash__(self):
        return id(self)


def pair(*args):
    return args


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ((1, "a"), (1, "a"), (1, "b")),
        (1, 1, True),  # equal for Python, not for what is drawn of them
        (1, 1, 1.0),
        ({"a": [1, 2]}, {"a": [1, 2]}, {"a": [1, 3]}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, {"b": 2, "a": 1}),  # lines are drawn in this order
        ({1, 2}, {2, 1}, {1, 3}),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(2), np.zeros(2), np.array([0.0, 1e-300])),
        (np.int64(1), np.int64(1), np.int64(2)),
        (training.View("step"), training.View("step"), training.View("seconds")),
    ],
)
def test_what_says_the_same_is_the_same(one, same, other):
    assert told_apart(one) == told_apart(same)
    assert hash(told_apart(one)) == hash(told_apart(same))
    assert told_apart(one) != told_apart(other)


def test_a_record_is_told_from_a_copy_of_it_that_was_read_later(tmp_path):
    kept, make = KeptResults(4), Calls(pair)
    entry, again = Entry("a", tmp_path), Entry("a", tmp_path)
    assert kept(make, [entry]) is kept(make, [entry])
    kept(make, [again])
    assert make.n == 2


def test_a_legend_is_told_by_what_it_says():
    who = {"a": Identity("ft", "ft", 0)}
    one, same = (Legend.of(who, {"a": "a"}) for _ in range(2))
    assert told_apart(one) is told_apart(one) and told_apart(one) == told_apart(same)
    assert told_apart(one) != told_apart(Legend.of(who, {"a": "b"}))


def test_what_could_change_unseen_is_refused():
    kept = KeptResults(4)
    with pytest.raises(TypeError, match="cannot tell one object from another"):
        kept(pair, object())
    with pytest.raises(TypeError, match="page's own function"):
        own = Calls(pair)
        own.__module__ = "__main__"
        kept(own, 1)


def test_of_too_many_the_one_that_was_not_asked_for_goes():
    kept, make = KeptResults(2), Calls(pair)
    for value in (1, 2, 1, 3, 1):
        kept(make, value)
    assert make.n == 3
    kept(make, 2)
    assert make.n == 4


def test_nothing_is_computed_again_at_a_toggle_or_on_the_way_back(opened, runs, monkeypatch):
    figure, gap = Calls(accuracies.dots), Calls(paired.seeds_difference)
    monkeypatch.setattr(accuracies, "dots", figure)
    app = opened(runs)
    monkeypatch.setattr(paired, "seeds_difference", gap)
    app.toggle(key="overview_differences").set_value(True).run()
    once = gap.n
    assert once > 0  # differences to the baseline, which the page did not show before
    app.toggle(key="overview_differences").set_value(False).run()
    app.toggle(key="overview_differences").set_value(True).run()
    app.multiselect(key="sets").set_value(["adv"]).run()
    app.multiselect(key="sets").set_value([]).run()
    assert gap.n == once
    app.switch_page("views/run.py").run()
    assert gap.n == once + 3  # of a run to the one beside it: ID, OOD and Adv
    app.switch_page("views/overview.py").run()
    assert not app.exception
    assert gap.n == once + 3
    assert figure.n == 3  # of every distribution, of the one, and on the page of a run


def test_a_run_that_was_evaluated_again_is_drawn_again(opened, runs):
    app = opened(runs)
    assert "**grace\\-s0** has the best trade-off" in sees(app)
    before = specs(app)
    evaluation("ft-s0", 95, 90).save(runs / "demo/ft-s0/eval.json")
    app.run()
    assert "**ft\\-s0** has the best trade-off" in sees(app)
    assert all(spec not in before for spec in specs(app))


def _end(app):
    """Of the axis of steps: a little behind the last record."""
    return specs(app)[0]["layout"]["xaxis"]["range"][1]


def test_a_log_that_has_grown_is_drawn_to_its_end(opened, runs):
    app = opened(runs, "training", runs=["demo/ft-s0"])
    assert _end(app) == pytest.approx(1.03 * 100)
    with (runs / "demo/ft-s0/metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 140, "seconds": 14, "loss": 0.1, "train_acc": 0.1}) + "\n")
    app.run()
    assert _end(app) == pytest.approx(1.03 * 140)


def test_an_analysis_that_was_made_again_is_drawn_again(opened, lab, tmp_path, monkeypatch):
    for file in (lab / "toy").glob("*/*.*"):
        if file.name in ("config.yaml", "eval.json", "metrics.jsonl"):
            copy = tmp_path / file.relative_to(lab)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    result = Result.load(lab / "toy/analyses/representation_drift.json")
    result.save(tmp_path / "toy/analyses")
    drawn = Calls(layers.by_layer)
    monkeypatch.setattr(layers, "by_layer", drawn)
    app = opened(tmp_path, "drift")
    before = specs(app)
    app.run()
    assert specs(app) == before and drawn.n == 1
    for part in result.parts.values():
        part.arrays["cka/id"] = part.arrays["cka/id"] * 0.5
    saved = result.save(tmp_path / "toy/analyses")
    os.utime(saved)
    app.run()
    assert not app.exception
    assert specs(app) != before and drawn.n == 2
