"""Every page as Streamlit runs it, without a browser."""

import ast
import json
import os
import re
import runpy
import shutil
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from app import shell, show
from grace_geom.plots import drift
from grace_geom.records import Result
from tests.app.conftest import (
    MAIN,
    PAGES,
    evaluation,
    flat,
    notices,
    sees,
    specs,
    spectrum,
    told,
    write_run,
)

ANALYSED = ("curvature", "landscape", "drift", "features", "robustness", "images", "weights")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_drawn_from_what_real_runs_and_analyses_leave(opened, lab, page):
    app = opened(lab, page)
    assert not app.exception
    assert app.title[0].value.endswith("?")
    assert not notices(app)
    figures = app.get("plotly_chart")
    assert len(figures) >= {"numbers": 2, "run": 1}.get(page, 4)
    assert [figure.proto.alt for figure in figures if not told(figure)] == []
    assert all(spec["data"] for spec in specs(app))


@pytest.mark.parametrize("page", ["curvature", "landscape", "drift", "robustness", "weights"])
def test_the_answer_stands_above_the_first_figure(opened, lab, page):
    drawn = [e for e in opened(lab, page).main if e.type in ("markdown", "plotly_chart")]
    words = [e.value for e in drawn[: [e.type for e in drawn].index("plotly_chart")]]
    assert re.search(r"\*\*(zero\\-shot|ft|grace)\\-s0\*\*", words[0])
    assert re.search(r"\d", re.sub(r"s0\*", "", words[0])) and words[0].endswith(".")


def test_a_caption_says_what_made_the_intervals_of_its_number(opened, lab):
    app = opened(lab, "drift").selectbox(key="drift_measure").select("procrustes").run()
    captions = [c.value.replace("\u00a0", " ") for c in app.caption]
    said = {caption.split(" ")[0]: caption for caption in captions}
    assert "95 % intervals from 4 half-samples of the images." in said["Linear"]
    assert "95 % intervals from 16 groups of images left out in turn" in said["d²"]
    assert "half" not in said["d²"]


def test_the_strongest_attack_stands_first_and_the_gap_to_the_baseline_beside_it(opened, lab):
    app = opened(lab, "robustness", baseline="toy/ft-s0")
    said = [m.value.replace("\\", "") for m in app.markdown]
    worst = re.search(r"Under (\S+) accuracy is halved", said[0])[1]
    heads = [m.strip("*") for m in said[1:] if m.startswith("**")]
    assert heads[:2] == [worst, f"{worst}, less “ft-s0”"] and len(set(heads[:3])) == 3
    assert app.selectbox(key="robustness_attack").value == worst.lower()
    legends = [e.proto.body for e in app.get("html") if 'aria-label="Runs"' in e.proto.body]
    assert len(legends) == 3  # of the curves, the margins, the classes


def test_checks_that_decide_stand_first_with_their_intervals(opened, lab):
    app = opened(lab, "robustness")
    table = next(d.value for d in app.dataframe if "verdict" in d.value)
    heads = ["run", "verdict", "APGD", "Square", "ε\u00a0=\u00a064/255", "Square alone", "PGD"]
    assert list(table.columns)[:7] == heads
    assert set(table["verdict"]) <= {"no sign", "masked", "PGD too short"}
    (more,) = (e.proto.body for e in app.get("html") if "Scroll the table" in e.proto.body)
    assert "no random start.</p>" in more
    assert sees(app).count("half of Wilson's 95 % interval") == 2  # of the map and of the table


