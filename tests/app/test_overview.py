"""The overview: its answer, the ranked table, who leads, and why."""

import html
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from app import costs, ranking, store, tables, widths
from grace_geom.plots.accuracies import AXES
from grace_geom.plots.variants import cut
from grace_geom.records import attack_text
from grace_geom.records.printed import Figure, Printed
from tests.app.conftest import APGD, SETS, accuracy, evaluation, sees, specs, write_run


def plain(said: str) -> str:
    return said.replace("\\", "").replace("\u00a0", " ")


def answer(app) -> str:
    """The first sentence of the page."""
    return plain(app.main.markdown[0].value)


def harmonic(*parts: float) -> float:
    return 100 * len(parts) / sum(1 / part for part in parts)


def test_the_answer_names_the_best_and_how_surely_it_leads(opened, runs):
    app = opened(runs)
    assert not app.exception
    hm = harmonic(0.8, 0.8, 0.5)
    said = answer(app)
    assert said.startswith(f"grace-s0** has the best trade-off, HM {hm:.1f} % [", 2)
    ahead = hm - harmonic(0.9, 0.9, 0.1)
    assert re.search(rf"clearly ahead of \*\*ft-s0\*\* \(\+{ahead:.1f} points \[", said)
    assert "and the baseline **zero-shot-s0** (" in said
    assert "not clearly" not in said
    every = [e.type for e in app.main if e.type in ("markdown", "dataframe", "plotly_chart")]
    leaders = ["markdown"]  # folded, below the table and beside the plots
    assert every[:5] == ["markdown", "dataframe", *leaders, "plotly_chart", "plotly_chart"]
    titles = [
        {axis: spec["layout"][f"{axis}axis"]["title"].get("text") for axis in "xy"}
        for spec in specs(app)
    ]
    assert titles[0] == {"x": AXES["ID"], "y": AXES["Adv"]} and titles[1]["y"] == AXES["OOD"]
    first = [e.type for e in app.main if e.type in ("plotly_chart", "download_button", "caption")]
    assert first[first.index("plotly_chart") :][:4] == ["plotly_chart"] * 2 + [
        "caption",
        "download_button",
    ]


def test_a_lead_that_is_not_clear_is_called_so_and_both_are_bold(opened, runs):
    write_run(runs, "demo/near-s0", 88, 40)  # right wherever ft is, but for two images
    app = opened(runs, runs=["demo/ft-s0", "demo/near-s0"], baseline="demo/ft-s0")
    assert "near-s0** has the best trade-off" in answer(app)
    # Bonett and Price, b against 0 of 100 pairs:
    # b/102 -+ 1.96 sqrt(((b + 2)/102 - (b/102)^2) / 102), for b = 2 and b = 30
    leaders = next(plain(m.value) for m in app.markdown if "Under attack (Adv)" in m.value)
    assert "Not clearly ahead of **near-s0**: +2.0 [−1.9, 5.8], the same images" in leaders
    assert "Ahead of **ft-s0** by 30.0 points [" in leaders
    assert "overlap" not in leaders
    frame = app.dataframe[0]
    assert frame.value["run"].tolist() == ["near-s0", "ft-s0"]
    styles = frame.proto.arrow_data.styler.styles
    assert styles.count("font-weight: 700") >= 1
    entries = list(store.entries(runs).values())
    shown = [e for e in entries if e.id in ("demo/ft-s0", "demo/near-s0")]
    found = ranking.ranking(shown, shown[0])
    assert found.bold("ID") == {"demo/ft-s0", "demo/near-s0"}
    assert found.bold("Adv") == {"demo/near-s0"}
    assert ranking.ranking(shown[:1], None).bold("ID") == frozenset()


def test_the_table_has_differences_settings_and_a_filter(opened, runs):
    app = opened(runs)
    for toggle in app.toggle:
        toggle.set_value(True)
    frame = app.run().dataframe[0].value
    assert {"Δ ID", "HM'", "OOD'", "rho"} <= set(frame.columns)
    row = frame.set_index("run").loc["ft-s0"]
    assert row["ID"] == pytest.approx(90)
    assert row["Δ ID"] == pytest.approx(30)
    assert np.isnan(frame.set_index("run").loc["zero-shot-s0", "Δ ID"])
    assert "Adv: APGD-CE, ε = 4/255, 20 steps" in plain(sees(app))
    app.text_input(key="filter").set_value("GRA").run()
    assert app.dataframe[0].value["run"].tolist() == ["grace-s0"]
    app.text_input(key="filter").set_value("zzz").run()
    assert "No run matches 'zzz'." in sees(app)
    assert all("source" in frame.value for frame in app.dataframe)  # no table without a row


