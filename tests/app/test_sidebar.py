"""Choosing runs among many: queries, tags, names, means, colours, and what is drawn at once."""

from collections import Counter
from dataclasses import replace

import pytest
import yaml

from app import annotate, colouring, columns, paired, seeds, shell, sidebar, store
from grace_geom.plots.palette import GROUNDS, of_values
from grace_geom.plots.shades import contrast
from grace_geom.records import RunNotes
from tests.app.conftest import evaluation, sees, specs, write_run
from tests.app.test_pages import notices


@pytest.fixture
def grid(tmp_path):
    """ft with two learning rates and two seeds each, beside a zero-shot run."""
    root = tmp_path / "runs"
    for lr in (1e-3, 1e-2):
        for seed in (0, 10):
            folder = write_run(root, f"demo/ft-lr{lr:g}-s{seed}", None)
            plain = yaml.safe_load((folder / "config.yaml").read_text())
            plain |= {"method": "ft", "lr": lr, "seed": seed}
            (folder / "config.yaml").write_text(yaml.safe_dump(plain))
            checkpoint = folder.name.encode().hex().ljust(64, "0")[:64]
            record = evaluation(folder.name, 80 + seed + (lr > 5e-3), 30)
            replace(record, method="ft", seed=seed, checkpoint=checkpoint).save(
                folder / "eval.json"
            )
    write_run(root, "demo/zero-shot-s0", 60, 5)
    return root


def test_what_a_query_finds_can_be_shown_and_the_link_says_both(opened, grid):
    app = opened(grid)
    app.text_input(key="find").set_value("lr>2e-3 seed=0").run()
    assert app.multiselect(key="runs").options == sorted(
        [f"ft-lr{lr}-s{s}" for lr in ("0.001", "0.01") for s in (0, 10)] + ["zero-shot-s0"]
    )  # what is chosen stays
    app.button(key="find_choose").click().run()
    assert app.multiselect(key="runs").value == ["demo/ft-lr0.01-s0"]
    assert app.query_params["find"] in ("lr>2e-3 seed=0", ["lr>2e-3 seed=0"])
    app.text_input(key="find").set_value("lrr>1").run()
    assert "Did you mean lr?" in sees(app).replace("\\", "")
    assert not app.exception


def test_a_query_is_built_by_clicking(opened, grid):
    app = opened(grid)
    assert not [b for b in app.selectbox if b.key == "find_field"]  # settings are read when opened
    app.session_state["find_build"] = True
    app.run()
    app.selectbox(key="find_field").select("seed").run()
    app.multiselect(key="find_values").set_value(["10"]).run()
    app.button(key="find_add").click().run()
    assert app.text_input(key="find").value == "seed=10"
    assert app.button(key="find_choose").label == "Show these 2 of 5"


def test_tags_names_and_hiding_touch_no_record(opened, grid):
    before = {p: p.read_bytes() for p in grid.rglob("*") if p.is_file()}
    app = opened(grid, runs=["demo/ft-lr0.01-s0"])
    app.text_input(key="tag_text").set_value("final").run()
    app.button(key="tag_add").click().run()
    folder = grid / "demo/ft-lr0.01-s0"
    assert RunNotes.load(folder / "notes.yaml").tags == ("final",)
    app.text_input(key="tag_text").set_value("two words").run()
    app.button(key="tag_add").click().run()
    assert "cannot be kept" in sees(app)
    app.button(key="tag_hide").click().run()
    app.text_input(key="find").set_value("tag:final").run()
    assert "No run of 5 matches." in sees(app)
    app.text_input(key="find").set_value("tag:hidden").run()
    assert app.button(key="find_choose").label == "Show this run of 5"
    assert {p: p.read_bytes() for p in before} == before
    assert "demo/ft-lr0.01-s0" not in opened(grid).multiselect(key="runs").value


def test_a_display_name_is_used_everywhere_and_stays_unique(opened, grid):
    for run in ("ft-lr0.01-s0", "ft-lr0.01-s10"):
        RunNotes(name="Ours").save(grid / "demo" / run)
    app = opened(grid, runs=["demo/ft-lr0.01-s0", "demo/zero-shot-s0"], over="none")
    assert app.dataframe[0].value["run"].tolist() == ["Ours", "zero-shot-s0"]
    known = store.entries(grid)
    two = [known[f"demo/ft-lr0.01-s{s}"] for s in (0, 10)]
    assert list(sidebar.names_of(two).values()) == ["Ours (ft-lr0.01-s0)", "Ours (ft-lr0.01-s10)"]


