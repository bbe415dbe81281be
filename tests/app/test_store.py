"""What is read below the folder of runs, and what is not."""

import json
import os
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import yaml

from app import shell, store
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import GROUNDS
from grace_geom.records import Measure, Part, Result, inside
from tests.app.conftest import spectrum, write_run


def test_runs_are_named_by_their_path_below_the_root(runs):
    assert list(store.entries(runs)) == ["demo/ft-s0", "demo/grace-s0", "demo/zero-shot-s0"]
    assert store.entries(runs / "nowhere") == {}


def test_a_run_that_was_never_evaluated_has_the_colour_of_its_recorded_seed(tmp_path):
    for run, seed in (("ft-s0", 0), ("ft-s2", 2)):
        path = write_run(tmp_path, f"demo/{run}", None) / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"seed": seed}))
    first, third = store.entries(tmp_path).values()
    drawn = shell.legend_of([third], [third], {third.id: "ft-s2"}, GROUNDS["light"])
    picture = Legend.of({third.id: Identity("ft", "ft", 2)}, {third.id: "ft-s2"})
    assert drawn.looks == picture.looks  # an analysis takes the seed from the checkpoint
    assert (first.seed, third.seed) == (0, 2)
    assert replace(first, members=(first, third)).recorded_seed is None


def test_what_is_broken_is_named_and_the_rest_is_read(broken):
    found = store.entries(broken)
    said = {run: " ".join(e.problems) for run, e in found.items()}
    assert "truncated" in said["demo/cut-s0"]
    assert "newer version" in said["demo/newer-s0"]
    assert "evaluate again" in said["demo/wrong-s0"]
    assert found["demo/ft-s0"].estimates["ID"].value == pytest.approx(0.9)
    assert found["demo/cut-s0"].evaluation is None
    assert store.settings_broken(found["demo/yaml-s0"])
    assert not any(str(broken) in text for text in said.values())  # paths of the machine stay on it


def test_links_out_of_the_folder_are_not_followed(runs, tmp_path):
    outside = write_run(tmp_path, "outside/secret-s0", 99)
    (runs / "demo/link-s0").symlink_to(outside)
    inner = write_run(runs, "demo/inner-s0", 50)
    for name in ("eval.json", "config.yaml", "metrics.jsonl"):
        os.remove(inner / name)
        (inner / name).symlink_to(outside / name)
    found = store.entries(runs)
    for run in ("demo/link-s0", "demo/inner-s0"):
        assert found[run].evaluation is None
        assert "leads out" in " ".join(found[run].problems)
    assert store.settings(found["demo/inner-s0"]) == {}
    assert store.lines(found["demo/inner-s0"], "metrics") == store.Lines()


def test_what_lies_inside_is_told_by_where_links_end(tmp_path):
    root, outside = tmp_path / "runs", tmp_path / "elsewhere"
    for folder in (root / "a", outside):
        folder.mkdir(parents=True)
        (folder / "eval.json").touch()
    (root / "near").symlink_to(root / "a")
    (root / "far").symlink_to(outside)
    (root / "a/far.json").symlink_to(outside / "eval.json")
    (root / "round").symlink_to(root / "round")
    (tmp_path / "door").symlink_to(root)
    for path in (root, root / "a", root / "a/eval.json", root / "near/eval.json", root / "new/x"):
        assert inside(path, root) and inside(path, tmp_path / "door")
    away = ("far", "far/eval.json", "a/far.json", "..", "a/../..", "round", "round/x")
    for name in away:
        assert not inside(root / name, root)
    assert not inside(tmp_path / "runs-2", root)
    assert not inside(root / "a", root / "round")


def test_a_line_that_is_cut_short_costs_only_itself(runs):
    path = runs / "demo/ft-s0/metrics.jsonl"
    whole = len(path.read_text().splitlines())
    path.write_text(path.read_text() + '[]\n{"loss": 1}\n{"step": 4, "lo')
    read = store.lines(store.entries(runs)["demo/ft-s0"], "metrics")
    assert (len(read.rows), read.broken) == (whole, 3)


def test_yaml_makes_no_objects(runs):
    (runs / "demo/ft-s0/config.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    assert store.settings(store.entries(runs)["demo/ft-s0"]) == {}


def test_an_analysis_is_found_in_the_run_and_beside_the_runs(runs):
    spectrum(runs / "demo/ft-s0", 5.0)
    checkpoints = tuple(
        {"label": m, "path": f"/elsewhere/{m}/ckpt.pt"} for m in ("grace-s0", "zero-shot-s0")
    )
    parts = {
        "grace-s0": Part({"lambda_1": Measure(2.0)}),
        "zero-shot-s0": Part({"lambda_1": Measure(3.0)}),
    }
    Result("hessian_spectrum", checkpoints, {}, parts).save(runs / "demo/analyses")
    found, problems = store.findings("hessian_spectrum", list(store.entries(runs).values()), runs)
    assert {f.run: f.value("lambda_1").value for f in found} == {
        "demo/ft-s0": 5.0, "demo/grace-s0": 2.0, "demo/zero-shot-s0": 3.0,
    }  # fmt: skip
    assert problems == []


def test_arrays_with_pickled_objects_are_refused(runs):
    folder = runs / "demo/ft-s0"
    spectrum(folder, 5.0)
    np.savez(folder / "analyses/hessian_spectrum.npz", bad=np.array([{}], dtype=object))
    record = json.loads((folder / "analyses/hessian_spectrum.json").read_text())
    record["npz_sha256"] = sha256(
        (folder / "analyses/hessian_spectrum.npz").read_bytes()
    ).hexdigest()
    (folder / "analyses/hessian_spectrum.json").write_text(json.dumps(record))
    found, problems = store.findings("hessian_spectrum", list(store.entries(runs).values()), runs)
    assert found == []
    assert "allow_pickle=False" in problems[0]
