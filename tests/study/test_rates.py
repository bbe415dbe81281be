"""Learning rates of a study: tried at equal cost, chosen on held-out images."""

import json

import pytest

from grace_geom.errors import Interrupted, UserError
from grace_geom.study.execute import held_out_score, held_out_text
from grace_geom.study.trials import best_rate, beyond
from tests.stub_study import Stub, rows_by_label, study


def test_rates_are_chosen_on_held_out_data_at_equal_trial_budget_and_kept(tmp_path):
    stub = Stub(stops="grace-s0")
    with pytest.raises(Interrupted):
        study(tmp_path, stub, lr_grid="1e-4,1e-3,1e-2", seeds=(0,))[0].run()
    trials = [name for name in stub.trained if "-lr" in name]
    assert trials == [f"{m}-lr{r}" for m in ("ft", "grace") for r in ("0.0001", "0.001", "0.01")]
    steps = {
        line
        for run in tmp_path.glob("trials/*/config.yaml")
        for line in run.read_text().splitlines()
    }
    assert {line for line in steps if line.startswith("max_steps")} == {
        "max_steps: 5"
    }  # a quarter of 20
    again = Stub()
    rows = rows_by_label(study(tmp_path, again, lr_grid="1e-4,1e-3,1e-2", seeds=(0,))[0].run())
    assert (
        again.trained == ["grace-s0"] and rows["grace"].lr == rows["ft"].lr == 1e-3
    )  # where the stub is best
    assert json.loads((tmp_path / "table.json").read_text())["trials"]["ft"][
        "0.001"
    ] == pytest.approx(0.5)


def test_a_search_goes_around_the_rate_that_is_set(tmp_path):
    stub = Stub()
    study(tmp_path, stub, methods=("ft",), lr_grid="search", set={"ft.lr": "2e-3"}, seeds=(0,))[
        0
    ].run()
    assert [name for name in stub.trained if "-lr" in name] == [
        "ft-lr0.000667",
        "ft-lr0.002",
        "ft-lr0.006",
    ]


def test_a_grid_is_extended_once_where_its_best_rate_lies_at_the_edge(tmp_path):
    stub, short = Stub(), {"methods": ("ft",), "seeds": (0,)}  # best at 1e-3
    one, said = study(tmp_path / "fixed", stub, lr_grid="1e-1,1e-2", **short)
    assert rows_by_label(one.run())["ft"].lr == 1e-2
    assert any("warning: ft: the best rate, 0.01, is the smallest tried" in line for line in said)
    assert "0.01, is the smallest tried" in (tmp_path / "fixed" / "table.md").read_text()
    stub = Stub(stops="ft-s0")
    with pytest.raises(Interrupted):
        study(tmp_path / "longer", stub, lr_grid="1e-1,1e-2", lr_extend=True, **short)[0].run()
    assert [name for name in stub.trained if "ft-lr" in name] == [
        "ft-lr0.1",
        "ft-lr0.01",
        "ft-lr0.001",
    ]
    again = Stub()
    rows = rows_by_label(
        study(tmp_path / "longer", again, lr_grid="1e-1,1e-2", lr_extend=True, **short)[0].run()
    )
    assert rows["ft"].lr == 1e-3 and again.trained == ["ft-s0"]
    kept = json.loads((tmp_path / "longer" / "table.json").read_text())
    assert (
        set(kept["trials"]["ft"]) == {"0.1", "0.01", "0.001"}
        and "0.001" in kept["rates_at_an_edge"][0]
    )
    inside, said = study(
        tmp_path / "inside", Stub(), lr_grid="1e-4,1e-3,1e-2", lr_extend=True, **short
    )
    inside.run()
    assert len(inside.state.trials["ft"]) == 3 and not any("warning" in line for line in said)


def test_a_step_beyond_a_grid_keeps_its_ratio():
    assert beyond([1e-3, 1e-2], 1e-2) == pytest.approx(1e-1) and beyond(
        [3.0, 1.0, 9.0], 1.0
    ) == pytest.approx(1 / 3)
    assert (
        beyond([1, 2, 3], 2) is None and beyond([1.0], 1.0) is None and beyond([1, 2], None) is None
    )


def test_trials_of_another_length_are_not_mixed_in(tmp_path):
    study(tmp_path, Stub(), lr_grid="1e-3", seeds=(0,))[0].run()
    with pytest.raises(UserError, match="max_steps was 5, now 10"):
        study(tmp_path, Stub(), lr_grid="1e-3", seeds=(0,), trial_share=0.5)[0].run()


def test_what_a_trial_scores_counts_attacked_images_where_there_are_some(tmp_path):
    assert held_out_score(tmp_path) is None
    lines = [
        '{"step": 1, "val_acc": 0.1}',
        '{"step": 2, "val_acc": 0.6}',
        '{"step": 3, "loss": 1.0}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert held_out_score(tmp_path) == 0.6
    (tmp_path / "metrics.jsonl").write_text(
        "\n".join([*lines, '{"step": 4, "val_acc": 0.6, "val_acc_pgd": 0.2}'])
    )
    assert held_out_score(tmp_path) == pytest.approx(0.3)  # 2 / (1 / 0.6 + 1 / 0.2)


def test_a_trial_says_how_many_images_its_score_rests_on(tmp_path):
    log = tmp_path / "metrics.jsonl"
    assert held_out_text(tmp_path) == "no held-out accuracy"
    log.write_text('{"step": 9, "val_acc": 0.622, "val_n": 819}\n{"step": 9, "loss": 1.0}\n')
    assert held_out_text(tmp_path) == "held-out 62.2 % (n = 819)"
    log.write_text('{"val_acc": 0.6, "val_n": 819, "val_acc_pgd": 0.2, "val_pgd_n": 500}\n')
    assert held_out_text(tmp_path) == (
        "held-out 30.0 %, harmonic mean of clean 60.0 and PGD-10 20.0 (n = 819 and 500)"
    )
    log.write_text('{"val_acc": 0.5}\n')  # of an earlier version
    assert held_out_text(tmp_path) == "held-out 50.0 %"


def test_rates_that_rest_on_few_images_are_warned_of_once(tmp_path):
    class Counted(Stub):
        def train(self, config):
            out = super().train(config)
            log = out / "metrics.jsonl"
            log.write_text(log.read_text().replace('"val_acc"', '"val_n": 24, "val_acc"'))
            kept = out / "config.yaml"
            kept.write_text(kept.read_text().replace("val_images: 5000", "val_images: 24"))
            return out

    compared, said = study(
        tmp_path / "few", Counted(), lr_grid="1e-3,1e-2", seeds=(0,), methods=("ft",), baseline="ft"
    )
    rates = compared._rates()
    compared.run()
    (told,) = [line for line in said if "learning rates are chosen on" in line]
    assert "24 held-out images" in told and "±19 points" in told
    assert "a larger val_images (now 24; --set val_images=VALUE for every method)" in told
    (tmp_path / "metrics.jsonl").write_text('{"val_acc": 0.5, "val_n": 200}\n')
    rates.warn_of_few(tmp_path)
    assert not rates.warned


def test_the_best_rate_is_the_smaller_of_equals_and_failed_trials_do_not_count():
    assert best_rate({"0.1": 0.5, "0.01": 0.7, "0.001": 0.7, "1": None}) == 0.001
    assert best_rate({"1": None}) is None