def test_the_run_page_keeps_name_tags_and_note(opened, grid):
    app = opened(grid, "run", run="demo/zero-shot-s0")
    for key, value in (("name", "CLIP"), ("tags", "final paper"), ("text", "As released.")):
        key = f"notes-{key}-demo/zero-shot-s0"
        (app.text_area if "text" in key else app.text_input)(key=key).set_value(value)
    next(b for b in app.button if b.label == "Save").click().run()
    assert not app.exception
    saved = RunNotes.load(grid / "demo/zero-shot-s0/notes.yaml")
    assert saved == RunNotes(("final", "paper"), "As released.", "CLIP")


def test_notes_are_not_written_through_a_link_out_of_the_folder(grid, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (grid / "demo/link-s0").symlink_to(outside)
    entry = store.Entry("demo/link-s0", grid / "demo/link-s0")
    assert "leads out" in annotate.save(grid, entry, RunNotes(("a",)))
    assert list(outside.iterdir()) == []


def test_means_are_taken_over_any_setting(grid):
    runs = list(store.entries(grid).values())
    over_lr, remarks = seeds.grouped(runs, ("lr",))
    assert ([e.id for e in over_lr], remarks) == (
        ["demo/ft seed=0", "demo/ft seed=10", "demo/zero-shot-s0"], [],
    )  # fmt: skip
    assert [e.estimates["ID"].value for e in over_lr[:2]] == pytest.approx([0.805, 0.905])
    both, _ = seeds.grouped(runs, ("seed", "lr"))
    assert [(e.id, len(e.members)) for e in both] == [("demo/ft", 4), ("demo/zero-shot-s0", 0)]
    alone, _ = seeds.grouped(runs, ())
    assert [e.id for e in alone] == [e.id for e in runs]


def test_colours_of_a_setting_take_the_place_of_the_methods(opened, grid):
    app = opened(grid)
    app.selectbox(key="colour").select("lr").run()
    traces = [t for t in specs(app)[0]["data"] if "marker" in t and t.get("name")]
    colors = {t["name"]: t["marker"]["color"] for t in traces}
    known = of_values(["0.001", "0.01"], GROUNDS["light"])
    assert colors["ft-lr0.001"] == known["0.001"]
    assert colors["ft-lr0.01"] == known["0.01"]
    assert app.query_params["colour"] in ("lr", ["lr"])
    mixed, _ = seeds.grouped(list(store.entries(grid).values()), ("seed", "lr"))
    assert colouring.value(mixed[0], "lr") is None


@pytest.mark.parametrize("name", GROUNDS)
@pytest.mark.parametrize("many", [2, 8, 9, 40])
def test_colours_of_values_differ_and_can_be_seen(name, many):
    ground = GROUNDS[name]
    colors = of_values([str(i) for i in range(many)], ground)
    assert len(set(colors.values())) == many
    assert all(contrast(color, ground.paper) >= 3 for color in colors.values())


def test_of_very_many_runs_the_first_are_drawn_and_it_is_said(opened, grid, monkeypatch):
    monkeypatch.setattr(shell, "MOST_DRAWN", 2)
    app = opened(grid, over="none")
    assert len(app.multiselect(key="runs").value) == 5
    assert len(app.dataframe[0].value) == 2
    assert any("the first 2 are drawn" in said for said in notices(app))
    assert "zero-shot-s0" in app.dataframe[0].value["run"].tolist()  # the baseline is


def test_a_run_that_comes_later_changes_the_stamp_and_a_growing_log_does_not(grid):
    before = store.listing_stamp(grid)
    with (grid / "demo/zero-shot-s0/metrics.jsonl").open("a") as file:
        file.write('{"step": 200}\n')
    assert store.listing_stamp(grid) == before
    write_run(grid, "demo/late-s0", None)
    assert store.listing_stamp(grid) != before


def test_nothing_is_computed_again_at_a_change_of_a_control(opened, grid, monkeypatch):
    """Paired differences, means, intervals of columns, settings and listings: each once."""
    app = opened(grid)
    counted = Counter()

    def count(module, name):
        plain = getattr(module, name)

        def call(*given, **more):
            counted[name] += 1
            return plain(*given, **more)

        monkeypatch.setattr(module, name, call)

    count(paired, "image_difference")
    count(paired, "seeds_difference")
    count(seeds, "over_seeds")
    count(columns, "summarise")
    count(store, "read_run")
    count(store, "read_settings")
    app.multiselect(key="sets").set_value(["adv"]).run()
    app.selectbox(key="colour").select("lr").run()
    assert not app.exception and counted == {}
    (grid / "demo/zero-shot-s0/eval.json").write_text(
        (grid / "demo/zero-shot-s0/eval.json").read_text() + "\n"
    )
    app.run()
    assert counted["read_run"] == 1  # only what changed
