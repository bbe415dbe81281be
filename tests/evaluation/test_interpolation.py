"""``python -m grace_geom.interpolate``: WiSE-FT's curve and LoRA's scale as a sweep of one finished
run."""

import importlib
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from grace_geom import interpolate
from grace_geom.checkpoint import load_checkpoint
from grace_geom.checkpoint.line import line_of
from grace_geom.errors import UserError
from grace_geom.evaluation import Measures, assess
from grace_geom.methods.lora import factors
from grace_geom.records import DialRecord, RecordError
from tests.evaluation.test_evaluate import save_npz
from tests.small_run import small_run
from tests.toys import CLASSES, toy_batch, toy_clip

dial_module = importlib.import_module(
    "grace_geom.evaluation.interpolation"
)  # the room exports a function of that name
FLAGS = ("--suites", "id,adv", "--attack", "pgd", "--steps", "2")


def turn(run, *flags: str) -> DialRecord:
    interpolate.main([str(run), *FLAGS, *flags])
    return DialRecord.load(run / "dial.json")


def test_ends_are_the_pretrained_and_the_tuned_model_bit_for_bit(tmp_path):
    batch = toy_batch(16, seed=5).images
    tuned = load_checkpoint(small_run(tmp_path, "ft"))
    line = line_of(tuned)
    assert all(
        torch.equal(w, tuned.state_dict[n]) for n, w in line.at(1.0).clip.state_dict().items()
    )
    assert torch.equal(line.at(1.0).head["head.weight"], tuned.text_head["weight"])
    with torch.no_grad():
        assert torch.equal(
            line.at(0.0)(batch), toy_clip().with_head(CLASSES, tuned.templates)(batch)
        )
    half = line.weights(0.5)
    assert_close(half["head.bias"], tuned.text_head["bias"] / 2)
    assert_close(
        half["visual.proj"],
        (toy_clip().weights()["visual.proj"] + tuned.state_dict["visual.proj"]) / 2,
    )


def test_low_rank_adapters_scale_with_t_beyond_one_too(tmp_path):
    checkpoint = load_checkpoint(small_run(tmp_path, "lora"))
    base, line = toy_clip().weights(), line_of(checkpoint)
    for t in (0.4, 1.5):
        for name, B, A in factors(checkpoint.adapter):
            assert_close(line.weights(t)[name], base[name] + t * 2.0 * B @ A, rtol=1e-4, atol=1e-5)


def test_a_wise_ft_run_s_line_ends_in_its_fine_tuned_weights(tmp_path):
    line = line_of(load_checkpoint(small_run(tmp_path, "wise-ft")))
    tuned = load_checkpoint(small_run(tmp_path, "ft", out=str(tmp_path / "ft")))
    assert all(torch.equal(line.end[n], w) for n, w in tuned.state_dict.items())
    half = load_checkpoint(tmp_path / "run")
    assert torch.equal(line.weights(0.5)["visual.proj"], half.state_dict["visual.proj"])


def test_a_tuned_text_tower_makes_the_head_at_every_t(tmp_path):
    checkpoint = load_checkpoint(small_run(tmp_path, "flyp"))
    line = line_of(checkpoint)
    assert line.rebuilt
    model = line.at(0.5)
    clip, tuned = toy_clip().clip, checkpoint.state_dict
    assert_close(model.clip.text_projection, (clip.text_projection + tuned["text_projection"]) / 2)
    assert_close(model.head["head.weight"], model.text_head({})["head.weight"])
    base = toy_clip().with_head(CLASSES, checkpoint.templates)
    mean = (base.head["head.weight"] + checkpoint.text_head["weight"]) / 2
    assert not torch.allclose(model.head["head.weight"], mean, atol=1e-4)
    assert torch.equal(line.at(1.0).head["head.weight"], checkpoint.text_head["weight"])


def test_prompt_tokens_have_no_line(tmp_path):
    with pytest.raises(UserError, match="prompt tokens"):
        line_of(load_checkpoint(small_run(tmp_path, "vpt-pmg-aft", epochs=0)))


