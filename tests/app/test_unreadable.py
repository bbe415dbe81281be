"""Pages and listings on what people really have: one name twice, odd names, long and torn logs."""

import json
import os
import subprocess
import time

import numpy as np
import pytest

from app import logs, measured, shell, store
from grace_geom.plots.training import series
from grace_geom.records import Measure, Part, Result
from tests.app.conftest import evaluation, sees, specs, write_run


def joint(folder, *runs, sha=True):
    """One result of several runs, as an analysis of all of them leaves it."""
    checkpoints = tuple(
        {"label": run, "path": f"{place}/{run}/ckpt.pt", "sha256": content if sha else ""}
        for place, run, content, _ in runs
    )
    parts = {run: Part({"drift": Measure(value)}) for _, run, _, value in runs}
    Result("parameter_drift", checkpoints, {"n": 5}, parts).save(folder / "analyses")


def two_of_one_name(tmp_path):
    root = tmp_path / "runs"
    for folder, content in (("a", "a" * 64), ("b", "b" * 64)):
        run = write_run(root, f"{folder}/ft-s0", 70)
        record = evaluation("ft-s0", 70, 10)
        type(record)(**vars(record) | {"checkpoint": content}).save(run / "eval.json")
    write_run(root, "a/grace-s0", 70)
    return root


@pytest.mark.parametrize("sha", [True, False])
def test_two_runs_of_one_name_have_each_its_own_result(tmp_path, sha):
    root = two_of_one_name(tmp_path)
    joint(root, (root / "a", "ft-s0", "a" * 64, 0.097), (root / "a", "grace-s0", "", 0.5), sha=sha)
    Result(
        "parameter_drift",
        ({"label": "ft-s0", "path": str(root / "b/ft-s0/ckpt.pt"), "sha256": "b" * 64},),
        {}, {"ft-s0": Part({"drift": Measure(0.238)})},
    ).save(root / "b/analyses")  # fmt: skip
    found, problems = store.findings("parameter_drift", list(store.entries(root).values()), root)
    assert {f.run: f.value("drift").value for f in found} == {
        "a/ft-s0": 0.097, "a/grace-s0": 0.5, "b/ft-s0": 0.238,
    }  # fmt: skip
    assert not problems


def test_a_result_belongs_to_the_run_of_its_content_wherever_that_went(tmp_path):
    root = two_of_one_name(tmp_path)
    joint(root, ("/old/a", "ft-s0", "b" * 64, 0.2), ("/old/a", "grace-s0", "", 0.5))
    found, _ = store.findings("parameter_drift", list(store.entries(root).values()), root)
    assert {f.run: f.value("drift").value for f in found} == {"b/ft-s0": 0.2, "a/grace-s0": 0.5}


def test_a_folder_that_cannot_be_looked_into_costs_only_itself(runs, monkeypatch, opened):
    (runs / "closed").mkdir()
    whole = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = store.listing(runs)
    assert len(listing.entries) == 3
    assert listing.problems == ("closed: cannot be looked into (Permission denied)",)
    app = opened(runs)
    assert not app.exception and "closed: cannot be looked into" in sees(app).replace("\\", "")


def test_nothing_of_a_file_outside_is_shown(runs, tmp_path):
    (tmp_path / "secret.json").write_text('{"format": "the secret"}')
    (runs / "demo/ft-s0/analyses").mkdir()
    for name in ("eval.json", "analyses/sharpness.json"):
        path = runs / "demo/ft-s0" / name
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "secret.json")
    entry = store.entries(runs)["demo/ft-s0"]
    assert len(entry.problems) == 2 and "secret" not in " ".join(entry.problems)
    assert all("leads out" in problem for problem in entry.problems)


