"""The page *Training* as Streamlit runs it."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import streamlit
from PIL import ImageFont

from grace_geom.plots import training
from grace_geom.plots.ends import name_panels
from grace_geom.plots.legend import Identity, Legend
from tests.app.conftest import evaluation, sees, specs, write_run


def test_a_run_being_written_is_running_and_then_stalled(opened, runs):
    folder = write_run(runs, "demo/slow-s0", None, steps=40, total=100)
    app = opened(runs, "training", runs=["demo/slow-s0"])
    assert app.dataframe[0].value["state"].tolist() == ["running"]
    assert "6 s" in app.dataframe[0].value["ends in"].tolist()[0]
    old = time.time() - 1000
    os.utime(folder / "metrics.jsonl", (old, old))
    app = opened(runs, "training", runs=["demo/slow-s0"])
    assert "has stalled" in sees(app)
    assert any("--resume" in code.value for code in app.code)


def test_runs_of_unlike_lengths_stand_against_shares_of_their_logs(opened, runs):
    write_run(runs, "demo/long-s0", None, steps=300, total=300)
    app = opened(runs, "training", runs=["demo/ft-s0", "demo/long-s0"])
    assert app.segmented_control(key="training_against").value == "share"
    assert specs(app)[0]["layout"]["xaxis"]["title"]["text"] == "Share of log (%)"


FONT = "static/static/media/SourceSansVF-Upright*.woff2"


def letters(size: int) -> ImageFont.FreeTypeFont:
    """The page's own, to measure with."""
    (file,) = Path(streamlit.__file__).parent.glob(FONT)
    font = ImageFont.truetype(file, size)
    font.set_variation_by_name("Regular")
    return font


def test_no_name_of_a_panel_lies_over_that_of_its_axis_at_any_width():
    names, axes = letters(13), letters(12)
    run = Legend.of({"a": Identity("ft", "ft")}, {"a": "a"})
    for key in training.TITLES:
        others = [k for k in ("loss", "lr", "grad_norm") if k != key][:2]
        logs = {"a": [dict.fromkeys(("step", key, *others), 1.0)]}
        plain = training.stack(logs, run, [key, *others], training.View("share"))
        for figure in (plain, name_panels(plain, run)):
            head, along = (n for n in figure.layout.annotations if n.yref == "y domain")
            said, over = axes.getlength(along.text), names.getlength(head.text)
            for wide in (330, 420):  # between the margins, on a telephone and a laptop
                axis = wide * (figure.layout.xaxis.domain or (0, 1))[1]
                begins = axis + along.xshift if along.xanchor == "left" else axis - said
                assert max(over, begins + said) <= wide + 12, "the figure ends there"
                apart = along.yshift != head.yshift or over + 6 <= begins
                assert apart, (head.text, wide)


def _lines(figure):
    """Names of lines, without those of the names at their ends."""
    return {t["name"] for t in figure["data"] if not t["name"].endswith(", at its end")}


def test_the_training_page_draws_means_over_seeds_and_single_runs_on_request(opened, runs):
    for seed in (1, 2):
        folder = write_run(runs, f"demo/grace-s{seed}", None)
        log = folder / "metrics.jsonl"
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        shifted = [row | {"loss": row["loss"] + seed} if "loss" in row else row for row in rows]
        log.write_text("".join(json.dumps(row) + "\n" for row in shifted))
        record = evaluation("grace-s0", 80, 50 + seed)
        replace(record, seed=seed, checkpoint=f"{seed:064}").save(folder / "eval.json")
    app = opened(runs, "training", runs=["demo/ft-s0", *(f"demo/grace-s{s}" for s in range(3))])
    assert not app.exception
    loss = specs(app)[0]
    bands = [t for t in loss["data"] if t.get("fill") == "toself"]
    assert {t["name"] for t in bands} == {"grace"}
    assert _lines(loss) == {"grace", "ft-s0"}
    said = sees(app)
    assert (
        "means over seeds where all have numbers; bands: from their lowest to their highest" in said
    )
    assert "faint: single runs as logged" in said
    assert "Lines of **ft\\-s0** and **grace** coincide." in said
    assert "Axes hold all lines and need not begin at 0." in said
    app.toggle(key="training_single").set_value(True).run()
    assert _lines(specs(app)[0]) == {"ft-s0", *(f"grace-s{s}" for s in range(3))}
    assert "bands" not in sees(app) and "faint: as logged" in sees(app)


def test_held_out_accuracy_comes_first_and_a_line_beyond_its_axis_is_named(opened, runs):
    for name, factor in (("at", 1), ("awp", 1), ("ucat", 500)):
        log = write_run(runs, f"demo/{name}-s0", None) / "metrics.jsonl"
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        many = [row | {"loss": factor * row["loss"]} if "loss" in row else row for row in rows]
        early = {"step": 50, "seconds": 5, "val_acc": 0.72, "val_n": 64}
        many.insert(20, early)
        many[-1] |= {"val_n": 64}
        log.write_text("".join(json.dumps(row) + "\n" for row in many))
    known = [f"demo/{name}-s0" for name in ("at", "awp", "ft", "ucat")]
    app = opened(runs, "training", runs=known)
    accuracy, loss = specs(app)[:2]
    assert accuracy["layout"]["annotations"][0]["text"] == "Held-out accuracy"
    notes = [n["text"] for n in loss["layout"]["annotations"] if n.get("name") == "beyond"]
    assert len(notes) == 1 and "ucat-s0: 10 to 1000" in notes[0]
    assert "Axes hold all lines but those named in the corner" in sees(app)
    table = app.dataframe[0].value.set_index("run")
    assert table.loc["at-s0", ["held out (%)", "best (%)", "at step"]].tolist() == [70, 72, 50]
    assert table.loc["at-s0", "change (points)"].startswith("\u22122.0 [")
    assert table["held out (%)"].notna().tolist() == [True, True, False, True]
    assert "in the last of 2 checks, of 64 images each" in sees(app)
    app.segmented_control(key="training_axes").set_value("linear").run()
    assert "Axes hold all lines and need not" in sees(app)


def test_what_all_runs_share_is_said_once_and_no_column_of_the_table(opened, runs):
    for name in ("ft", "grace"):
        log = runs / f"demo/{name}-s0/metrics.jsonl"
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        rows.insert(20, {"step": 50, "seconds": 5, "val_acc": 0.6, "val_n": 64})
        rows[-1] |= {"val_n": 64}
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = opened(runs, "training", runs=["demo/ft-s0", "demo/grace-s0"])
    table = app.dataframe[0].value
    assert list(table.columns) == [
        "run", "trend", "held out (%)", "loss", "change of loss", "steps", "trained for",
        "images a second",
    ]  # fmt: skip
    assert table["steps"].tolist() == [100, 100] and table["trend"].tolist() == ["falls", "falls"]
    said = sees(app)
    assert "All runs are finished." in said
    assert "The last check is the best one of every run." in said
    (more,) = (e.proto.body for e in app.get("html") if "Scroll the table" in e.proto.body)
    assert "images a second.</p>" in more
    assert "\nNot yet: both still improve. Both runs are finished; at the end of the log" in said
