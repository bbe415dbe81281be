"""The page of any number: its questions, what it says, and which numbers it offers."""

import base64
import re

import pytest

from app import costs, relations, show
from app.catalogue import Catalogue, catalogue
from app.grouped import alone, grouped, in_names
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.numbers import Axis
from grace_geom.plots.palette import LIGHT
from grace_geom.records.fit import line_of, together
from grace_geom.records.numbers import Datum, Quantity
from tests.app.conftest import sees, specs, write_run
from tests.app.test_measured import choice_of

ZS, DRIFT = Quantity("ZS", "ZS", "accuracy", True), Quantity("drift", "weight drift", "x")


def plain(said: str) -> str:
    return said.replace("\\", "").replace("\u00a0", " ")


def answer(app) -> str:
    return plain(app.main.markdown[0].value)


def test_the_sentence_says_the_direction_and_whether_it_is_clear():
    falling = together([1, 2, 3, 4, 5, 6], [9, 8.2, 7.1, 5.9, 5.2, 4.0])
    said = plain(relations.sentence((DRIFT, ZS), 6, falling))
    begins = (
        "Over 6 runs zero-shot accuracy (**ZS**) falls with **weight drift**, clearly: r = −1.00 ["
    )
    assert said.startswith(begins)
    assert relations.axis_title(ZS) == "Zero-shot accuracy, ZS (%)"
    assert relations.axis_title(DRIFT) == "Weight drift"
    assert "too few" not in said and said.endswith("p = 0.0028.")
    many = together(range(20), range(20))
    assert plain(relations.sentence((DRIFT, ZS), 20, many)).endswith("p < 0.001.")
    unsure = together([1, 2, 3, 4], [1, 3, 2, 4])
    said = plain(relations.sentence((DRIFT, ZS), 4, unsure))
    assert "(**ZS**) does not clearly go with **weight drift**: r = +0.80 [−0.70, +1.00]" in said
    assert said.endswith("p = 0.33, too few runs for a rank test.")
    assert "cannot be said of 1 run:" in relations.sentence((DRIFT, ZS), 1, None)
    assert "both axes" in relations.sentence((ZS, ZS), 4, unsure)


def test_what_lies_above_the_line_is_said_in_points_with_its_interval():
    axes = Axis("ID (%)", share=True), Axis("OOD (%)", share=True)
    clean = {run: (Datum(x), Datum(x - 0.1)) for run, x in (("a", 0.5), ("b", 0.6), ("c", 0.9))}
    line = line_of([50, 60, 90], [40, 50, 80])  # exactly y = x - 10: a band without width
    points = clean | {
        "low": (Datum(0.7), Datum(0.5, 0.45, 0.55)), "high": (Datum(0.7), Datum(0.65, 0.61, 0.7))
    }  # fmt: skip
    highest = relations.above(line, points, list(clean), axes)
    assert highest[0] == "high"
    assert highest[1:] == pytest.approx((0.05, 0.01, 0.10))
    said = plain(relations.beyond(highest, 3, True, {"high": "grace"}))
    assert "**grace** lies highest, clearly above the line through the 3 runs" in said
    assert "+5.0 points [1.0, 10.0]" in said
    assert relations.above(line, clean, list(clean), axes) is None
    rough = line_of([50, 60, 90], [41, 49, 80])
    middle, low, high = (end / 100 for end in rough.at(70))
    _, gap, below, over = relations.above(rough, points, list(clean), axes)
    assert gap - below == pytest.approx(((0.65 - 0.61) ** 2 + (high - middle) ** 2) ** 0.5)
    assert over - gap == pytest.approx(((0.70 - 0.65) ** 2 + (middle - low) ** 2) ** 0.5)


def test_a_legend_of_points_has_no_lines(monkeypatch):
    written: list[str] = []
    monkeypatch.setattr(show.st, "html", written.append)
    names = Legend.of({"ft": Identity("ft", "ft")}, {"ft": "ft"})
    for lines in (True, False):
        show.legend(["ft"], names, lines)
    drawn = [base64.b64decode(re.findall(r"base64,([^\"]+)", body)[0]) for body in written]
    assert [b"stroke-dasharray" in svg for svg in drawn] == [True, False]
    show.wide_where_alone("panels-ce/0.1")
    assert "max-width:640px" in written[2] and ".st-key-panels-ce-0-1>" in written[2]


