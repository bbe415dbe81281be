"""Names of variants: what differs, and what is said once."""

import re

import pytest

from grace_geom.files import folder_name
from grace_geom.plots import static
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.tradeoff import tradeoffs
from grace_geom.plots.variants import (
    LONG,
    MOST,
    Variant,
    cut,
    fitted,
    of_folder,
    of_label,
    shortened,
)
from grace_geom.records import Estimate

LABELS = (
    "grace:task=off:adv_at=both:adapter=full:gv=off:rho=0.1",
    "grace:task=off:adv_at=current:adapter=lora:gv=on:gv_form=spread:rho=0.1",
    "grace:task=on:adv_at=current:adapter=full:gv=on:gv_form=spread:rho=0.1",
)


def settings(label: str) -> dict[str, object]:
    """As a run's config has them: what the label says, and much that it does not."""
    found: dict[str, object] = {"gv_eps": 1e-6, "lr": 0.006, "eps": 4 / 255, "task": False}
    for key, value in of_label(label).options:
        found[key] = {"on": True, "off": False}.get(value, value)
    return found | {"rho": 0.1}


@pytest.mark.parametrize("label", [*LABELS, "grace", "grace:lr=0.006:eps=4/255"])
def test_a_folder_says_what_the_label_of_the_study_said(label: str):
    told = of_label(label)
    found = of_folder(f"{folder_name(label)}-s3", "grace", settings(label))
    assert found == Variant("grace", told.options, 3)
    assert of_folder(folder_name(label), "grace", settings(label)) == told  # a mean over seeds


def test_a_name_that_settings_do_not_explain_is_a_name():
    assert of_folder("my-best-run", "grace", settings(LABELS[0])) is None
    assert of_folder("grace-gv-perhaps-s0", "grace", {"gv": True}) is None
    assert of_folder("graceful-s0", "grace", {"gv": True}) is None
    assert of_folder("x", "", {}) is None


def test_an_option_whose_name_begins_with_another_is_read_whole():
    known = {"gv": "form", "gv_form": "spread"}
    found = of_folder("grace-gv-form-spread-s0", "grace", known)
    assert found == Variant("grace", (("gv_form", "spread"),), 0)


def test_names_hold_what_differs_and_the_rest_is_said_once():
    found = shortened({n: of_label(n) for n in LABELS}, {n: n for n in LABELS})
    assert list(found.names.values()) == [
        "no task · both · full · no gv", "no task · current · lora · spread",
        "task · current · full · spread",
    ]  # fmt: skip
    assert "weights under attack = both, current" in found.said
    assert "the same for all: radius ρ of the weight perturbation = 0.1" in found.said
    beside = shortened({n: of_label(n) for n in (*LABELS, "ft")}, {n: n for n in (*LABELS, "ft")})
    assert beside.names["ft"] == "ft" and beside.names[LABELS[2]].startswith("grace · task · ")
    own = {n: of_label(n) for n in LABELS} | {"my-run": None}  # which may be of any method
    assert shortened(own, {n: n for n in own}).names[LABELS[2]].startswith("grace · task · ")


def test_options_that_come_together_are_one_word_of_a_name():
    many = "at:attack_steps=1,alpha=5/255,max_steps=588".replace(",", ":")
    found = shortened(
        {n: of_label(n) for n in ("at", many, "ft")}, {n: n for n in ("at", many, "ft")}
    )
    assert found.names == {"at": "at", many: "at · attack steps 1", "ft": "ft"}
    assert found.said == (
        "Names give options of “at”: steps of the attack = 1 (and with it step size α of the attack = "
        "5/255, steps at most = 588)."
    )
    other = "at:attack_steps=1:alpha=5/255:max_steps=600"  # which differs in one of them
    three = shortened(
        {n: of_label(n) for n in ("at", many, other)}, {n: n for n in ("at", many, other)}
    )
    assert three.names[many] == "attack steps 1 · max steps 588"
    assert "(and with it step size α of the attack = 5/255); steps at most = 588, 600" in three.said