def test_drift_draws_means_over_the_seeds_that_were_measured(opened, lab, tmp_path):
    shutil.copytree(lab / "toy", tmp_path / "toy", ignore=shutil.ignore_patterns("*.pt"))
    result = Result.load(lab / "toy/analyses/representation_drift.json")
    part, one = result.parts["ft-s0"], result.checkpoints[0]
    other = replace(part, arrays=part.arrays | {"cka/id": part.arrays["cka/id"] - 0.2})
    more = one | {"label": "ft-s1", "path": str(lab / "toy/ft-s1/ckpt.pt"), "sha256": ""}
    found = replace(
        result, parts=result.parts | {"ft-s1": other}, checkpoints=(*result.checkpoints, more)
    )
    found.save(tmp_path / "toy/analyses")
    app = opened(tmp_path, "drift")
    assert not app.exception
    (mean,) = (
        t for t in specs(app)[0]["data"] if t["name"] == "ft" and t.get("fill") is None
    )  # fmt: skip
    assert [*flat(mean["y"])] == pytest.approx([*(part.arrays["cka/id"][0] - 0.1)])
    assert any("Means over 2 seeds" in c.value for c in app.caption)


@pytest.mark.parametrize("page", ANALYSED)
def test_a_page_without_its_analysis_says_the_command_that_makes_it(opened, runs, page):
    for run in ("ft-s0", "grace-s0"):
        (runs / f"demo/{run}/ckpt.pt").write_bytes(b"")
    app = opened(runs, page)
    assert not app.exception
    assert "has not been measured for ft\\-s0, grace\\-s0" in sees(app)
    assert "` has not been measured" not in sees(app)  # an analysis goes by what it measures
    assert "no checkpoint to measure it on: zero\\-shot\\-s0" in sees(app)
    commands = [code.value for code in app.code if code.value.startswith("python analyses/")]
    assert commands
    for command in commands:
        assert f"{runs / 'demo/ft-s0'} {runs / 'demo/grace-s0'}" in command