def test_the_first_number_that_two_runs_have_is_taken():
    values = {key: {run: Datum(1.0) for run in runs} for key, runs in
              {"sharpness/ce/ball/0.1": "a", "sharpness/ce/ball/0.2": "ab", "ID": "ab"}.items()}  # fmt: skip
    known = Catalogue({}, values, {})
    assert known.first("parameter_drift/drift", r"sharpness/.+", "ID") == "sharpness/ce/ball/0.2"
    assert known.first("ZS") == ""
    assert set(known.pairs("sharpness/ce/ball/0.1", "ID")) == {"a"}


def test_the_catalogue_holds_every_kind_of_number(lab):
    known = catalogue(choice_of(lab))
    groups = [q.group for q in known.quantities.values()]
    assert {"accuracy", "hessian_spectrum", "sharpness", "cost", "setting", "training"} <= set(
        groups
    )
    assert groups == sorted(groups, key=groups.index)  # each kind in one piece
    assert len({q.title for q in known.quantities.values()}) == len(known.quantities)  # in links
    raw = [q.title for q in known.quantities.values() if re.search(r"_|block\.|\bce\b", q.title)]
    sources = {x.source for of_runs in known.values.values() for x in of_runs.values()}
    raw += [s for s in sources if re.search(r"\.json|\.yaml|apgd|linf", s)]
    assert raw == [] and "the run's settings" in sources
    assert "parameter_drift/relative/visual.proj" not in known.values
    assert len(known.values["parameter_drift/drift"]) == 3 and len(known.values["ID"]) == 4
    assert known.settings["method"]["toy/grace-s0"] == "grace"
    whole = catalogue(choice_of(lab), matrices=True)
    assert len(whole.values) > len(known.values) + 20
    said = [q.title for q in whole.quantities.values()]
    assert "relative drift of projection" in said and not any("visual." in one for one in said)
    assert len(set(said)) == len(said)


def test_numbers_are_gathered_once_while_nothing_changes(lab, monkeypatch):
    known = catalogue(choice_of(lab))
    assert catalogue(choice_of(lab)) is known
    assert catalogue(choice_of(lab), matrices=True) is not known
    costly = next(iter(known.values["ID"]))
    monkeypatch.setattr(costs, "seconds", lambda run: 7.0 if run.id == costly else None)
    now = catalogue(choice_of(lab))
    assert now.values["cost/step"].keys() == {costly} and now is not known


def test_a_preset_draws_its_numbers_and_the_link_says_so(opened, lab):
    app = opened(lab, "numbers", over="none")
    assert not app.exception and not app.warning
    assert "**ZS**" in answer(app) and "**relative weight drift**" in answer(app)
    assert all(figure.proto.alt for figure in app.get("plotly_chart"))
    app.button(key="numbers_preset_effective").click().run()
    assert not app.exception
    assert "Over 4 runs mean accuracy under shift (**OOD**)" in answer(app)
    assert "with accuracy in distribution (**ID**)" in answer(app)
    assert "through the 3 runs trained without attack" in answer(app)
    scatter, parallel = specs(app)
    hollow = [
        t["name"] for t in scatter["data"] if "-open" in str(t.get("marker", {}).get("symbol"))
    ]
    assert sorted(hollow) == ["ft-s0", "ft-s1", "zero-shot-s0"]
    assert "50" in scatter["layout"]["yaxis"]["ticktext"]
    assert parallel["data"][0]["type"] == "parcoords"
    styles = [e.proto.body for e in app.get("html")]
    assert any(f".domain,.tick>line){{stroke:{LIGHT.muted}" in body for body in styles)
    app.selectbox(key="numbers_color").select("seed").run()
    assert not app.exception and "Colours: seed" in sees(app)
    boxes = [e.proto.body for e in app.get("html") if ".st-key-scrolled-parallel" in e.proto.body]
    assert len(boxes) == 1 and re.search(r"min-width:[2-9]\d\dpx", boxes[0])
    labels = [d.get("label") for d in parallel["data"][0]["dimensions"]]
    assert not any("radius" in label for label in labels if label)  # most runs have none
    again = opened(lab, "numbers", over="none", numbers_x="ID", numbers_y="Adv")
    assert "(**Adv**)" in answer(again) and "(**ID**)" in plain(answer(again))


