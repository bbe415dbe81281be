"""One look for each method, wherever its runs lie; colours that everybody can tell apart."""

import itertools
import random

import numpy as np
import pytest

from app.show import MARKS
from grace_geom.methods import METHODS
from grace_geom.plots import palette
from grace_geom.plots.legend import Identity, Legend, short_names
from grace_geom.plots.palette import DARK, GROUNDS, LIGHT, look, of_sets
from grace_geom.plots.shades import apart, contrast
from grace_geom.study.options import GROUPS

USUAL = ("zero-shot", "ft", "lora", "at", "lora-at", "grace", "tecoa", "fare", "trades")
TOGETHER = {
    "every hue": ("zero-shot", "ft", "lora", "at", "mix-at", "grace-plus", "agft", "ucat",
                  "tga-zsr", "lora-mix-at", "fare", "wise-ft", "grace"),
    "robust": ("at", "tga-zsr", "mix-at", "lora-mix-at", "grace", "grace-plus", "comp-tga", "agft",
               "ucat", "adv-flyp"),
    "mixed": ("zero-shot", "ft", "lora", "wise-ft", "flyp", "sam", "at", "tecoa", "tga-zsr",
              "lora-at", "grace"),
    "equal": ("grace", "at", "tga-zsr", "tecoa", "pmg-aft", "lora-at"),
    "the usual": USUAL,
    "adapters": ("zero-shot", *GROUPS["table7"]),
}  # fmt: skip
"""Methods that studies of the documentation compare."""
# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
DICHROMACY = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def oklab(color: str, seen: object) -> np.ndarray:
    """Ottosson's Oklab of a colour as somebody with a kind of sight sees it."""
    v = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(seen) @ linear, 0, 1)
    cones = np.cbrt(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]] @ linear
    )  # fmt: skip
    return [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660]] @ cones  # fmt: skip


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_every_method_has_a_colour_and_marker_and_a_colour_and_dash_of_its_own(ground):
    assert tuple(METHODS) == palette.METHOD_ORDER
    looks = [look(name, ground) for name in METHODS]
    assert len({(a.color, a.marker) for a in looks}) == len(METHODS)
    assert len({(a.color, a.dash) for a in looks}) == len(METHODS)


@pytest.mark.parametrize("sight", DICHROMACY)
@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_methods_that_are_compared_are_told_apart_by_colour_with_any_sight(ground, together, sight):
    least = 0.12 if sight == "none" else 0.07  # 0.02 is just seen
    for a, b in itertools.combinations(TOGETHER[together], 2):
        one, other = (oklab(look(name, ground).color, DICHROMACY[sight]) for name in (a, b))
        assert np.linalg.norm(one - other) > least, (a, b)


def test_the_usual_methods_are_told_apart_without_colour():
    looks = [look(name) for name in USUAL]
    assert len({a.marker for a in looks}) == len({a.dash for a in looks}) == len(USUAL)


@pytest.mark.parametrize("together", TOGETHER)
def test_methods_that_are_compared_have_forms_of_their_own_while_there_are_any(together):
    markers = [look(name).marker for name in TOGETHER[together]]
    forms = len(palette._MARKERS) + 1  # and that of the zero-shot model
    assert len(set(markers)) == min(len(markers), forms), sorted(markers)
    assert {*markers} <= {*MARKS}, "legends can draw them"


