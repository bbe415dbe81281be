"""Every printed figure at one, seven and twelve runs: letters that can be read, no raw names."""

from pathlib import Path

import numpy as np
import pytest

from grace_geom.analyses import ANALYSES
from grace_geom.plots import layers, static
from grace_geom.plots.compose import compose
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import look
from grace_geom.records import Finding, Part, Result
from tests.app.lab import make_lab
from tests.plots import contact
from tests.plots.contact import PAGE, compared, doubtful, faults, figures
from tests.processes import made_once


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every analysis on real runs of a toy."""
    return made_once(tmp_path_factory, "lab", make_lab) / "toy" / "analyses"


@pytest.mark.nightly
@pytest.mark.parametrize("count", [1, 7, 12])
@pytest.mark.parametrize("variants", [False, True], ids=["methods", "variants"])
@pytest.mark.parametrize("name", ANALYSES)
def test_letters_of_every_figure_keep_apart(lab, name, count, variants):
    drawn = figures(Result.load(lab / f"{name}.json"), count, variants)
    assert drawn
    wrong = {key: faults(static.draw(figure, PAGE)) for key, figure in drawn.items()}
    assert {key: found for key, found in wrong.items() if found} == {}


def test_a_long_name_at_the_end_of_an_axis_leaves_the_next_panel_its_first():
    line = np.linspace(0.9, 0.2, 5)
    arrays = {f"cka/{s}": np.stack([line] * 3) for s in ("id", "sketch", "adv")}
    arrays["layers"] = np.array([*(f"block.{i}" for i in range(4)), "embedding"])
    found = [Finding("ft", Result("x", (), {}, {"ft": Part({}, arrays)}), "ft")]
    legend = Legend({"ft": "ft"}, {"ft": look("ft")})
    row = layers.by_layer(found, legend, "cka", ["id", "sketch", "adv"], "CKA")
    assert faults(static.draw(compose("CKA", [row], legend), PAGE)) == []


@pytest.mark.parametrize("count", [2, 7, 12])
def test_letters_of_the_trade_off_keep_apart(count):
    figure = compared(count)
    assert figure is not None and faults(static.draw(figure, PAGE)) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_a_number_of_the_trade_off_belongs_to_one_point_in_a_crowd_too(seed):
    figure = compared(12, 0.04, seed)
    assert figure is not None
    made = static.draw(figure, PAGE)
    assert faults(made) == [] and doubtful(made) == []


def test_what_is_wrong_is_found():
    figure = compared(3)
    assert figure is not None
    figure.layout.xaxis.title.text = "visual.transformer.resblocks.0.attn.in_proj_weight"
    assert any("raw name" in fault for fault in faults(static.draw(figure, PAGE)))
    assert contact.RAW.search(contact.VARIANTS[0])
    assert not contact.RAW.search("block 3, attention out")
    made = static.draw(figure, PAGE)
    made.text(0.5, 0.5, "over"), made.text(0.5, 0.5, "another")
    assert "'over' lies over 'another'" in faults(made)
