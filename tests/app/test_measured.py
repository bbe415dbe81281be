"""Which findings of an analysis stand side by side, and what is said of how they were measured."""

from dataclasses import replace

import pytest

from app import measured, store
from app.shell import Choice
from grace_geom.plots.legend import Legend
from grace_geom.records import Result
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


def test_settings_that_must_agree_are_those_that_analyses_write(lab):
    found = {path.stem: Result.load(path) for path in (lab / "toy" / "analyses").glob("*.json")}
    assert found.keys() == measured.OWN.keys()
    for name, result in found.items():
        assert set(measured.OWN[name]) <= result.settings.keys(), name
    assert "sigma" in measured.OWN["bound_terms"]
