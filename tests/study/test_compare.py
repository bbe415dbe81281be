"""A study on equal terms: hand-counted tables, runs that are not repeated, failures that stay in
their row.
"""

import csv
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from grace_geom.compare import main
from grace_geom.config import TrainConfig
from grace_geom.data import loader, resolve
from grace_geom.data.keys import keys_of
from grace_geom.engines.local import Local
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import Measures, Source, assess
from grace_geom.files import alone
from grace_geom.models import ModelSpec, build
from grace_geom.records import EvalRecord, list_runs
from grace_geom.study import Study, StudyOptions
from grace_geom.study.also import also_rows
from grace_geom.study.execute import Steps, run_all
from grace_geom.study.options import jobs_of
from grace_geom.training import train_run
from tests.accuracies import all_wrong
from tests.stub_study import MEASURES, Stub, rows_by_label, study
from tests.toys import CLASSES as TOYS
from tests.toys import register_toy, toy_clip


def test_finished_runs_are_not_repeated(tmp_path):
    first, again = Stub(), Stub()
    rows = study(tmp_path, first)[0].run()
    same, said = study(tmp_path, again)
    assert [row.values("HM") for row in same.run()] == [row.values("HM") for row in rows]
    assert again.trained == again.evaluated == []
    assert any("every run is finished" in line for line in said)


def test_a_study_that_was_stopped_goes_on_where_it_was(tmp_path):
    first = Stub(stops="ft-s1")
    with pytest.raises(Interrupted, match="2 of 5 runs are finished"):
        study(tmp_path, first)[0].run()
    again = Stub()
    rows = study(tmp_path, again)[0].run()
    assert again.trained == [
        "ft-s1",
        "grace-s0",
        "grace-s1",
    ]  # ft-s1 with resume: the stub asserts it
    assert all(len(row.records) == (2 if row.trains else 1) for row in rows)


def test_a_study_that_another_process_is_at_is_refused_and_left_as_it_is(tmp_path):
    with (
        alone(tmp_path, "study"),
        pytest.raises(UserError, match="another process is at work on this study"),
    ):
        study(tmp_path, Stub())[0].run()
    assert not list(tmp_path.iterdir())
    (tmp_path / ".lock").touch()  # of a process that was killed
    assert study(tmp_path, Stub())[0].run()
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize(
    "harm", ["incomplete", "truncated", "another checkpoint", "another attack"]
)
def test_a_run_whose_evaluation_does_not_hold_is_evaluated_again(tmp_path, harm):
    study(tmp_path, Stub())[0].run()
    path, again = tmp_path / "ft-s0" / "eval.json", Stub()
    record = EvalRecord.load(path)
    if harm == "incomplete":
        dataclasses.replace(record, accuracies=record.accuracies[:-1]).save(path)
    elif harm == "truncated":
        path.write_text(path.read_text()[:100])
    elif harm == "another checkpoint":
        (tmp_path / "ft-s0" / "ckpt.pt").write_text("other")
    else:
        dataclasses.replace(record, settings=record.settings | {"eval_seed": 7}).save(path)
    study(tmp_path, again)[0].run()
    assert again.evaluated == ["ft-s0"]


def test_a_run_of_which_test_images_were_left_out_is_not_evaluated_again(tmp_path):
    seen = keys_of(resolve("shapes", "test").take(range(7)))
    first, again = Stub(), Stub()
    for stub in (first, again):
        stub.members = {"keys": torch.from_numpy(seen.view(np.int64))}
        study(tmp_path, stub)[0].run()
    (id_,) = (
        a for a in EvalRecord.load(tmp_path / "ft-s0" / "eval.json").accuracies if a.suite == "id"
    )
    assert id_.n == len(resolve("shapes", "test")) - 7
    assert len(first.evaluated) == 5 and again.evaluated == []


def test_a_row_counts_only_what_its_study_asks_though_its_runs_were_measured_on_more(tmp_path):
    """Else a method that was evaluated on a further OOD set would be compared by another mean."""
    rows = study(tmp_path, Stub())[0].run()
    path = tmp_path / "ft-s0" / "eval.json"
    record = EvalRecord.load(path)
    hard = next(a for a in record.accuracies if a.suite == "ood")
    further = all_wrong(hard, data="further")
    dataclasses.replace(record, accuracies=(*record.accuracies, further)).summed().save(path)
    again = Stub()
    same = study(tmp_path, again)[0].run()
    assert again.evaluated == []
    for column in ("ID", "OOD", "Adv", "HM"):
        assert [row.values(column) for row in same] == [row.values(column) for row in rows]
    assert "further" not in (tmp_path / "table.md").read_text()
    assert any(a.data == "further" for a in EvalRecord.load(path).accuracies)