def test_numbers_are_those_of_evaluate_and_t_is_chosen_on_held_out_images(tmp_path, capsys):
    run = small_run(tmp_path, "ft")
    record = turn(run, "--t", "1,0,0.5")
    printed = capsys.readouterr().out
    assert [p.t for p in record.points] == [0.0, 0.5, 1.0]
    measures = Measures(suites=("id", "adv"), attack="pgd", steps=2)
    for tested, point in ((assess(run, measures), record.point(1.0)),):
        assert [a.correct for a in tested.accuracies] == [a.correct for a in point.accuracies]
    base = assess(small_run(tmp_path, "zero-shot", out=str(tmp_path / "base")), measures)
    assert [a.correct for a in base.accuracies] == [a.correct for a in record.point(0.0).accuracies]
    scores = {p.t: p.held_out[0].accuracy for p in record.points}
    assert scores[1.0] == load_checkpoint(run).metrics["val_acc"], (
        "the images that training held out"
    )
    assert record.chosen == min(t for t, score in scores.items() if score == max(scores.values()))
    assert f"{record.chosen:g} *" in printed and "held-out accuracy" in printed
    plain = json.loads((run / "dial.json").read_text())
    assert plain["points"][2]["summary"]["ID"] == pytest.approx(
        record.point(1.0).accuracies[0].accuracy
    )


def test_equal_scores_are_named_and_the_smallest_t_is_taken(monkeypatch):
    scores = {0.0: 0.2, 0.5: 0.7, 1.0: 0.7, 1.5: 0.6}
    record = SimpleNamespace(points=[SimpleNamespace(t=t) for t in scores])
    monkeypatch.setattr(dial_module, "_scores", lambda point, held_out, seed: [scores[point.t]])
    found = dial_module._choice(record, [None], 0, "held-out accuracy")
    assert found == {
        "chosen": 0.5,
        "chosen_by": "held-out accuracy; t = 1 the same, of equals the smallest is taken",
    }
    scores[1.0] = 0.71
    assert dial_module._choice(record, [None], 0, "held-out accuracy") == {
        "chosen": 1.0, "chosen_by": "held-out accuracy"
    }  # fmt: skip


def test_attacked_methods_choose_by_the_harmonic_mean(tmp_path):
    run = small_run(tmp_path, "grace", epochs=1)
    assert turn(run, "--t", "0,1.5", "--choose", "none").chosen is None
    record = turn(run, "--t", "0,1.5")
    assert record.chosen_by.startswith("harmonic mean")
    assert [bool(a.attack) for a in record.points[0].held_out] == [False, True]


def test_what_is_known_is_not_measured_again(tmp_path, monkeypatch):
    run = small_run(tmp_path, "ft", epochs=1)
    first = turn(run, "--t", "0,1")
    from grace_geom.evaluation import one_checkpoint

    asked, real = [], one_checkpoint.evaluate_set
    monkeypatch.setattr(
        one_checkpoint, "evaluate_set", lambda *a, **k: asked.append(a[2]) or real(*a, **k)
    )
    second = turn(run, "--t", "0,0.5")
    assert asked == ["id", "id", "adv"], "held-out, ID and attacked ID at t = 0.5 only"
    assert [p.t for p in second.points] == [0.0, 0.5, 1.0]
    assert second.point(1.0) == first.point(1.0)
    turn(run, "--t", "0", "--fresh")
    assert len(asked) == 6


def test_the_best_of_all_stored_points_is_chosen_not_of_the_last_call(tmp_path, capsys):
    run = small_run(tmp_path, "ft")
    whole = turn(run, "--t", "0,1", "--suites", "id")
    assert whole.chosen == 1.0, "the toy must learn, or nothing is told apart"
    capsys.readouterr()
    assert turn(run, "--t", "0", "--suites", "id", "--choose", "clean").chosen == 1.0
    assert "t = 1 (measured before) has the highest held-out accuracy" in capsys.readouterr().out
    other = turn(run, "--t", "0", "--suites", "id", "--choose", "hm")
    assert other.chosen == 0.0, "t = 1 has no held-out score under attack yet"


def test_a_call_that_chooses_no_t_keeps_the_one_that_was_chosen(tmp_path, capsys):
    run = small_run(tmp_path, "ft")
    before = turn(run, "--suites", "id", "--t", "0,1", "--choose", "clean")
    assert before.chosen is not None and before.chosen_by
    after = turn(run, "--suites", "id", "--t", "0.5", "--choose", "none")
    assert [p.t for p in after.points] == [0, 0.5, 1]
    assert (after.chosen, after.chosen_by) == (before.chosen, before.chosen_by)
    assert f"* t = {before.chosen:g} (measured before)" in capsys.readouterr().out