def test_runs_without_numbers_are_borne_and_settings_that_differ_are_listed(opened, broken):
    write_run(broken, "alone/bare-s0", None).joinpath("metrics.jsonl").unlink()
    (broken / "alone/bare-s0/config.yaml").write_text("method: ft\n")
    app = opened(broken, "numbers", runs=["demo/cut-s0", "demo/ft-s0", "demo/grace-s0"])
    assert not app.exception
    assert "cannot be said of" in answer(app)
    frame = next(d.value for d in app.dataframe if "setting" in d.value).set_index("setting")
    rho = frame.loc["radius ρ of the weight perturbation"]
    assert rho["grace-s0"] == "0.01" and rho["ft-s0"] == "–"
    assert not any("learning rate" in name for name in frame.index)
    buttons = {b.label: b.disabled for b in app.button}
    assert buttons["Drift and zero-shot"] and not buttons["Effective robustness"]
    app = opened(broken, "numbers", runs=["alone/bare-s0"])
    assert not app.exception and "no numbers yet" in sees(app)


def test_of_many_runs_a_setting_is_what_most_have_and_who_has_another():
    names = {run: f"{run}_x" for run in map(str, range(60))}
    lr = {run: "0.1" if int(run) < 40 else "0.2" if int(run) < 58 else None for run in names}
    assert grouped(lr, names) == (
        "0.1\u00a0(40)",
        "**0.2**: 40\\_x, 41\\_x, 42\\_x, 43\\_x, 44\\_x and 13 more; **\u2013**: 58\\_x, 59\\_x",
    )
    assert grouped({"0": "a*b", "1": "c"}, names) == (
        "no majority",
        "**a\\*b**: 0\\_x; **c**: 1\\_x",
    )
    assert grouped({run: run for run in names}, names) == (
        "no majority",
        "another in each of 60 runs",
    )
    decay = {"0": "0", "1": "0", "2": "1", "3": "2"}
    assert grouped(decay, names)[0] == "0\u00a0(2\u00a0of\u00a04)"
    tens = {run: run[-1] for run in names}
    assert grouped(tens, names)[1].endswith("; and 4 more values")


def test_what_differs_is_a_column_a_run_or_from_five_runs_on_a_row_by_value(opened, runs):
    for name, rate in (("at", 1e-3), ("awp", 5e-3)):
        folder = write_run(runs, f"demo/{name}-s0", 80, 50)
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace("lr: 0.001", f"lr: {rate}"))
    more = "".join(f"option_{i}: {i}\n" for i in range(8))
    config.write_text(f"{config.read_text().rstrip()}\n{more}")
    app = opened(runs, "numbers")
    assert not app.exception
    table = app.table[0].value.set_index("setting")
    (lr,) = (row for name, row in table.iterrows() if name.endswith("`lr`"))
    assert lr.tolist() == [
        "0.001\u00a0(3)",
        "**0.005**: awp\\-\u2060s0; **\u2013**: zero\\-\u2060shot\\-\u2060s0",
    ]
    assert not any("setting" in d.value for d in app.dataframe)
    only = app.table[1].value.set_index("only in")["settings that the others do not have"]
    assert only.to_dict() == {
        "grace\\-\u2060s0": "radius ρ of the weight perturbation **0.01**",
        "awp\\-\u2060s0": "8 settings, listed below",
    }
    folded = app.table[2].value.to_dict("list")
    assert len(folded["setting"]) == 8 and folded["value"][7] == "**7**"


def test_options_of_one_method_stand_together_and_a_method_that_names_tell_has_no_row():
    cells = {
        "lr": {"a": "1", "b": "1", "c": "2", "d": None, "e": "1"},
        "rho": {"a": "0.1", "b": "0.1", "c": None, "d": None, "e": None},
        "gv": {"a": "on", "b": "on", "c": None, "d": None, "e": None},
        "tau": {"a": "1", "b": "2", "c": None, "d": None, "e": None},
        "beta": {"a": None, "b": None, "c": "x_y", "d": None, "e": None},
    }
    assert alone(cells) == {
        ("a", "b"): [("rho", "0.1"), ("gv", "on")], ("c",): [("beta", "x\\_y")]
    }  # fmt: skip
    names = {"a": "at · steps 1", "b": "grace-s0"}
    assert in_names({"a": "at", "b": "grace"}, names)
    assert not in_names({"a": "at", "b": "ft"}, names) and not in_names({"a": None}, names)