def test_a_run_is_evaluated_again_when_its_data_were_replaced(tmp_path, toy_data, capsys):
    argv = [*toy_argv(tmp_path / "out", toy_data), "--methods", "zero-shot,ft"]
    main(argv)
    before = {
        p: (p / "ckpt.pt").read_bytes()
        for p in (tmp_path / "out" / "zero-shot-s0", tmp_path / "out" / "ft-s0")
    }
    first = [EvalRecord.load(p / "eval.json").accuracies[0].right() for p in before]
    with np.load(tmp_path / "test.npz") as file:
        images, labels = file["images"], file["labels"]
    np.savez(tmp_path / "test.npz", images=images, labels=(labels + 1) % len(TOYS))
    main(argv)
    again = [EvalRecord.load(p / "eval.json").accuracies[0].right() for p in before]
    assert "every run is finished" not in capsys.readouterr().err
    assert all(
        (a & b).sum() == 0 for a, b in zip(first, again, strict=True)
    )  # what was right has another label now
    assert all((p / "ckpt.pt").read_bytes() == content for p, content in before.items()), (
        "nothing is trained again"
    )


def test_a_method_that_fails_is_reported_in_its_row_and_the_rest_finish(tmp_path):
    one, said = study(tmp_path, Stub(fails="ft-s1"))
    rows = rows_by_label(one.run())
    assert rows["ft"].error == "seed 1: RuntimeError: no such luck" and set(rows["ft"].records) == {
        0
    }
    assert set(rows["grace"].records) == {0, 1}
    assert any("ft-s1" in line and "failed: RuntimeError: no such luck" in line for line in said)
    assert "no such luck" in (tmp_path / "table.md").read_text()
    again = Stub()
    assert rows_by_label(study(tmp_path, again)[0].run())["ft"].error == "" and again.trained == [
        "ft-s1"
    ]


def test_a_folder_of_another_study_is_refused_before_anything_is_trained(tmp_path):
    study(tmp_path, Stub())[0].run()
    again = Stub()
    with pytest.raises(
        UserError, match=r"-s0 was made with other settings: .*max_steps was None, now 5"
    ):
        study(tmp_path, again, max_steps=5)[0].run()
    assert again.trained == []


def test_a_run_that_was_stopped_half_way_ends_as_if_it_had_not_been(tmp_path, toy_data, capsys):
    argv = [*toy_argv(tmp_path / "whole", toy_data), "--methods", "ft"]
    main(argv)
    cut = [*toy_argv(tmp_path / "cut", toy_data), "--methods", "ft"]
    options = StudyOptions(
        methods=("ft",),
        out=tmp_path / "cut",
        data=toy_data,
        model=register_toy(),
        pretrained="random",
        batch_size=16,
        max_steps=3,
    )
    (job,) = jobs_of(options, {})
    with pytest.raises(Interrupted):
        train_run(dataclasses.replace(job.config, stop_after=2), quiet=True)
    (job.folder / "metrics.jsonl").open("a").write('{"step": 3, "lo')  # killed while it wrote
    main(cut)
    name = Path("ft-s0") / "ckpt.pt"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


LAYOUTS = {
    "fare": lambda tower: tower,
    "tecoa": lambda tower: {
        "epoch": 3,
        "state_dict": {"pad_up": torch.zeros(1, 3, 2, 16)},
        "best_acc1": 0.5,
        "optimizer": {"state": {}},
        "vision_encoder_state_dict": {f"module.{name}": w for name, w in tower.items()},
    },
}