def test_the_overview_says_why(opened, lab):
    app = opened(lab)
    said = sees(app)
    assert "**grace\\-s0**: HM " in said and "in points: ID " in said
    assert "Why? What the geometry says" in said
    assert "(A) proximity" in said  # the bound's terms, which nobody has to look up
    assert "best at" in said and "class-centroid cosine ID→Adv of 3" in said
    table = next(frame.value for frame in app.dataframe if "source" in frame.value)
    assert {"GRACE", "zero-shot-s0"} - set(table["method"]) == {
        "zero-shot-s0"
    }  # it lacks natural adversarial sets


def test_the_whole_of_autoattack_stands_beside_its_first_part(runs):
    whole = APGD | {
        "name": "autoattack",
        "parts": [{"name": "apgd-ce", "steps": 20}, {"name": "square"}],
    }
    parts = (
        {"name": "apgd-ce", "robust": 40, "ci_low": 0.3, "ci_high": 0.5},
        {"name": "square", "robust": 25, "ci_low": 0.2, "ci_high": 0.3},
    )
    rows = [accuracy(suite, data, 80) for suite, data in SETS]
    rows.append(accuracy("adv", "shapes", 25, attack=whole, parts=parts))
    entry = store.entries(runs)["demo/ft-s0"]
    assert ranking.autoattack(entry) is None
    record = store.EvalRecord("f" * 64, "aa-s0", "aa", 0, {"data": "shapes"}, tuple(rows)).summed()
    record.save(runs / "demo/ft-s0/eval.json")
    entry = store.entries(runs)["demo/ft-s0"]
    assert ranking.autoattack(entry).value == pytest.approx(0.25)
    assert entry.estimates["Adv"].value == pytest.approx(0.40)
    assert attack_text(whole, "name") == "autoattack 4/255"


def test_what_a_step_cost_comes_from_the_study_else_from_the_log(runs):
    entry = store.entries(runs)["demo/grace-s0"]
    assert costs.passes(entry, runs) is None
    assert costs.seconds(entry) == pytest.approx(0.1)  # 10 s for 100 steps
    study = runs / "demo/study.json"
    study.write_text(
        '{"format": "grace_geom.study/1", "trials": {}, "probes": {"grace": {"steps": 9, "setup": 0, '
        '"step": 0.6, "forward": 0.04, "image": 0.1}, "zero-shot": {"steps": 0, "setup": 0, '
        '"step": 0, "forward": 0.04, "image": 0.1}}}'
    )
    assert costs.passes(entry, runs) == pytest.approx(15)
    assert costs.passes(store.entries(runs)["demo/zero-shot-s0"], runs) is None
    study.write_text("{")
    assert costs.passes(entry, runs) is None


def test_a_column_is_as_wide_as_its_bold_numbers():
    narrow, wide = Figure(5.0), Figure(100.0, 94.0, 100.0)
    assert widths.width("ID", [narrow]) == 64
    assert widths.width("ID", [narrow, wide, None]) > 5.8 * len("100.0 [94.0, 100.0]")
    assert widths.width("step (passes)", [narrow]) > 6.6 * len("step (passes)")


def test_columns_that_are_not_seen_before_the_table_is_scrolled_are_named():
    heads = ["#", "run", "HM", "ID", "OOD", "Adv", "HM'", "ZS", "NatAdv"]
    row = [
        "1",
        "grace · attack steps 1 · alpha 5/255",
        *(Figure(50.0, 48.0, 52.0) for _ in heads[2:]),
    ]
    said = widths.further(Printed(heads, [row]))
    assert told_at(said, 560) == "NatAdv"
    assert told_at(said, 385) == "Adv, HM', ZS, NatAdv"
    assert told_at(said, 900) == ""
    assert widths.further(Printed(heads[1:4], [["grace", *row[2:4]]])) == ""


def test_a_column_that_a_telephone_shows_is_not_named():
    row = ["weight of the divergences of answers", "adv-flyp", "0.0027", "weight_answers"]
    said = widths.further(Printed(["setting", "adv-flyp-s0", "agft-s0", "key"], [row]))
    assert told_at(said, 388) == "key"  # in Chromium the first three columns take 366 pixels


def test_of_each_room_one_sentence_is_seen_and_a_cut_column_counts_as_hidden():
    heads = ["run", *(f"column {i}" for i in range(9))]
    table = Printed(heads, [["a run", *(Figure(50.0) for _ in heads[1:])]])
    said, edge = widths.further(table), widths.EDGE
    for i, head in enumerate(heads):
        edge += widths.taken(head, [table.rows[0][i]])
        if edge > widths.LEAST:
            assert told_at(said, edge - 1).startswith(head)
            assert not told_at(said, edge).startswith(head)
    assert told_at(said, widths.LEAST).endswith(" more columns")
    assert told_at(said, edge) == ""


