"""From the folders of ImageNet to the table of a study: train, evaluate all suites, compare, on
miniature layouts.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grace_geom.compare import main as compare
from grace_geom.data import ImageSet, imagenet, resolve
from grace_geom.data.corruptions import CORRUPTIONS, SEVERITIES
from grace_geom.evaluate import main as evaluate
from grace_geom.evaluation.table import corruption_table
from grace_geom.records import EvalRecord, by_level, mean_corruption
from grace_geom.train import main as train
from tests.data.mini_imagenet import OOD, ZEROSHOT, build, picture
from tests.toys import register_toy

TRAINING = ["--max-steps", "2", "--batch-size", "8", "--device", "cpu"]
MEASURES = ["--attack", "pgd", "--steps", "2", "--n", "150", "--n-attack", "8"]


def named(flag: str, sets: dict[str, str]) -> list[str]:
    return [word for name, spec in sets.items() for word in (flag, f"{name}={spec}")]


LISTED: dict[Path, ImageSet] = {}
"""Folders of ImageNet-C that were listed before."""
by_class = imagenet._by_class


def listed_once(path: Path, spec: str, folders: Sequence[str]) -> ImageSet:
    """Lists a folder of ImageNet-C once, by whatever link: the 75 are five here."""
    if not spec.startswith("imagenet-c"):
        return by_class(path, spec, folders)
    home = path.resolve()
    if home not in LISTED:
        LISTED[home] = by_class(path, spec, folders)
    return replace(LISTED[home], spec=spec, note=LISTED[home].note | {"folder": str(path)})


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Iterator[Path]:
    """The data root; two templates instead of 80, whose 80,000 sentences would be most of the
    time, as would be the listing of 75,000 class folders again and again."""
    two = "a photo of a {}.", "a drawing of a {}."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagenet, "imagenet_templates", lambda: two)
        patch.setattr(imagenet, "_by_class", listed_once)
        yield build(tmp_path_factory.mktemp("mini"))
    LISTED.clear()


def base(mini: Path) -> list[str]:
    return [
        "--data",
        "imagenet",
        "--data-root",
        str(mini),
        "--model",
        register_toy(),
        "--pretrained",
        "random",
    ]


@pytest.fixture(scope="module")
def record(mini, tmp_path_factory) -> EvalRecord:
    """A GRACE run of two steps, evaluated on everything."""
    out = tmp_path_factory.mktemp("chain") / "run"
    train([*base(mini), *TRAINING, "--r", "2", "--attack-steps", "1", "--out", str(out)])
    evaluate([str(out), *MEASURES, "--device", "cpu", "--suites", "id,ood,adv,natural_adv,zeroshot",
              *named("--ood", OOD), *named("--zeroshot", ZEROSHOT)])  # fmt: skip
    return EvalRecord.load(out / "eval.json")


def test_every_suite_is_answered_by_the_head_that_its_classes_ask_for(record):
    found = {(a.suite, a.data): (a.n, a.head) for a in record.accuracies}
    whole = "the checkpoint's head"
    part = "{} of the checkpoint's 1000 classes, by open_clip's names"
    assert found == {
        ("id", "imagenet"): (150, whole),
        ("adv", "imagenet"): (8, whole),
        ("ood", "v2"): (150, whole),
        ("ood", "sketch"): (150, whole),
        ("ood", "c"): (150, whole),
        ("ood", "r"): (150, part.format(200)),
        ("ood", "objectnet"): (113, part.format(113)),
        ("natural_adv", "a"): (150, part.format(200)),
        ("natural_adv", "a-plus"): (150, part.format(200)),
        ("zeroshot", "textures"): (2, "text head of 2 class names, 8 templates"),
        ("zeroshot", "pets"): (2, "text head of 2 class names, 1 templates"),
        ("zeroshot", "reviews"): (2, "text head of 2 class names, 1 templates"),
    }
    assert all(
        record.summary[name] is not None
        for name in ("ID", "OOD", "Adv", "NatAdv", "ZS", "HM", "OOD'", "HM'")
    )


def test_corruptions_are_told_one_by_one_from_the_same_answers(mini, record):
    (c,) = [a for a in record.accuracies if a.data == "c"]
    drawn = resolve("imagenet-c", "eval", data_root=mini).subset(150, 0)
    folders = [Path(drawn.fetch.inner.names[i]).parts for i in drawn.fetch.positions]
    right, expected = c.right(), {}
    for (_, corruption, severity, *_), hit in zip(folders, right, strict=True):
        n, correct = expected.get(f"{corruption}/{severity}", (0, 0))
        expected[f"{corruption}/{severity}"] = (n + 1, correct + int(hit))
    assert {g["name"]: (g["n"], g["correct"]) for g in c.groups} == expected and len(expected) > 50
    assert all(g["ci_low"] <= g["accuracy"] <= g["ci_high"] for g in c.groups)
    assert [a.groups for a in record.accuracies if a.data != "c"] == [()] * 11
    levels = by_level([c])
    means = [np.mean(list(levels[name].values())) for name in CORRUPTIONS if name in levels]
    assert mean_corruption(levels) == pytest.approx(np.mean(means))
    table = corruption_table([record])
    assert (
        table.columns == ["", "data", "corruption", *SEVERITIES, "mean"]
        and table.rows[-1][2] == "mean"
    )
    assert table.rows[-1][-1].value == pytest.approx(np.mean(means))
    assert len(table.rows) == len(levels) + 1


@pytest.mark.usefixtures("sketched")
def test_a_study_ends_in_the_table(mini, tmp_path, capsys):
    sets = {"v2": "imagenet-v2", "r": "imagenet-r", "c": "imagenet-c:fog"}
    argv = [
        *base(mini),
        *TRAINING,
        *MEASURES,
        "--methods",
        "zero-shot,ft",
        "--baseline",
        "ft",
        "--out",
        str(tmp_path),
    ]
    compare([*argv, *named("--ood", sets), *named("--zeroshot", ZEROSHOT)])
    said = capsys.readouterr()
    assert said.err.count("imagenet-v2 has 1,000 images here") <= 1
    text, rows = (
        (tmp_path / "table.md").read_text(),
        json.loads((tmp_path / "table.json").read_text()),
    )
    assert "| method | v2 | r | c |" in text
    corruptions = text.partition("## Corruptions")[2]
    assert "| method | data | fog | mean |" in corruptions
    for row in rows["rows"]:
        assert set(row["corruptions"]["c"]["by_severity"]["fog"]) == set(SEVERITIES)
        assert {"ID", "OOD", "Adv", "NatAdv", "ZS", "HM"} <= row["columns"].keys()


def test_another_picture_in_any_folder_of_c_is_another_set(mini):
    """A record must not answer for pictures that it has not seen."""
    before = resolve("imagenet-c:fog", "eval", data_root=mini)
    home = mini / "pictures of C" / "4"
    file = next((home / "n01440764").iterdir())
    kept = file.read_bytes()
    file.write_bytes(picture(5, seed=99))
    del LISTED[home.resolve()]
    try:
        assert resolve("imagenet-c:fog", "eval", data_root=mini).content != before.content
    finally:
        file.write_bytes(kept)
        del LISTED[home.resolve()]
