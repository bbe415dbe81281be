"""Which findings of an analysis stand side by side, and what is said of how they were measured."""

from dataclasses import replace

import pytest

from app import measured, store
from app.shell import Choice
from grace_geom.plots.legend import Legend
from grace_geom.records import Measure, Part, Result
from tests.app.conftest import spectrum


def choice_of(root):
    """Every run below the root, the first one as the baseline."""
    known = store.entries(root)
    every = tuple(known.values())
    legend = Legend({run: run for run in known})
    return Choice(root, every, every, legend, every[0], known, frozenset())


@pytest.mark.parametrize(
    "other",
    [{"operator": "ggn"}, {"dtype": "float64"}, {"data": "cifar"}, {"alpha": 0.1},
     {"attack_steps": 3}, {"n": 10}],
)  # fmt: skip
def test_only_findings_of_the_same_settings_are_alike(runs, other):
    for run, more in (("ft", {}), ("grace", other), ("zero-shot", {})):
        spectrum(runs / f"demo/{run}-s0", 5.0, **more)
    found = measured.alike(choice_of(runs), "hessian_spectrum")
    assert list(found) == ["demo/ft-s0", "demo/zero-shot-s0"]


def on_images(folder, n, digest):
    """A spectrum that was asked for 96 images and measured on ``n``."""
    spectrum(folder, 5.0)
    found = Result.load(folder / "analyses" / "hessian_spectrum.json")
    (label,) = found.parts
    checkpoint = found.checkpoints[0] | {"images": {"id": [n, digest]}}
    part = replace(found.parts[label], n={"id": n})
    replace(found, checkpoints=(checkpoint,), parts={label: part}).save(folder / "analyses")


def test_a_run_on_other_images_is_named_and_captions_say_the_images_used(runs):
    for run, n, digest in (("ft", 60, "a"), ("grace", 50, "b"), ("zero-shot", 60, "a")):
        on_images(runs / f"demo/{run}-s0", n, digest * 64)
    choice = choice_of(runs)
    found = list(measured.alike(choice, "hessian_spectrum").values())
    (note,) = measured.other_images(choice, found)
    assert "grace" in note and "id on 50 images" in note and "not 60 images" in note
    said = measured.how(found, "Lanczos,")
    assert "60 (demo/ft-s0)" in said and "50 (demo/grace-s0)" in said and "asked\\: 96" in said
    assert measured.other_images(choice, [f for f in found if "grace" not in f.run]) == []


def compared(folder, reference, base="", others=None):
    """A drift against ``reference``, which was then a file of this digest."""
    checkpoint = {"label": folder.name, "path": str(folder / "ckpt.pt"), "base": base}
    checkpoint |= {"others": others} if others is not None else {}
    parts = {folder.name: Part({"cka/id/last": Measure(0.5)})}
    settings = {"data": "shapes", "reference": reference}
    Result("representation_drift", (checkpoint,), settings, parts).save(folder / "analyses")


def found_on(runs):
    choice = choice_of(runs)
    found = list(measured.alike(choice, "representation_drift").values())
    return choice, found


def test_a_run_against_a_reference_that_was_replaced_is_named(runs):
    for run, digest in (("ft", "a"), ("grace", "b"), ("zero-shot", "a")):
        compared(runs / f"demo/{run}-s0", "ref/ckpt.pt", others={"ref": digest * 64})
    choice, found = found_on(runs)
    (note,) = measured.unlike_ways(choice, found)
    assert "grace" in note and "against ref/ckpt" in note
    assert "(bbbbbb" in note and "not ref" in note and "(aaaaaa" in note
    assert measured.unlike_ways(choice, [f for f in found if "grace" not in f.run]) == []


def test_pretrained_references_are_what_each_run_began_from(runs):
    for run, digest in (("ft", "a"), ("grace", "a"), ("zero-shot", "c")):
        compared(runs / f"demo/{run}-s0", "pretrained", base=digest * 64)
    choice, found = found_on(runs)
    (note,) = measured.unlike_ways(choice, found)
    assert "zero" in note and "pretrained" in note and "(cccccc" in note


def test_results_that_do_not_say_their_reference_are_not_named(runs):
    compared(runs / "demo/ft-s0", "ref/ckpt.pt", others={"ref": "a" * 64})
    compared(runs / "demo/grace-s0", "ref/ckpt.pt")
    choice, found = found_on(runs)
    assert len(found) == 2 and measured.unlike_ways(choice, found) == []


def test_settings_that_must_agree_are_those_that_analyses_write(lab):
    found = {path.stem: Result.load(path) for path in (lab / "toy" / "analyses").glob("*.json")}
    assert found.keys() == measured.OWN.keys()
    for name, result in found.items():
        assert set(measured.OWN[name]) <= result.settings.keys(), name
    assert "sigma" in measured.OWN["bound_terms"]