def test_a_colour_keeps_its_hue_where_the_ground_changes():
    for name in TOGETHER["every hue"][1:]:
        angles = []
        for ground in GROUNDS.values():
            _, a, b = oklab(look(name, ground).color, DICHROMACY["none"])
            angles.append(np.degrees(np.arctan2(b, a)))
        assert abs((angles[0] - angles[1] + 180) % 360 - 180) < 25, name


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_colours_stand_out_from_the_page(ground):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WCAG's own example
    for name in (*METHODS, "a stranger", "another"):
        assert contrast(look(name, ground).color, ground.paper) >= 4.5


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_every_shade_of_every_colour_can_be_read_and_told_from_the_others_of_its_hue(ground):
    names = {look(name, ground).color for name in METHODS}
    every = {getattr(color, ground.name) for color in palette._COLORS} | names
    assert len(every) == 13
    for color in every:
        shades = [palette.shade(color, step, ground) for step in range(palette.SHADES)]
        assert shades[0] == color
        assert min(contrast(one, ground.paper) for one in shades) >= 4.5, color  # small text
        pairs = itertools.combinations(shades, 2)
        assert min(apart(one, other) for one, other in pairs) > 0.05, color  # 0.02 is just seen
        assert apart(shades[0], shades[1]) > 0.06, color
    assert apart("#8D4A99", "#4A3E69") == pytest.approx(
        np.linalg.norm(np.subtract(*(oklab(c, np.eye(3)) for c in ("#8D4A99", "#4A3E69"))))
    )


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_every_dark_shade_stands_for_one_light_one(ground):
    every = [palette.shade(getattr(color, ground.name), step, ground)
             for color in (palette._GREY, *palette._COLORS) for step in range(palette.SHADES)]  # fmt: skip
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_looks_the_same_under_any_name_in_any_folder_beside_any_other(method):
    rng = random.Random(0)
    for place in ("ft-s0", "a/b/grace", "zero-shot", "9", "x y", "demo/at-s0"):
        others = rng.sample([m for m in METHODS if m != method], 6)
        runs = {f"other-{i}": Identity(m, f"other-{i}", i) for i, m in enumerate(others)}
        listed = [*runs.items(), (place, Identity(method, place, 0))]
        rng.shuffle(listed)
        legend = Legend.of(dict(listed), {}, LIGHT)
        assert legend.looks[place] == look(method)


def test_seeds_and_variants_are_shades_of_one_colour_and_variants_have_other_markers():
    labels = ("grace", "grace:gv=off", "grace:rho=0.1,gv=off")
    runs = {
        f"{label}-s{seed}": Identity.of_label(label, seed) for label in labels for seed in range(3)
    }
    every = runs | {"ft": Identity("ft", "ft")}
    legend = Legend.of(every, {}, DARK)
    assert len(set(legend.looks.values())) == len(every)
    of_label = {label: {legend.looks[f"{label}-s{s}"].marker for s in range(3)} for label in labels}
    assert of_label["grace"] == {look("grace").marker}
    own = [marker for markers in of_label.values() for marker in markers]
    assert len(own) == len(set(own)) == len(labels), "one marker for all seeds of a variant"
    assert not {*own[1:]} & {look(method).marker for method in METHODS}
    assert {*own} <= {*MARKS}, "legends can draw them"
    assert legend.looks["grace-s0"] == look("grace", DARK)
    backwards = Legend.of(dict(reversed(every.items())), {}, DARK)
    assert backwards.looks == legend.looks
    shades = [look("ft", DARK, seed).color for seed in range(palette.SHADES)]
    assert len(set(shades)) == palette.SHADES


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_variants_alone_have_hues_of_their_own(ground):
    labels = [f"grace:rho=0.{i}" for i in range(7)]
    runs = {f"{label}-s{s}": Identity.of_label(label, s) for label in labels for s in (0, 1)}
    runs |= {"grace-s0": Identity("grace", "grace", 0), "zero-shot": Identity("zero-shot")}
    looks = Legend.of(runs, {}, ground).looks
    assert looks["grace-s0"] == look("grace", ground)
    assert looks["zero-shot"] == look("zero-shot", ground)
    assert len(set(looks.values())) == len(runs)
    first = [looks[f"{label}-s0"] for label in labels]
    assert len({a.color for a in first}) == len({a.marker for a in first}) == len(labels)
    assert Legend.of(dict(reversed(runs.items())), {}, ground).looks == looks
    many = {str(i): Identity("grace", f"grace-r-{i}") for i in range(40)}
    assert len(set(Legend.of(many, {}, ground).looks.values())) == len(many)


def test_copies_of_variants_in_two_folders_look_unlike():
    labels = ["grace-gv-off", "grace-gv-on"]
    runs = {
        f"{folder}/{label}-s0": Identity("grace", label, 0) for folder in "AB" for label in labels
    }
    looks = Legend.of(runs, {run: run for run in runs}).looks
    assert len(set(looks.values())) == 4


