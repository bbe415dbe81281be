"""The real image packs, where they are at hand: counts and hashes of their data card."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grace_geom.data import loader, resolve

CARD = {  # images, classes, first 16 digits of the file's SHA-256
    "npz:cifar10_shift.npz": (1757, 10, "910e951f0c6f35b9"),
    "npz:cifar10_test.npz": (5000, 10, "046aa266305e9886"),
    "npz:digits_usps_test.npz": (1470, 10, "f57d604e4e27f72f"),
    "wds:caltech101.wds.tar": (2020, 101, "bde5f3ba5ade2fc8"),
    "wds:imagenet_samples.wds.tar": (1000, 1000, "0da84fa0ab79e104"),
    "wds:pacs_photo.wds.tar": (1337, 7, "b7e323b40bcb7cc3"),
    "wds:tinyimagenet_val.wds.tar": (5000, 200, "24aafc25d4ff90de"),
}


@pytest.mark.parametrize("spec", CARD)
def test_counts_and_hashes_are_the_cards(packs: Path, spec: str):
    images, classes, sha = CARD[spec]
    image_set = resolve(spec, "eval", data_root=packs)
    assert (len(image_set), len(image_set.class_names)) == (images, classes)
    assert image_set.note["files"][0]["sha256"].startswith(sha)
    batch = next(iter(loader(image_set.subset(5, seed=0), 5, 32, train=True)))
    assert batch.images.shape == (5, 3, 32, 32) and batch.images.std() > 0.05


def test_shard_labels_and_pictures_are_what_tar_gives(packs: Path):
    image_set = resolve("wds:pacs_photo.wds.tar", "eval", data_root=packs)
    with tarfile.open(packs / "pacs_photo.wds.tar") as tar:
        for i in (0, 1, 700, 1336):
            label = tar.extractfile(f"{i:06d}.cls")
            picture = tar.extractfile(f"{i:06d}.jpg")
            assert label is not None and picture is not None
            assert image_set.labels[i] == int(label.read())
            assert np.array_equal(
                np.asarray(image_set.fetch(i)), np.asarray(Image.open(picture).convert("RGB"))
            )
    names = json.loads((packs / "pacs_photo.classes.json").read_text())["class_names"]
    assert dict(zip(names, np.bincount(image_set.labels), strict=True))["person"] == 346


def test_train_and_validation_are_disjoint_and_the_test_is_the_other_file(packs: Path):
    spec = "npz:digits_mnist_train.npz+digits_mnist_test.npz"
    train, val, test = (resolve(spec, split, data_root=packs) for split in ("train", "val", "test"))
    assert sorted([*train.index, *val.index]) == list(range(5000))
    counts = np.bincount(val.labels)  # binomial: 500 of each class at 0.1, to four deviations
    assert (np.abs(counts - 50) < 4 * np.sqrt(500 * 0.1 * 0.9)).all()
    assert not set(train.index) & set(val.index)
    assert len(test) == 2000 and np.bincount(test.labels).tolist() == [200] * 10