def test_pipes_and_devices_hold_nobody_up(runs):
    folder = runs / "demo/ft-s0"
    (folder / "analyses").mkdir()
    for name in ("eval.json", "config.yaml", "metrics.jsonl", "analyses/sharpness.json"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    (folder / "ckpt.pt").write_bytes(b"")
    entry = store.entries(runs)["demo/ft-s0"]
    assert all("pipe" in problem for problem in entry.problems) and len(entry.problems) == 2
    assert store.lines(entry, "metrics") == store.Lines() and store.settings(entry) == {}


def test_any_name_is_shown_and_quoted(opened, tmp_path):
    names = ["a$x$b", "it's; rm -rf $HOME", "`id`", "a\nb", "b\udcff", "<b>*x*"]
    folders = [write_run(tmp_path / "runs", f"{name}-s0", None) for name in names]
    for folder in folders:
        (folder / "ckpt.pt").write_bytes(b"")
    for page in ("overview", "training", "run", "weights"):
        app = opened(tmp_path / "runs", page)
        assert not app.exception
        assert "$x$" not in "\n".join(
            str(e.value) for e in (*app.markdown, *app.info, *app.caption)
        )
    for folder in folders:
        said = shell.quoted(folder)
        printed = subprocess.run(
            ["bash", "-c", f"printf %s {said}"], capture_output=True, check=True
        )
        assert printed.stdout == os.fsencode(folder)
    known = store.entries(tmp_path / "runs").values()
    assert len(known) == len(names) and all(map(measured.has_checkpoint, known))


def log(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_long_log_is_followed_and_drawn_in_time(opened, runs):
    path = runs / "demo/ft-s0/metrics.jsonl"
    keys = ("loss", "loss_task", "lr", "train_acc", "grad_norm", "cos_id_adv", "gram_volume")
    log(
        path,
        ({"step": s, "seconds": s / 10} | dict.fromkeys(keys, 1 / (s + 1)) for s in range(20_000)),
    )
    entry = store.entries(runs)["demo/ft-s0"]
    first = store.lines(entry, "metrics")
    assert first.total == 20_000 and len(first.rows) <= 2 * logs.MOST_ROWS
    assert (first.rows[0]["step"], first.rows[-1]["step"]) == (0, 19_999)
    with path.open("a") as file:
        file.write('{"step": 20000, "val_acc": 0.5}\n{"step": 2')
    began = time.process_time()
    again = store.lines(entry, "metrics")
    assert time.process_time() - began < 0.1
    assert again.total == 20_001 and again.broken == 1 and again.rows[-1]["val_acc"] == 0.5
    app = opened(runs, "training", runs=["demo/ft-s0"])
    began = time.process_time()
    app.run()
    assert time.process_time() - began < 3 and not app.exception
    assert "of 20001 records are drawn" in sees(app)


def test_a_log_that_was_cut_back_is_read_again(runs):
    path = runs / "demo/ft-s0/metrics.jsonl"
    entry = store.entries(runs)["demo/ft-s0"]
    log(path, ({"step": s, "loss": 1.0} for s in range(10)))
    assert store.lines(entry, "metrics").total == 10
    log(path, ({"step": s, "loss": 2.0} for s in range(30, 50)))
    read = store.lines(entry, "metrics")
    assert read.total == 20 and read.rows[0] == {"step": 30, "loss": 2.0}


def test_numbers_between_nans_are_drawn(opened, runs):
    path = runs / "demo/ft-s0/metrics.jsonl"
    log(path, ({"step": s, "loss": float("nan") if s % 2 else 1 / (s + 1)} for s in range(9_000)))
    rows = store.lines(store.entries(runs)["demo/ft-s0"], "metrics").rows
    steps, values = series(rows, "loss")
    assert len(steps) > 500 and all(np.isfinite(values))
    app = opened(runs, "training", runs=["demo/ft-s0"])
    assert not app.exception and "loss 4500" in sees(app)
    sizes = [
        len(line["x"]["bdata"]) * 3 / 4 / 8
        for spec in specs(app)
        for line in spec["data"]
        if "bdata" in line["x"]
    ]  # names at the ends of lines have two places
    assert max(sizes) > 500


@pytest.mark.parametrize(
    "line",
    [b"[]", b"{}", b'{"step": true}', b'{"step": 1e400}', b'{"step": "3"}', b'{"step": -1}',
     b'{"step": 0.5}', b"[" * 5000, b'{"step": 1, "a\\u0000": 2}', b"\xff\xfe", b'{"step": NaN}'],
)  # fmt: skip
def test_a_line_without_a_step_is_counted_as_broken(runs, line):
    path = runs / "demo/ft-s0/metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2}\n' + line + b'\n{"step": 2, "loss": 1}\n')
    read = store.lines(store.entries(runs)["demo/ft-s0"], "metrics")
    assert (len(read.rows), read.broken) == (2, 1)


def test_values_of_any_kind_end_no_page(opened, runs):
    odd = [None, True, "x", [1], {"a": 1}, 10**400, float("inf"), float("nan"), -1, 0]
    rows = [
        {"step": i, "loss": v, "seconds": w, "matrices": v, "val_acc": w}
        for i, (v, w) in enumerate((v, w) for v in odd for w in odd)
    ]
    for stream in ("metrics", "curvature"):
        log(runs / f"demo/grace-s0/{stream}.jsonl", rows)
    for page in ("training", "weights"):
        assert not opened(runs, page).exception