def test_a_column_of_text_is_as_wide_as_its_longest_cell_or_its_head():
    measured = {  # in Chromium
        "comp-tga-s0": 72.8, "attention and MLP": 106.9, "[\u22120.064, +0.035]": 91.3,
        "classification head trains": 144.3, "at \u00b7 attack steps 1": 100.0,
    }  # fmt: skip
    for words, pixels in measured.items():
        assert pixels <= widths.letters(words) < 1.05 * pixels
    cells = ["none", "attention and MLP", None]
    assert widths.taken("x", cells) == round(20 + widths.letters("attention and MLP"))
    assert widths.taken("names of the weights", ["on"]) > 20 + 6 * len("names of the weights")
    assert widths.taken("x", ["w" * 500]) == widths.MOST_TEXT


def told_at(said: str, room: int) -> str:
    """The columns that are named in a room of so many pixels, by the rules of the style."""
    rule = r"\(min-width:([\d.]+)px\) and \(max-width:([\d.]+)px\)\{\.([\w-]+)\{"
    seen = [at for low, high, at in re.findall(rule, said) if float(low) <= room <= float(high)]
    found = [re.search(rf'"{at}">Scroll the table sideways for (.+?)\.</p>', said) for at in seen]
    assert len(found) <= 1 and all(found)
    return html.unescape(found[0][1]) if found else ""


def test_a_laptop_shows_the_columns_that_have_room_and_the_others_at_a_click():
    heads = ["#", "run", "HM", "ID", "Adv", "OOD", "HM'", "ZS", "NatAdv", "ms a step"]
    row = ["1", "at · attack…steps 588", *(Figure(50.0, 48.0, 52.0) for _ in heads[2:])]
    kept, others = widths.fitting(Printed(heads, [row]), tables.AT_FIRST)
    assert kept == ["#", "run", "HM", "ID", "Adv", "OOD", "HM'"]
    assert others == ["ZS", "NatAdv", "ms a step"]
    shown = Printed(kept, [row[: len(kept)]])
    assert told_at(widths.further(shown), widths.ROOM) == ""
    wide = [Figure(50.0, 40.0, 52.0) for _ in heads[2:]]
    kept, _ = widths.fitting(Printed(heads, [[*row[:2], *wide]]), tables.AT_FIRST)
    assert kept[2:] == ["HM", "ID", "Adv", "OOD"], "what a trade-off needs is never left out"
    few, none = widths.fitting(Printed(heads[1:6], [row[1:6]]), tables.AT_FIRST)
    assert few == heads[1:6] and none == []


def test_columns_without_room_come_at_a_click_and_are_in_the_files(opened, runs):
    app = opened(runs)
    app = next(t for t in app.toggle if t.key == "overview_settings").set_value(True).run()
    every = list(app.dataframe[0].value.columns)
    assert not [t for t in app.toggle if t.key == "overview_every"], "nothing is left out"
    app = next(t for t in app.toggle if t.key == "overview_settings").set_value(False).run()
    before = list(app.dataframe[0].value.columns)
    (click,) = (t for t in app.toggle if t.key == "overview_every")
    left_out = click.label.removeprefix("Also ").split(", ")
    assert left_out and not set(left_out) & set(before) and set(left_out) <= set(every)
    after = list(click.set_value(True).run().dataframe[0].value.columns)
    assert set(after) == set(before) | set(left_out)


def test_long_names_of_variants_say_what_differs_and_points_have_the_numbers_of_rows(opened, runs):
    for i, (gv, spread) in enumerate((("off", ""), ("on", "-gv-form-spread"), ("on", "")), 1):
        name = f"demo/grace-lar-off-task-off-gv-{gv}{spread}-s0"
        folder = write_run(runs, name, 80, 40 + 10 * i)
        known = {"method": "grace", "seed": 0, "lar": False, "task": False, "gv": gv == "on"}
        known |= {"gv_form": "spread" if spread else "volume"}
        (folder / "config.yaml").write_text(yaml.safe_dump(known))
        evaluated = evaluation("grace-s0", 80, 40 + 10 * i)
        evaluated.save(folder / "eval.json")
    every = [f"demo/{p.name}" for p in (runs / "demo").iterdir() if "lar" in p.name]
    app = opened(runs, runs=every)
    assert not app.exception
    frame = app.dataframe[0].value
    assert frame["run"].tolist() == ["gv", "spread", "no gv"]
    said = plain(sees(app))
    assert "Gram-volume loss = off, on; form of the Gram-volume loss = spread; " in said
    assert "the same for all: loss at perturbed weights = off, clean loss = off" in said
    assert "#" not in frame  # such names stand at the points themselves
    app = opened(runs, runs=[*every, "demo/ft-s0", "demo/zero-shot-s0"])
    assert {"grace · gv", "ft-s0"} <= set(app.dataframe[0].value["run"])
    for folder in (runs / "demo").iterdir():
        if "lar" in folder.name:
            (folder / "config.yaml").write_text("{}")  # nothing explains the names
    app = opened(runs, runs=every)
    frame = app.dataframe[0].value
    assert frame["#"].tolist() == [1, 2, 3]
    assert "1: grace\\-lar\\-off\\-task\\-off\\-gv" in sees(app)  # a cut name has a key
    points = [t for t in specs(app)[0]["data"] if t.get("text")]
    assert sorted(t["text"][0].split("<br>")[0] for t in points) == ["1", "2", "3"]