@pytest.mark.parametrize("page", ANALYSED)
def test_a_run_without_analyses_is_named_and_the_others_are_drawn(opened, lab, page):
    app = opened(lab, page, runs=["toy/ft-s1", "toy/grace-s0"])
    assert not app.exception
    assert "has not been measured for ft\\-s1" in sees(app)
    assert specs(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_bears_broken_files(opened, broken, page):
    names = ("cut", "newer", "waiting", "yaml", "wrong", "ft", "grace")
    app = opened(broken, page, runs=[f"demo/{name}-s0" for name in names])
    assert not app.exception
    if page == "run":
        app = app.selectbox(key="run").select("demo/newer-s0").run()
        assert not app.exception
    assert "newer version" in sees(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_bears_a_run_that_only_began(opened, tmp_path, page):
    (tmp_path / "runs/ft-s0").mkdir(parents=True)
    (tmp_path / "runs/ft-s0/config.yaml").write_text("method: ft\n")
    assert not opened(tmp_path / "runs", page).exception


def test_without_runs_it_says_the_command_that_makes_one(opened, tmp_path):
    app = opened(tmp_path / "none")
    assert not app.exception
    assert app.title[0].value == "No runs yet"
    assert "make demo" in [code.value for code in app.code]


def test_of_very_many_runs_one_of_each_method_is_chosen_and_it_is_said(opened, runs, monkeypatch):
    monkeypatch.setattr(shell, "MOST_RUNS_AT_FIRST", 10)
    for seed in range(1, 6):
        for method in ("ft", "grace", "at"):
            folder = write_run(runs, f"demo/{method}-s{seed}", None)
            replace(evaluation(folder.name, 95, 60), seed=seed).save(folder / "eval.json")
    later = write_run(runs, "demo/trials/ft-lr1-s0", None)
    os.utime(later / "metrics.jsonl", (time.time() + 60, time.time() + 60))
    app = opened(runs)
    one_each = ["demo/at-s1", "demo/ft-s0", "demo/grace-s0", "demo/zero-shot-s0"]
    assert app.multiselect(key="runs").value == one_each
    assert app.selectbox(key="baseline").value == "demo/zero-shot-s0"
    assert "14 evaluated runs of these methods with other seeds are not shown" in sees(app)


def test_an_unevaluated_run_is_listed_with_the_command(opened, broken):
    app = opened(broken, runs=["demo/waiting-s0", "demo/ft-s0"])
    assert "Not evaluated yet: waiting" in sees(app)
    assert any(code.value.endswith("demo/waiting-s0") for code in app.code)
    assert app.dataframe[0].value["run"].tolist() == ["ft-s0"]


def test_a_run_on_other_images_is_left_out_and_the_reason_said(opened, runs):
    write_run(runs, "demo/far-s0", None)
    evaluation("far-s0", 99, 99, n=200).save(runs / "demo/far-s0/eval.json")
    app = opened(runs)
    assert "far\\-s0 cannot be compared with zero\\-shot\\-s0: other images" in sees(app)
    assert "far-s0" not in json.dumps(
        [[trace.get("name") for trace in spec["data"]] for spec in specs(app)]
    )


def test_a_link_says_what_is_chosen_and_the_url_follows(opened, runs):
    app = opened(runs, runs=["demo/ft-s0", "demo/grace-s0"], baseline="demo/grace-s0")
    assert app.multiselect(key="runs").value == ["demo/ft-s0", "demo/grace-s0"]
    assert app.selectbox(key="baseline").value == "demo/grace-s0"
    app.multiselect(key="runs").unselect("demo/grace-s0").run()
    assert app.query_params["runs"] in ("demo/ft-s0", ["demo/ft-s0"])
    assert app.query_params["baseline"] in ("demo/ft-s0", ["demo/ft-s0"])


@pytest.mark.parametrize(
    "wild", ["../../etc", "/etc", "demo/../../x", "<script>1</script>", "[x](javascript:1)"]
)
def test_a_link_cannot_name_anything_outside(opened, runs, wild):
    app = opened(runs, runs=[wild])
    assert not app.exception
    assert all(run.startswith("demo/") for run in app.multiselect(key="runs").value)
    assert "<script>" not in sees(app)
    assert "](javascript" not in sees(app)


def test_a_wild_name_is_text(opened, runs):
    write_run(runs, "demo/**b** [x](http:) <i>-s0", 70, 30)
    app = opened(runs)
    assert not app.exception
    assert not any("<i>" in json.dumps(spec) for spec in specs(app))


def test_nothing_chosen_is_said(opened, runs):
    app = opened(runs)
    app.multiselect(key="runs").set_value([]).run()
    assert not app.exception
    assert "No run is chosen" in sees(app)


def test_distributions_are_chosen_once_for_every_page(opened, lab):
    app = opened(lab, sets=["adv"])
    assert app.multiselect(key="sets").value == ["adv"]
    assert app.query_params["sets"] in ("adv", ["adv"])
    rows = specs(app)[-1]["layout"]["yaxis"]["ticktext"]
    assert len(rows) == 1 and "attack" in rows[0]
    app = app.switch_page("views/drift.py").run()
    titles = [m.value for m in app.markdown]
    assert "**Under attack**" in titles and "**In distribution**" not in titles
    app.multiselect(key="sets").set_value([]).run()
    assert "**In distribution**" in [m.value for m in app.markdown]
    assert "sets" not in app.query_params


def test_seeds_are_a_mean_until_somebody_wants_each(opened, lab):
    app = opened(lab)
    assert app.dataframe[0].value.set_index("run")["seeds"].to_dict() == {
        "ft": "0, 1", "grace-s0": "0", "zero-shot-s0": "0"
    }  # fmt: skip
    app.selectbox(key="baseline").select("toy/ft").run()
    app.multiselect(key="over").set_value([]).run()
    each = ["ft-s0", "ft-s1", "grace-s0", "zero-shot-s0"]
    assert sorted(app.dataframe[0].value["run"]) == each
    assert (
        app.selectbox(key="baseline").value == "toy/ft-s0"
    )  # the mean's place is taken by its first run
    assert app.query_params["over"] in ("none", ["none"])
    assert "seeds" not in app.query_params
    again = opened(lab, seeds="each", baseline="toy/ft-s1")
    assert again.multiselect(key="over").value == []
    assert again.selectbox(key="baseline").value == "toy/ft-s1"


def test_the_overview_warns_of_geometry_on_other_images(opened, runs):
    for run, digest in (("ft", "a"), ("grace", "b"), ("zero-shot", "a")):
        spectrum(runs / f"demo/{run}-s0", 5.0, images={"id": [96, digest * 64]})
    app = opened(runs)
    assert not app.exception
    (note,) = [w for w in notices(app) if "images of the others" in w]
    assert note.startswith("`hessian_spectrum`: grace") and "bbbbbb" in note


@pytest.mark.parametrize(
    "path", [MAIN, *(MAIN.parent / "views").glob("*.py")], ids=lambda p: p.stem
)
def test_no_script_has_a_bare_string_which_streamlit_would_draw(path):
    bare = [
        node.lineno
        for node in ast.parse(path.read_text()).body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    assert not bare


CONTROLS = {
    "curvature": {"curvature_axis": "log", "curvature_loss": "adv-ce"},
    "landscape": {"landscape_surfaces": True},
    "drift": {"drift_set": "adv", "drift_measure": "procrustes"},
    "features": {"features_axes": "PCA, 3-D"},
    "images": {"images_run": "toy/grace-s0", "images_asked": None},
    "robustness": {"robustness_attack": "pgd", "robustness_radius": 64 / 255},
    "weights": {"weights_matrix": None},
}


@pytest.mark.parametrize(
    ("page", "key"), [(page, key) for page, keys in CONTROLS.items() for key in keys]
)
def test_every_control_changes_what_is_drawn(opened, lab, page, key):
    app = opened(lab, page)
    before, value = specs(app), CONTROLS[page][key]
    if key == "landscape_surfaces":
        app.toggle(key=key).set_value(True)
    elif key in ("curvature_axis", "curvature_loss", "drift_set", "features_axes"):
        app.segmented_control(key=key).set_value(value)
    elif key == "robustness_radius":
        app.select_slider(key=key).set_value(value)
    else:
        box = app.selectbox(key=key)
        box.set_value(value) if value else box.select_index(1)
    app.run()
    assert not app.exception
    assert specs(app) != before


def test_the_run_page_says_the_usual_head_once(opened, runs):
    path, own = runs / "demo/grace-s0/eval.json", "the checkpoint's head"
    plain = json.loads(path.read_text())
    for i, row in enumerate(plain["accuracies"]):
        row["head"] = "text head" if i == 0 else own
    path.write_text(json.dumps(plain))
    app = opened(runs, "run", run="demo/grace-s0")
    assert f"Classified with {own}, where no other head is named." in sees(app)
    told = next(d.value for d in app.dataframe if "measured with" in d.value)["measured with"]
    assert "text head" in told.tolist() and not any(own in one for one in told)


def test_the_run_page_says_how_to_make_it_again_and_what_differs(opened, runs):
    app = opened(runs, "run", run="demo/grace-s0")
    assert app.selectbox(key="run").value == "demo/grace-s0"
    assert any("grace_geom.train --config" in code.value for code in app.code)
    files = next(d.value for d in app.dataframe if "SHA-256" in d.value).set_index("file")
    assert (
        files.loc["eval.json", "SHA-256"]
        == sha256((runs / "demo/grace-s0/eval.json").read_bytes()).hexdigest()
    )
    differs = next(
        d.value for d in app.dataframe if "setting" in d.value and "zero-shot-s0" in d.value
    )
    said = sees(app).replace("\\", "")
    rho = "radius ρ of the weight perturbation"
    assert differs.set_index("setting").loc[rho, ["grace-s0", "key"]].tolist() == ["0.01", "rho"]
    assert (
        "**grace-s0** is grace (data shapes, model tiny-shapes, seed 0) with ID 80.0 % [76.0, 84.0], "
        "OOD 80.0 % ["
    ) in said
    assert (
        "Adv 50.0 % [46.0, 54.0]; against **zero-shot-s0**, on the same images clearly ahead in ID, "
        "OOD and Adv; it differs in method"
    ) in said
    assert f"SHA-256 {'f' * 64}, which is none of these files" in sees(app)
    accuracies = next(d.value for d in app.dataframe if "measured with" in d.value)
    assert "APGD-CE, ε = 4/255, 20 steps" in accuracies["measured with"].tolist()
    assert "clean images" in accuracies["measured with"].tolist()
    (accuracy,) = specs(app)  # of this run and the one beside it
    drawn = [re.sub("<[^>]+>", "", row) for row in accuracy["layout"]["yaxis"]["ticktext"]]
    assert {*accuracies["data"]} == {*drawn}, "one name for a data set on the page"
    table = next(d for d in app.dataframe if "measured with" in d.value)
    assert "50.0 [46.0, 54.0]" in str(table.proto.arrow_data.styler.display_values)
    (facts,) = (e.proto.body for e in app.get("html") if 'class="glance"' in e.proto.body)
    facts = facts.replace("\u00a0", " ")
    assert "<dt>Adv</dt><dd>50.0 % [46.0, 54.0] <span>Δ +" in facts
    assert '</dl><p class="glance">Δ: points over <b>zero-shot-s0</b></p>' in facts
    assert "<dt>Trained</dt><dd>100 steps in 10 s</dd>" in facts
    assert [t["name"] for t in accuracy["data"]] == ["grace-s0", "zero-shot-s0"]
    assert 50 in [*flat(accuracy["data"][0]["x"])]
    app = app.selectbox(key="run_beside").select("demo/ft-s0").run()
    assert app.query_params["run_beside"] in ("demo/ft-s0", ["demo/ft-s0"])
    assert any({"grace-s0", "ft-s0"} <= set(d.value) for d in app.dataframe)


def test_captions_write_names_out_whose_middle_rows_leave_out():
    names = {"a": "at · attack steps 1 · alpha 5/255 · max steps 588", "b": "ft-s0"}
    said = show.whole(["a", "b"], names).replace("\\", "")
    assert said == f" **at · attack…steps 588**: {names['a']}."
    assert show.whole(["b"], names) == ""
    many = {str(i): f"a-method-of-my-own-with-loss-{i}-s0" for i in range(show.MOST_WHOLE + 1)}
    assert show.whole(list(many), many) == "", "the pointer tells them"


def test_an_analysis_of_another_checkpoint_than_the_evaluated_one_is_marked(opened, runs):
    spectrum(runs / "demo/ft-s0", 5.0, sha256="0" * 64)
    assert "measured on another checkpoint file" in sees(opened(runs, "curvature"))


def test_a_process_that_only_looks_the_script_up_draws_nothing(monkeypatch):
    """``multiprocessing`` runs the file of ``__main__`` again in the processes it spawns, under
    another name.
    """

    def drawn(**_: object) -> None:
        raise AssertionError("the dashboard was drawn")

    monkeypatch.setattr("streamlit.set_page_config", drawn)
    runpy.run_path(str(Path(__file__).parents[2] / "app" / "main.py"), run_name="__mp_main__")


def test_the_legend_of_weights_has_the_runs_in_colour(opened, lab, monkeypatch):
    monkeypatch.setattr(show, "MOST_IN_FRONT", 1)
    monkeypatch.setattr(drift, "extremes", lambda found, most: [])
    both = ["toy/ft-s0", "toy/grace-s0"]
    app = opened(lab, "weights", runs=both, baseline="toy/ft-s0", weights_form="Lines")
    for body in (e.proto.body for e in app.get("html") if 'aria-label="Runs"' in e.proto.body):
        assert "ft-s0" in body and "grace-s0" not in body
    said = [c.value.replace("\\", "") for c in app.caption]
    assert sum("Thin grey lines: **grace-s0**; “All 2 in colour” above" in c for c in said) == 2
    app = opened(lab, "weights", runs=both, baseline="toy/ft-s0")  # many runs: a map without lines
    first, second = (spec["data"][0] for spec in specs(app)[:2])
    assert first["type"] == "heatmap" and [*first["y"]][-1] == second["name"]  # the farthest on top
