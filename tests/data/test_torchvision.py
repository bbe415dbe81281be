"""Torchvision and ImageNet folders: small copies of the official layouts, and the survey of a data
root.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from grace_geom.data import loader, resolve
from grace_geom.data.check import survey, table
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.tv import KNOWN
from grace_geom.errors import UserError
from tests.data.makers import encoded, pictures


def make_food(root: Path) -> None:
    """Food-101's layout: two classes, 4 training and 2 test pictures each."""
    base = root / "food-101"
    (base / "meta").mkdir(parents=True)
    for split, ids in (("train", range(4)), ("test", range(4, 6))):
        listing = {name: [f"{name}/{i}" for i in ids] for name in ("apple_pie", "waffles")}
        (base / "meta" / f"{split}.json").write_text(json.dumps(listing))
    for name in ("apple_pie", "waffles"):
        (base / "images" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (20, 16), (10 * i, 0, 0)).save(base / "images" / name / f"{i}.jpg")


def make_eurosat(root: Path) -> None:
    """EuroSAT's layout: no official split."""
    for name in ("Forest", "SeaLake"):
        folder = root / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8, 8), (10 * i, 0, len(name))).save(folder / f"{name}_{i}.jpg")


def make_mnist(root: Path) -> None:
    """MNIST's four files in IDX format."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, n in (("train", 20), ("t10k", 10)):
        images = pictures(n, side=28, channels=1)
        header = np.array([2051, n, 28, 28], dtype=">i4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(n) % 10).astype(np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(
            np.array([2049, n], dtype=">i4").tobytes() + labels.tobytes()
        )


def test_every_known_name_is_a_class_of_torchvision():
    assert all(hasattr(torchvision.datasets, name) for name in KNOWN)


def test_a_set_with_official_splits(tmp_path: Path):
    make_food(tmp_path)
    train, val, test = (
        resolve("torchvision:Food101", split, data_root=tmp_path)
        for split in ("train", "val", "test")
    )
    assert (len(train) + len(val), len(test)) == (8, 4) and len(val) >= 1
    assert test.class_names == ("apple pie", "waffles") and test.templates == (
        "a photo of {}, a type of food.",
    )
    peer = torchvision.datasets.Food101(tmp_path, "test")
    assert test.labels.tolist() == [peer[i][1] for i in range(4)]
    assert all(np.array_equal(np.asarray(test.fetch(i)), np.asarray(peer[i][0])) for i in range(4))
    assert next(iter(loader(test, 4, 16, train=False))).images.shape == (4, 3, 16, 16)
    (tmp_path / "food-101" / "images" / "waffles" / "5.jpg").write_bytes(b"cut")
    with pytest.raises(UserError, match="Food101, image 3: cannot be read"):
        list(loader(test, 4, 16, train=False))


def test_a_set_without_official_split_gets_a_recorded_one(tmp_path: Path):
    make_eurosat(tmp_path)
    train, val, test = (
        resolve("torchvision:EuroSAT", split, data_root=tmp_path)
        for split in ("train", "val", "test")
    )
    assert min(len(train), len(val), len(test)) >= 1
    assert test.class_names == ("forest", "sea or lake")
    assert sorted([*train.index, *val.index, *test.index]) == list(range(20))
    assert test.note["how"] == "test: seeded 0.2 of all" and test.note["split_seed"] == 0


def test_a_set_in_memory(tmp_path: Path):
    make_mnist(tmp_path)
    test = resolve("torchvision:MNIST", "test", data_root=tmp_path)
    assert test.class_names == tuple("0123456789") and test.labels.tolist() == list(range(10))
    batch = next(iter(loader(test, 10, 28, train=False)))
    assert np.array_equal(
        (batch.images[:, 0] * 255).round().byte().numpy(), pictures(10, side=28, channels=1)[..., 0]
    )


def test_countries_are_called_by_name(tmp_path: Path):
    for code in ("CH", "JP"):
        for part in ("train", "valid", "test"):
            (tmp_path / "country211" / part / code).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "country211" / part / code / "0.jpg")
    val = resolve("torchvision:Country211", "val", data_root=tmp_path)
    assert val.class_names == ("Switzerland", "Japan") and val.note["how"] == "the data set's own"


@pytest.mark.parametrize("name", KNOWN)
def test_an_absent_set_says_how_to_get_it_and_leaves_nothing_behind(tmp_path: Path, name: str):
    with pytest.raises(
        UserError, match="--download" if KNOWN[name].downloads else "existing copy"
    ) as caught:
        resolve(f"torchvision:{name}", "test", data_root=tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_set_says_so(tmp_path: Path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(
        UserError,
        match=r"CIFAR10 \(test part\) cannot be read .*not found or corrupted.*--download",
    ):
        resolve("torchvision:CIFAR10", "test", data_root=tmp_path)
    with pytest.raises(UserError, match="needs --data-root"):
        resolve("torchvision:CIFAR10", "test")


def make_imagenet(root: Path, classes: int = 1000) -> None:
    content = encoded(pictures(1)[0])
    for split in ("train", "val"):
        for k in range(classes):
            folder = root / "ILSVRC2012" / split / wnids()[k]
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(content)


def test_imagenet_is_found_in_its_usual_folders(tmp_path: Path):
    make_imagenet(tmp_path)
    test = resolve("imagenet", "test", data_root=tmp_path)
    assert len(test) == 1000 and test.labels.tolist() == list(range(1000))
    assert test.class_names[:2] == ("tench", "goldfish") and len(test.templates) == 80
    train, val = (resolve("imagenet", split, data_root=tmp_path) for split in ("train", "val"))
    assert len(train) + len(val) == 1000 and not set(train.index) & set(val.index)
    assert abs(len(val) - 100) < 4 * (1000 * 0.1 * 0.9) ** 0.5


def test_imagenet_family_says_where_it_must_lie(tmp_path: Path):
    for spec, place in (
        ("imagenet", "train/<wnid>"),
        ("imagenet-v2", "imagenetv2-matched"),
        ("imagenet-r", "imagenet-r"),
    ):
        with pytest.raises(UserError, match=place):
            resolve(spec, "test", data_root=tmp_path)
    make_imagenet(tmp_path, classes=3)
    with pytest.raises(UserError, match=r"has 3 class folders, not the 1000 .*missing: n01491361"):
        resolve("imagenet", "test", data_root=tmp_path)


def test_the_survey_counts_what_is_there_and_names_what_is_missing(tmp_path: Path):
    make_food(tmp_path)
    make_imagenet(tmp_path, classes=2)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "imagenet-r" / "n00000001").mkdir(parents=True)
    (tmp_path / "imagenet-r" / "n00000001" / "a.jpg").write_bytes(b"")
    found = {row.name: row for row in survey(tmp_path)}
    assert found["torchvision:Food101"].parts == {"train": (2, 8), "test": (2, 4)}
    assert (
        found["imagenet"].parts == {"train": (2, 2), "val": (2, 2)}
        and "not the 1000" in found["imagenet"].problem
    )
    assert (
        found["imagenet-r"].parts == {"test": (1, 1)}
        and "not the 200" in found["imagenet-r"].problem
    )
    assert "corrupted" in found["torchvision:CIFAR10"].problem
    assert found["torchvision:DTD"].absent and found["imagenet-v2"].absent
    text = table(list(found.values()))
    assert (
        "train 8 images of 2 classes" in text
        and "missing" in text
        and "1 of 33 known data sets" in text
    )


def test_the_check_command_and_its_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def check(root: Path) -> None:
        monkeypatch.setattr(sys, "argv", ["data", "check", "--data-root", str(root)])
        runpy.run_module("grace_geom.data", run_name="__main__")

    check(tmp_path)
    assert "0 of 33 known data sets" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        check(tmp_path / "no")
    assert stop.value.code == 2 and capsys.readouterr().err.startswith(
        f"error: --data-root {tmp_path}/no is not a folder"
    )