def test_other_data_and_sizes_leave_the_usual_record(tmp_path, capsys):
    run = small_run(tmp_path, "ft", epochs=0)
    turn(run, "--t", "0,1", "--suites", "id")
    usual = (run / "dial.json").read_bytes()
    other = save_npz(tmp_path / "other.npz", 40, 7)
    for flags, name in (
        (["--data", other], "dial-other-*.json"),
        (["--image-size", "24"], "dial-24px.json"),
    ):
        capsys.readouterr()
        turn(run, "--t", "0", "--suites", "id", *flags)
        (file,) = run.glob(name)
        assert (
            f"written: {file}" in capsys.readouterr().out and len(DialRecord.load(file).points) == 1
        )
    assert (run / "dial.json").read_bytes() == usual


def test_a_t_too_far_out_is_named_not_the_checkpoint(tmp_path, capsys):
    run = small_run(tmp_path, "ft", epochs=1)
    with pytest.raises(SystemExit) as stop:
        turn(run, "--t", "1e38", "--suites", "id")
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "at t = 1e+38" in said and "broken" not in said


@pytest.mark.parametrize("flag", ["--model", "--pretrained", "--weights", "--classes"])
def test_flags_of_foreign_checkpoints_are_refused_by_name(flag, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        interpolate.main([str(tmp_path / "nowhere"), flag, "tiny-shapes"])
    assert stop.value.code == 2 and f"{flag} is for foreign checkpoints" in capsys.readouterr().err


def test_defaults_reach_beyond_one_for_adapters_only():
    from grace_geom.evaluation import DialOptions

    assert DialOptions().values(adapter=False) == tuple(i / 10 for i in range(11))
    assert DialOptions().values(adapter=True)[-1] == 1.5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--t", "0,0"], "--t needs different finite numbers"),
        (["--t", "1e400"], "--t needs different finite numbers"),
        (["--t", "half"], "--t must be"),
        (["--choose", "best"], "--choose must be one of"),
    ],
)
def test_mistakes_are_answered_in_a_line(flags, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        interpolate.main([str(tmp_path / "nowhere"), *flags])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_a_run_that_is_not_there_or_no_longer_fits(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        interpolate.main([str(tmp_path / "nowhere")])
    assert stop.value.code == 2 and "no such checkpoint" in capsys.readouterr().err
    run = small_run(tmp_path, "ft", epochs=0)
    from grace_geom.checkpoint import save_checkpoint

    checkpoint = load_checkpoint(run)
    save_checkpoint(run / "ckpt.pt", replace(checkpoint, base=checkpoint.base | {"sha256": "0"}))
    with pytest.raises(SystemExit) as stop:
        interpolate.main([str(run)])
    assert stop.value.code == 2 and "not those the run started from" in capsys.readouterr().err
    (run / "dial.json").write_text('{"format": "grace_geom.dial/2"}')
    with pytest.raises(RecordError, match="newer version"):
        DialRecord.load(run / "dial.json")


def test_the_former_command_says_the_new_name_and_does_the_same(tmp_path, capsys):
    from grace_geom import dial

    with pytest.raises(SystemExit) as former:
        dial.main([str(tmp_path / "nowhere")])
    said = capsys.readouterr().err
    assert said.startswith("note: grace_geom.dial is now grace_geom.interpolate\n")
    with pytest.raises(SystemExit) as new:
        interpolate.main([str(tmp_path / "nowhere")])
    assert former.value.code == new.value.code == 2
    assert said.splitlines()[1:] == capsys.readouterr().err.splitlines()
    with pytest.raises(SystemExit):
        dial.main([str(tmp_path / "nowhere"), "--quiet", "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["command"] == "interpolate" and err == f"error: {found['error']['message']}\n"


def test_fewer_images_do_not_cost_the_stronger_rows(tmp_path, capsys):
    run = small_run(tmp_path, "ft", epochs=0)
    strong = turn(run, "--t", "0,1", "--n", "20")
    capsys.readouterr()
    weak = turn(run, "--t", "0,1", "--n", "8")
    for t in (0.0, 1.0):
        assert [a.n for a in weak.point(t).accuracies] == [17, 8, 17, 8]  # each beside the other
        assert all(a in weak.point(t).accuracies for a in strong.point(t).accuracies)
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"counts: ID toy on 17 images \(\w+\), not 8 of 17 images", said)