def test_checkpoints_from_elsewhere_are_rows_like_our_own(tmp_path, toy_data, capsys):
    tuned = toy_clip(seed=5).clip
    for name, layout in LAYOUTS.items():
        torch.save(layout(tuned.visual.state_dict()), tmp_path / f"{name}.pt")
    torch.save({"epoch": 3, "state_dict": {"pad_up": torch.zeros(1)}}, tmp_path / "prompt.pt")
    also = [f"--also={name}={tmp_path / name}.pt" for name in (*LAYOUTS, "prompt")]
    main(
        [
            *toy_argv(tmp_path / "out", toy_data),
            "--methods",
            "zero-shot",
            "--baseline",
            "zero-shot",
            *also,
        ]
    )
    said = capsys.readouterr().out
    rows = {row["method"]: row for row in csv.DictReader((tmp_path / "out" / "table.csv").open())}
    image_set = resolve(toy_data, "test")
    model = toy_clip()  # the text tower of the base: random, seed 0
    model.clip.visual.load_state_dict(tuned.visual.state_dict())
    batch = next(iter(loader(image_set, 30, 16, train=False)))
    text = toy_clip().with_head(TOYS, image_set.templates)
    right = (
        (model.with_head(TOYS, (), text.head)(batch.images).argmax(1) == batch.labels)
        .float()
        .mean()
        .item()
    )
    assert float(rows["fare"]["ID"]) == float(rows["tecoa"]["ID"]) == pytest.approx(right, abs=1e-6)
    assert (
        "visual." in rows["prompt"]["error"]
        and rows["prompt"]["ID"] == ""
        and "failed: prompt" in said
    )
    plain = {
        row["method"]: row
        for row in json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    }
    assert plain["fare"]["difference"]["ID"]["how"] == "McNemar's exact test, one seed"
    assert (tmp_path / "out" / "also" / "fare.eval.json").is_file()
    assert not (tmp_path / "fare.eval.json").exists(), (
        "nothing is written beside somebody else's file"
    )


def test_an_image_tower_from_elsewhere_takes_the_text_tower_of_a_shipped_base(tmp_path):
    ours = build(ModelSpec(), TOYS, ("{}",))
    torch.save(ours.clip.visual.state_dict(), tmp_path / "tower.pt")
    options = StudyOptions(
        methods=("zero-shot",), baseline="zero-shot", also={"tower": str(tmp_path / "tower.pt")}
    )
    measures = Measures(suites=("id",), n=40)
    made = Study(dataclasses.replace(options, out=tmp_path / "out"), measures)
    (row,) = also_rows(made.options, measures, made.source, made.sets, made.say, made.failed)
    torch.save(ours.clip.state_dict(), tmp_path / "whole.pt")
    whole = assess(tmp_path / "whole.pt", measures, Source(data="shapes", model="tiny-shapes"))
    assert not row.error and row.records[0].accuracies[0].correct == whole.accuracies[0].correct


def trained_elsewhere(config: TrainConfig) -> Path:
    if config.method == "at":
        os._exit(1)  # as the kernel does when memory is out
    return Stub().train(config)


def evaluated_elsewhere(folder: Path, measures: Measures, source: object) -> EvalRecord:
    return Stub().evaluate(folder, measures, source)


def test_processes_share_the_work_and_a_death_costs_one_run(tmp_path):
    jobs = jobs_of(StudyOptions(methods=("at", "ft"), out=tmp_path), {})
    steps = Steps(trained_elsewhere, evaluated_elsewhere)
    found = {
        outcome.job.label: outcome for outcome in run_all(jobs, MEASURES, None, Local(2), steps)
    }
    assert found["at"].record is None and "died" in found["at"].error
    assert found["ft"].record.summary == Stub().evaluate(tmp_path / "ft-s0", MEASURES, None).summary


def toy_argv(out: Path, data: str) -> list[str]:
    settings = {
        "data": data,
        "model": register_toy(),
        "pretrained": "random",
        "batch-size": "16",
        "max-steps": "3",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return [
        "--out",
        str(out),
        "--methods",
        "zero-shot,ft,at",
        *flags,
        "--attack",
        "pgd",
        "--set",
        "at.attack_steps=1",
    ]


def test_the_command_trains_evaluates_and_says_where_things_lie(tmp_path, toy_data, capsys):
    main(toy_argv(tmp_path / "out", toy_data))
    said, progress = capsys.readouterr()
    assert "3 runs on npz:" in progress and "3 steps of 16 images each" in progress
    assert "[3/3] at-s0" in progress and "[3/3]" not in said
    assert f"streamlit run app/main.py -- --runs {tmp_path / 'out'}" in said
    runs = {run.name: run.evaluation for run in list_runs(tmp_path / "out")}
    assert set(runs) == {"zero-shot-s0", "ft-s0", "at-s0"}
    for record in runs.values():
        (clean,) = [a for a in record.accuracies if a.suite == "id"]
        assert (
            f"{100 * clean.accuracy:.1f} [{100 * clean.ci_low:.1f}, {100 * clean.ci_high:.1f}]"
            in said
        )
    written = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.pt")}
    main([*toy_argv(tmp_path / "out", toy_data), "--json"])
    out, err = capsys.readouterr()
    assert "every run is finished" in err
    found, kept = json.loads(out), json.loads((tmp_path / "out" / "table.json").read_text())
    assert found["result"] == kept and found["files"][0] == str(tmp_path / "out" / "table.md")
    assert written == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.pt")}
