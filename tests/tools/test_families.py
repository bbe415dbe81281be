"""docs/families.md says what small networks of every family do now."""

from pathlib import Path

import pytest
import torch

from grace_geom.models import ClipClassifier, known_models
from grace_geom.tools.families import (
    FAMILIES,
    FamilyRow,
    adapted,
    family_of,
    measure,
    page,
    small_model,
)
from grace_geom.tools.families.page import line, members_of

PAGE = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
TABLE = [row for row in PAGE.splitlines() if row.startswith("| ")][2:]
SHARES = {row.split(" | ")[0][2:]: int(row.split(" | ")[4][:-2]) / 100 for row in TABLE}


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_the_row_of_a_family_is_what_its_network_does(family):
    row = measure(small_model(family), steps=False)
    share = SHARES[family.name]
    assert line(family, row, share, len(members_of()[family.name])) in TABLE
    for why in row.refused.values():
        assert why.partition(", not this ")[0] in PAGE


@pytest.mark.parametrize("name", ["ResNet", "ViT", "MobileCLIP S", "ConvNeXt"])
def test_shares_are_those_of_the_examples(name):
    (family,) = [family for family in FAMILIES if family.name == name]
    assert round(100 * adapted(family.example)) == round(100 * SHARES[name])


def test_every_name_of_open_clip_has_one_family():
    members = members_of()
    names = [name for of_family in members.values() for name in of_family]
    assert len(names) == len(set(names)) > 140
    assert family_of("ViT-B-32").name == "ViT" and family_of("RN50").name == "ResNet"
    assert family_of("ViT-SO400M-14-SigLIP2").name == "SigLIP"
    assert family_of("coca_ViT-L-14").name == "CoCa"
    for name in known_models():
        family_of(name)


def test_the_page_is_printed_from_rows():
    rows = {family.name: FamilyRow("cls", {"vpt-pmg-aft": "no tokens"}) for family in FAMILIES}
    text = page(rows, dict.fromkeys(rows, 0.5))
    line = "| ViT | open_clip's ViT, class token | 48 | `ViT-B-32` | 50 % | cls | `vpt-pmg-aft` |"
    assert line in text
    assert "- method `vpt-pmg-aft`: “no tokens”" in text
    assert text.partition("## Names")[2] == PAGE.partition("## Names")[2]


def test_what_is_no_refusal_is_not_hidden(monkeypatch):
    def broken(self: ClipClassifier, *_: object) -> torch.Tensor:
        raise RuntimeError("a fault of ours")

    model = small_model(FAMILIES[0])
    monkeypatch.setattr(ClipClassifier, "forward", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        measure(model, steps=False)
