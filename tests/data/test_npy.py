"""``npy:IMAGES``: two arrays as a data set."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from grace_geom.data import resolve
from grace_geom.data.keys import keys_of, pixel_keys_of
from grace_geom.data.specs import check_spec
from grace_geom.errors import UserError
from grace_geom.evaluation.measures import short_name
from tests.data.makers import CLASSES, pictures, turns, write_npz


def pair(root: Path, images: str, labels: str, n: int = 9, seed: int = 0) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / images, pictures(n, seed=seed))
    np.save(root / labels, turns(n).astype(np.uint8))
    (root / "classes.json").write_text(json.dumps(CLASSES))
    return root / images


@pytest.mark.parametrize(
    "images, labels",
    [
        ("x_train.npy", "y_train.npy"),
        ("imagesTest.npy", "labelsTest.npy"),
        ("images.npy", "labels.npy"),
        ("cifar10.1_v4_data.npy", "cifar10.1_v4_labels.npy"),
        ("train-imgs.npy", "train-targets.npy"),
    ],
)
def test_labels_are_found_beside_images(tmp_path: Path, images: str, labels: str):
    path = pair(tmp_path, images, labels)
    found = resolve(f"npy:{path}", "eval")
    assert found.labels.tolist() == turns(9).tolist() and found.class_names == CLASSES
    for reader in (found.fetch, pickle.loads(pickle.dumps(found.fetch))):
        assert np.array_equal(np.stack([reader(i) for i in range(9)]), pictures(9))


def test_two_named_pairs_are_train_and_test_and_split_like_an_archive(tmp_path: Path):
    one = pair(tmp_path / "a", "i.npy", "l.npy", n=40)
    two = pair(tmp_path / "b", "i.npy", "l.npy", seed=1)
    spec = f"npy:{one},{one.with_name('l.npy')}+{two},{two.with_name('l.npy')}"
    assert np.array_equal(resolve(spec, "test").fetch(5), pictures(9, seed=1)[5])
    archive = resolve(f"npz:{write_npz(tmp_path / 'x.npz', pictures(40), turns(40))}", "test")
    alone = resolve(f"npy:{one},{one.with_name('l.npy')}", "test")
    assert keys_of(alone).tolist() == keys_of(archive).tolist() and 0 < len(alone) < 40
    assert np.array_equal(pixel_keys_of(alone), pixel_keys_of(archive))
    assert short_name(spec) == "i"
    check_spec(spec)
    with pytest.raises(UserError, match=r"no such file.*k\.npy"):
        check_spec(f"npy:{one},{one.with_name('k.npy')}")


def test_grey_images_keep_their_values(tmp_path: Path):
    path = pair(tmp_path, "images.npy", "labels.npy")
    np.save(path, pictures(9, channels=1)[..., 0])
    found = resolve(f"npy:{path}", "eval")
    assert np.array_equal(found.fetch(3), pictures(9, channels=1)[3])


@pytest.mark.parametrize(
    "images, labels, says",
    [
        (pictures(9) / 255.0, turns(9), "images are float64, expected uint8"),
        (pictures(9).transpose(0, 3, 1, 2), turns(9), r"shape \(9, 3, 8, 8\)"),
        (np.asfortranarray(pictures(9)), turns(9), "numpy.ascontiguousarray"),
        (pictures(9), turns(8), "9 images but 8 labels"),
        (pictures(9), turns(9, k=4), r"labels.npy: labels go from 0 to 3, but there are 3"),
        (pictures(9), turns(9)[:, None], r"labels are int64 of shape \(9, 1\)"),
        (pictures(9), turns(9) / 1.0, "labels are float64"),
        (np.array([{}]), turns(1), "images.npy holds pickled objects.*refused"),
        (pictures(1), np.array([{}]), "labels.npy holds pickled objects.*refused"),
    ],
)
def test_arrays_that_cannot_be_are_refused(tmp_path: Path, images, labels, says: str):
    path = pair(tmp_path, "images.npy", "labels.npy")
    np.save(path, images, allow_pickle=True)
    np.save(path.with_name("labels.npy"), labels, allow_pickle=True)
    with pytest.raises(UserError, match=says):
        resolve(f"npy:{path}", "eval")


def test_missing_broken_and_unclear_files_are_named(tmp_path: Path):
    path = pair(tmp_path, "images.npy", "labels.npy")
    spec, whole = f"npy:{path}", path.read_bytes()
    np.save(tmp_path / "y.npy", turns(9))
    with pytest.raises(
        UserError, match=r"labels.npy and y.npy could both be.*name the one that is meant, npy:"
    ):
        resolve(spec, "eval")
    (tmp_path / "y.npy").unlink()
    found = resolve(spec, "eval")
    for content, says in (
        (whole[:-5], "declares 1728 bytes .* and holds 1723: it is broken or cut short"),
        (b"label,pixel\n", "is not an array saved by numpy.save"),
        (whole[:40], "cannot be read as .npy"),
    ):
        path.write_bytes(content)
        for read in (lambda: resolve(spec, "eval"), lambda: found.fetch(8)):
            with pytest.raises(UserError, match=says):
                read()
    path.write_bytes(whole)
    (tmp_path / "classes.json").unlink()
    with pytest.raises(UserError, match=r"no class names: write .*images\.classes\.json"):
        resolve(spec, "eval")