def test_seeds_stay_apart_and_short_names_stay_whole():
    two = {f"{folder_name(LABELS[0])}-s{s}": Variant("grace", of_label(LABELS[0]).options, s)
           for s in (0, 1)}  # fmt: skip
    names = shortened(two, {run: run for run in two}).names
    assert [name[-5:] for name in names.values()] == [" · s0", " · s1"]
    short = {"ft": of_label("ft"), "grace:gv=off": of_label("grace:gv=off")}
    assert shortened(short, {n: n for n in short}).names == {n: n for n in short}
    copies = {"a": of_label(LABELS[0]), "b": of_label(LABELS[0]), "c": of_label(LABELS[1])}
    again = shortened(copies, {run: f"{run}/{LABELS[0]}" for run in copies}).names
    assert len(set(again.values())) == 3


def test_other_long_names_lose_what_they_share_or_their_middle():
    many = {str(i): f"an-experiment-of-last-week-with-number-{i}-and-more" for i in range(12)}
    found = fitted(many)
    assert len(set(found.values())) == len(many)
    assert all(len(name) <= MOST for name in found.values())
    same = fitted({"a": "x" * 60 + "1" + "y" * 60, "b": "x" * 60 + "2" + "y" * 60})
    assert len(set(same.values())) == 2 and max(map(len, same.values())) <= MOST + 4
    assert fitted({"a": "short"}) == {"a": "short"}


def test_a_cut_name_keeps_its_begin_and_its_seed():
    assert cut("at · attack steps 1 · alpha 5/255 · max steps 588") == "at · attack…steps 588"
    assert cut("grace-lar-off-task-off-gv-on-s0") == "grace-lar…gv-on-s0"
    assert cut("grace-plus-s0") == "grace-plus-s0"
    for name in ("x" * 60, "a-b" * 20, "a method of my own with a loss of my own-s12"):
        for most in (LONG, MOST):
            short = cut(name, most)
            assert len(short) <= most and short.count("…") == 1
            begin, end = short.split("…")
            assert name.startswith(begin) and name.endswith(end) and begin and end


def test_rows_and_tables_cut_names_alike_and_no_two_are_the_same():
    names = {str(i): f"a-run-of-last-week-with-rate-{i}-and-seed-s{i % 3}" for i in range(9)}
    assert len({cut(name) for name in names.values()}) == 3
    found = fitted(names, LONG)
    assert found["4"] == "a-run-of…4-and-seed-s1" and len(set(found.values())) == len(names)
    ends = [f"a-run-of-last-week-with-rate-{i}-and-a-long-end-s0" for i in range(3)]
    assert fitted({name: name for name in ends}, LONG)[ends[1]] == "a-run-of-last-week…1…"
    other = {"a": "a-method-of-my-own-with-loss-12-s0", "b": "ft-s0"}
    assert fitted(other, LONG) == {run: cut(name) for run, name in other.items()}


def test_points_with_long_names_have_numbers_and_print():
    draws = {label: 0.5 + 0.1 * i for i, label in enumerate(LABELS)}
    estimates = {
        n: {c: Estimate(v, 0.01, v - 0.02, v + 0.02) for c in ("ID", "Adv")}
        for n, v in draws.items()
    }
    found = shortened({n: of_label(n) for n in LABELS}, {n: n for n in LABELS})
    assert min(map(len, found.names.values())) > LONG
    legend = Legend.of({n: Identity.of_label(n) for n in LABELS}, found.names)
    figure = tradeoffs(estimates, legend, ("ID", "ID"), (("Adv", "Adv"),))
    assert figure is not None
    told = {re.sub("<br>.*", "", t.text[0]): t.name for t in figure.data if t.text}
    assert told == {str(i): f"{i}: {found.names[n]}" for i, n in enumerate(LABELS, 1)}
    assert {t.name for t in figure.data if t.showlegend} >= set(told.values())
    static.draw(figure, 4.5).draw_without_rendering()


def test_a_mean_over_seeds_beside_its_runs_has_no_seed_in_its_name():
    options = (("task", "off"), ("adapter", "tower"), ("gv", "off"))
    other = (("task", "off"), ("adapter", "lora"), ("gv", "off"))
    shown = {
        f"{kind}{seed}": Variant("grace", kinds, seed)
        for kind, kinds in (("tower", options), ("lora", other))
        for seed in (0, 1, None)
    }
    names = {run: f"grace-task-off-adapter-{run}-gv-off-and-more" for run in shown}
    found = shortened(shown, names)
    assert found.names["tower0"].endswith("s0") and found.names["lora1"].endswith("s1")
    assert "None" not in " ".join(found.names.values())
    assert len(set(found.names.values())) == len(shown)