def test_a_variant_looks_alike_in_a_table_and_by_its_folder():
    table = Legend.of({n: Identity.of_label(n) for n in ("grace:gv=off", "grace")}, {})
    folders = {
        "s/grace-gv-off": Identity("grace", "grace-gv-off"),
        "s/grace": Identity("grace", "grace"),
    }
    page = Legend.of(folders, {})
    assert page.looks["s/grace"] == table.looks["grace"]
    assert page.looks["s/grace-gv-off"] == table.looks["grace:gv=off"] != table.looks["grace"]


def test_a_run_has_the_look_of_the_mean_that_it_stands_for():
    runs = {"ft": Identity("ft", "ft"), "ft-s3": Identity("ft", "ft", 3)}
    legend = Legend.of(runs, {}, same={"ft-s3": "ft"})
    assert legend.looks["ft-s3"] == legend.looks["ft"] == look("ft")


def test_unknown_methods_keep_a_look_of_their_own():
    for name in ("my-method", "checkpoint.pt", "", "b\udcff"):
        one = look(name)
        assert one == look(name)
        assert (one.color, one.marker) not in {(look(m).color, look(m).marker) for m in METHODS}
    found = Legend.of({"a": Identity("", "one.pt"), "b": Identity("", "two.pt")}, {}).looks
    assert found == {"a": look("one.pt"), "b": look("two.pt")}


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_the_first_variant_is_seen_beside_its_method(ground):
    for method in METHODS:
        runs = {"own": Identity(method, method, 0), "other": Identity(method, f"{method}-x", 0)}
        one, other = (Legend.of(runs | {"b": Identity("b")}, {}, ground).looks[r] for r in runs)
        if not palette.is_reference(method):
            apart = np.subtract(*(oklab(a.color, DICHROMACY["none"]) for a in (one, other)))
            assert np.linalg.norm(apart) > 0.08, method
            assert one.marker != other.marker and one.dash != other.dash


def test_references_are_grey_whatever_their_seed_or_number():
    runs = {str(i): Identity("zero-shot", "zero-shot", i) for i in range(3)}
    assert set(Legend.of(runs, {}).looks.values()) == {look("zero-shot")} == {look("pretrained")}


def test_distributions_have_colours_of_their_own_by_name():
    sets = ["id", "v2", "sketch", "zebra", "quagga", "adv"]
    colors = of_sets(sets, LIGHT)
    assert len({colors[name] for name in sets}) == len(sets)
    assert not {colors[name] for name in sets[1:]} & {look(m).color for m in METHODS}
    assert of_sets(reversed(sets), LIGHT) == colors
    assert of_sets(["sketch"], LIGHT)["sketch"] == colors["sketch"]


def test_short_names_only_where_they_tell_runs_apart():
    assert short_names(["a/x", "a/y"]) == {"a/x": "x", "a/y": "y"}
    assert short_names(["a/x", "b/x"]) == {"a/x": "a/x", "b/x": "b/x"}


def test_seeds_of_a_method_differ_in_shade_and_dash():
    looks = [look("at", LIGHT, seed) for seed in range(palette.SHADES)]
    assert len({a.dash for a in looks}) == len({a.color for a in looks}) == palette.SHADES
    every = {f"at-s{s}": Identity("at", "at", s) for s in range(40)}
    assert len(set(Legend.of(every, {}).looks.values())) == 40


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_strangers_that_are_shown_together_share_no_colour_while_there_are_any(ground):
    names = [f"method{i}" for i in range(7)]
    runs = {name: Identity(name, name) for name in names}
    looks = Legend.of(runs, {}, ground).looks
    assert len({one.color for one in looks.values()}) == len(names)
    assert Legend.of(dict(reversed(runs.items())), {}, ground).looks == looks
    assert looks["method0"] == look("method0", ground), "the first name keeps its own look"
    many = {f"method{i}": Identity(f"method{i}") for i in range(20)}
    found = Legend.of(many, {}, ground).looks.values()
    assert len({(one.color, one.marker) for one in found}) == len(many)
    beside = Legend.of({"m": Identity("method0", "method0"), "at": Identity("mix-at")}, {}, ground)
    assert beside.looks["at"] == look("mix-at", ground)
    assert beside.looks["m"].color != beside.looks["at"].color
