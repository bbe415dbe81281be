"""Which findings of an analysis stand side by side, and what is said of how they were measured."""

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


def test_settings_that_must_agree_are_those_that_analyses_write(lab):
    found = {path.stem: Result.load(path) for path in (lab / "toy" / "analyses").glob("*.json")}
    assert found.keys() == measured.OWN.keys()
    for name, result in found.items():
        assert set(measured.OWN[name]) <= result.settings.keys(), name
    assert "sigma" in measured.OWN["bound_terms"]