def test_every_cut_name_is_written_out_however_many_there_are(opened, runs):
    names = [f"a-method-of-my-own-with-loss-{i}-s0" for i in range(tables.MOST_KEYED + 1)]
    for i, name in enumerate(names):
        write_run(runs, f"demo/{name}", 80, 40 + i)
    app = opened(runs, runs=[f"demo/{name}" for name in names])
    assert not app.exception
    assert all(cut(name) != name for name in names)
    (folded,) = (e for e in app.expander if "names that the table cuts" in e.label)
    lines = plain(folded.caption[0].value).splitlines()
    assert [line.strip() for line in lines] == [
        f"{i}: {name}" for i, name in enumerate(reversed(names), 1)
    ]


def test_numbers_of_rows_sort_as_numbers(monkeypatch):
    shown = {}
    monkeypatch.setattr(tables.st, "dataframe", lambda data, **more: shown.update(more, data=data))
    rows = [[str(i), Figure(50.0 + i), f"run {i}"] for i in range(1, 13)]
    tables.draw(Printed(["#", "HM", "run"], rows), "ranked", {"run 10": "#123456"})
    numbers = shown["data"].data["#"]
    assert numbers.sort_values(ascending=False).tolist() == list(range(12, 0, -1))
    assert shown["column_config"]["#"]["type_config"]["type"] == "number"
    html = shown["data"].to_html()
    assert "#123456" in html and ">10<" in html  # as it is written at the point


def test_many_points_have_numbers_and_means_their_seeds_behind_them(opened, runs):
    for i in range(ranking.MOST_NAMED):
        write_run(runs, f"demo/at{i}-s0", 80, 40 + i)
    for seed, attacked in ((1, 44), (2, 56)):
        folder = write_run(runs, f"demo/grace-s{seed}", None)
        record = evaluation("grace-s0", 80, attacked)
        replace(record, seed=seed, checkpoint=f"{seed:064}").save(folder / "eval.json")
    app = opened(runs)
    assert not app.exception
    assert app.dataframe[0].value["#"].tolist() == list(range(1, ranking.MOST_NAMED + 4))
    traces = specs(app)[0]["data"]
    (seeds,) = (t for t in traces if t.get("name") == "single seeds")
    assert traces.index(seeds) == 0, "means lie over them"
    assert sorted(seeds["y"]) == pytest.approx([44, 50, 56])
    assert "Small and faint: single seeds." in sees(app)
    assert "Adv (" not in " ".join(app.dataframe[0].value.columns)


def test_few_points_with_many_letters_have_numbers_too(runs):
    entries = tuple(store.entries(runs).values())
    found = ranking.ranking(entries, None)
    plain = {e.id: "x" * 20 for e in entries}
    assert found.numbers(plain) == {} and found.key(plain) == ""
    said = found.key({e.id: "x" * 30 for e in entries})
    assert said.startswith("1: xxx") and "; 3: xxx" in said, "a file has no table beside it"
    many = ranking.Ranking(found.entries * 2, found.by, found.leads, None)
    assert set(many.numbers(plain)) == set(plain), "6 names of 20 letters"


def test_equal_numbers_keep_intervals_of_their_own():
    column = [Figure(50.0, 40.0, 60.0), Figure(50.0, 45.0, 55.0), None, Figure(50.0, 40.0, 60.0)]
    table = Printed(
        ["run", "ID"], [[name, cell] for name, cell in zip("abcd", column, strict=True)]
    )
    values = [math.nan if cell is None else cell.value for cell in column]
    frame = pd.DataFrame({"run": list("abcd"), "ID": values})
    html = tables._styled(frame, table, {}).to_html()
    cells = re.findall(r'col1" >([^<]*)</td>', html)
    assert cells == ["50.0 \u00b110.0", "50.0 \u00b15.0", "nan", "50.0 \u00b110.0"]
