"""The calculated figures of docs/scale.md: operations as torch counts them, factors as LoRA makes
them, the table.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import open_clip
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import memory, scale_estimate
from grace_geom.models.vit import shape_of, vit
from grace_geom.training.memory import Memory

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"


@pytest.mark.parametrize("name", scale_estimate.MODELS[:2])
def test_operations_are_those_that_torch_counts_in_our_tower(name):
    with torch.device("meta"):
        visual = open_clip.CLIP(**open_clip.get_model_config(name)).visual
        x = torch.empty(1, 3, 224, 224)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            vit(shape_of(visual), dict(visual.named_parameters()), x)
    assert scale_estimate.tower(name).forward() == pytest.approx(
        counter.get_total_flops(), rel=1e-3
    )


def table(heading: str, first: str) -> list[list[str]]:
    """The numbers of the page's table under a heading whose first line begins so; a row's name is
    left out.
    """
    lines = (
        PAGE.read_text()
        .partition(heading)[2]
        .partition(first)[2]
        .partition("\n\n")[0]
        .splitlines()[2:]
    )
    return [
        re.findall(r"[\d.,]+(?= *\|)", line.partition("|")[2].partition("|")[2]) for line in lines
    ]


def kept(models: Sequence[str]) -> list[list[str]]:
    """What the page's table has of these models: one line for each way."""
    return [
        [f"{mib:.0f}" for mib in ways.values()] for ways in memory.kept_by_a_pass(models).values()
    ]


def test_the_page_says_what_passes_of_the_smallest_model_keep():
    said = table("## Memory", "| MiB an image and pass |")
    assert [line[:1] for line in said] == kept(memory.MODELS[:1])


@pytest.mark.nightly
def test_the_page_says_what_passes_over_shapes_keep():
    assert table("## Memory", "| MiB an image and pass |") == kept(memory.MODELS)


def test_what_fits_is_said_in_the_units_of_the_table():
    """320 MiB an image with the margin: 80 GiB for 256 of them, and 232 in what 1 GiB leaves."""
    needs = Memory(fixed=2**30, image=256 * 2**20)
    assert memory.answers(needs, 256, 80) == ["1.0", "256.0", "81.0", "232", "128"]
    assert memory.answers(needs, 256, 1)[-1] == "does not fit"


@pytest.mark.nightly
def test_the_page_says_what_fits_on_80_gib():
    for said, way in zip(table("## Memory", "| | fixed, GiB |"), memory.WAYS.values(), strict=True):
        assert said == memory.answers(memory.estimate("ViT-L-14", "grace", way, "bf16"), 256, 80)


def test_the_page_says_what_the_script_calculates():
    """To the digits that the page gives."""
    columns = [
        scale_estimate.rows(scale_estimate.tower(m), 989e12, 256, 10, 64, 0.8)
        for m in scale_estimate.MODELS
    ]
    keys = list(columns[0])[:11]
    text = PAGE.read_text().partition("## Hours and bytes")[2].partition("## ")[0]
    table = [
        re.findall(r"[\d.,]+(?= *\|)", line.partition("|")[2].partition("|")[2])
        for line in text.splitlines()
        if line.startswith("|") and "--" not in line and "ViT" not in line
    ]
    assert len(table) == len(keys)
    for key, said in zip(keys, table, strict=True):
        for column, number in zip(columns, said, strict=True):
            digits = len(number.partition(".")[2])
            assert float(number.replace(",", "")) == pytest.approx(
                column[key], abs=0.5001 * 10.0**-digits
            ), key
