"""CIFAR's relatives in the published files: which rows are which corruption, which labels whose."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from grace_geom.data import cifar, resolve
from grace_geom.data.check import survey
from grace_geom.data.corruptions import CORRUPTIONS
from grace_geom.data.keys import kind_of
from grace_geom.data.tv_names import CIFAR10, CIFAR100
from grace_geom.errors import UserError
from tests.data.makers import pictures, turns

EACH = 200


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of the published arrays, with 200 images a severity."""
    monkeypatch.setattr(cifar, "EACH", EACH)


def corrupted(root: Path, names: tuple[str, ...], classes: int = 10, rows: int = 5 * EACH) -> Path:
    """Arrays whose pixels tell the corruption (channel 0) and the severity (channel 1)."""
    root.mkdir(parents=True)
    for k, name in enumerate(names):
        images = np.zeros((rows, 32, 32, 3), dtype=np.uint8)
        images[..., 0] = k
        images[..., 1] = np.repeat(np.arange(1, 6), rows // 5)[:, None, None]
        np.save(root / f"{name}.npy", images)
    np.save(root / "labels.npy", np.tile(turns(rows // 5, classes), 5).astype(np.uint8))
    return root


def test_the_lists_of_classes_are_cifars():
    assert CIFAR10[3] == "cat" and len(CIFAR10) == 10
    assert len(CIFAR100) == 100 and list(CIFAR100) == sorted(CIFAR100)
    superclasses = {  # of the data set's page, by the numbers that papers on it give
        ("beaver", "dolphin", "otter", "seal", "whale"): (4, 30, 55, 72, 95),
        ("maple tree", "oak tree", "palm tree", "pine tree", "willow tree"): (47, 52, 56, 59, 96),
        ("lawn mower", "rocket", "streetcar", "tank", "tractor"): (41, 69, 81, 85, 89),
    }
    for names, numbers in superclasses.items():
        assert tuple(CIFAR100[i] for i in numbers) == names


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("folder", ["CIFAR-10-C", "cifar10c", "cifar-10-c"])
def test_one_severity_is_its_rows(tmp_path: Path, folder: str):
    corrupted(tmp_path / folder, ("fog", "snow"))
    found = resolve("cifar10-c:snow:3", "eval", data_root=tmp_path)
    assert len(found) == EACH and found.class_names == CIFAR10 and found.name == "cifar10-c"
    assert found.labels.tolist() == turns(EACH, 10).tolist() and kind_of(found) == "pixels"
    for reader in (found.fetch, pickle.loads(pickle.dumps(found.fetch))):
        assert {tuple(reader(i)[5, 5]) for i in (0, EACH - 1)} == {(1, 3, 0)}
    assert found.group_names == ("snow/3",) and found.note["templates"] == "cifar"
    other = resolve("cifar10-c:snow:2", "eval", data_root=tmp_path)
    assert other.content != found.content, "other rows of one file"
    np.save(tmp_path / folder / "snow.npy", np.zeros((5 * EACH, 32, 32, 3), dtype=np.uint8))
    again = resolve("cifar10-c:snow:3", "eval", data_root=tmp_path)
    assert again.content != found.content, "the same rows of another file"


@pytest.mark.usefixtures("small")
def test_every_corruption_and_severity_is_a_part_of_the_whole(tmp_path: Path):
    corrupted(tmp_path / "CIFAR-100-C", CORRUPTIONS, classes=100)
    found = resolve("cifar100-c", "eval", data_root=tmp_path)
    assert len(found) == 75 * EACH and found.class_names == CIFAR100
    assert found.group_names[:6] == (*(f"gaussian_noise/{s}" for s in range(1, 6)), "shot_noise/1")
    assert found.group is not None
    for i in (0, 7 * EACH, 75 * EACH - 1):
        corruption, severity = found.group_names[found.group[i]].split("/")
        pixel = found.fetch(i)[0, 0]
        assert (CORRUPTIONS[pixel[0]], str(pixel[1])) == (corruption, severity)
    some = found.take(np.arange(0, len(found), EACH // 2))
    assert np.bincount(some.group).tolist() == [2] * 75  # type: ignore[arg-type]
    one = resolve("cifar100-c:fog", "eval", data_root=tmp_path)
    assert (
        one.group_names == tuple(f"fog/{s}" for s in range(1, 6)) and one.content != found.content
    )


def test_arrays_of_another_size_are_no_corruption(tmp_path: Path):
    corrupted(tmp_path / "CIFAR-10-C", ("fog",), rows=50)
    np.save(tmp_path / "CIFAR-10-C" / "labels.npy", turns(50_000, 10))
    with pytest.raises(UserError, match=r"expected \(50000, 32, 32, 3\): 10,000 images a severity"):
        resolve("cifar10-c:fog:1", "eval", data_root=tmp_path)


@pytest.mark.usefixtures("small")
def test_what_is_missing_or_another_set_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"cifar10-c is not under .*CIFAR-10-C/labels.npy"):
        resolve("cifar10-c", "eval", data_root=tmp_path)
    loose = corrupted(tmp_path / "mine", ("fog",))  # whose labels these are, nobody can tell
    with pytest.raises(UserError, match="cifar10-c:fog is not under"):
        resolve("cifar10-c:fog", "eval", data_root=loose)
    root = corrupted(tmp_path / "CIFAR-10-C", ("fog",))
    for spec, says in (
        ("cifar10-c", r"no file .*gaussian_noise.npy; cifar10-c:CORRUPTION reads one"),
        ("cifar10-c:fgo", "did you mean 'fog'"),
        ("cifar10-c:fog:0", "it must be 1 to 5"),
        ("cifar10.1:v5", "unknown version 'v5'; did you mean"),
        ("cifar10.2:x", "nothing follows cifar10.2"),
    ):
        with pytest.raises(UserError, match=says):
            resolve(spec, "eval", data_root=tmp_path)
    with pytest.raises(UserError, match="has only a test split"):
        resolve("cifar10-c:fog", "train", data_root=tmp_path)
    np.save(root / "labels.npy", turns(5 * EACH, 100))
    with pytest.raises(UserError, match="labels of 100 classes, expected 0 to 9"):
        resolve("cifar10-c:fog", "eval", data_root=tmp_path)
    np.save(root / "labels.npy", turns(5 * EACH, 10) + 1)
    with pytest.raises(UserError, match="labels of 10 classes, expected 0 to 9"):
        resolve("cifar10-c:fog", "eval", data_root=tmp_path)
    np.save(root / "labels.npy", turns(EACH, 10))  # of one severity: the same for each
    whole = resolve("cifar10-c:fog", "eval", data_root=tmp_path)
    assert whole.labels.tolist() == np.tile(turns(EACH, 10), 5).tolist()
    np.save(root / "labels.npy", turns(EACH + 5, 10))
    with pytest.raises(UserError, match=r"has 205 labels, expected 1,000"):
        resolve("cifar10-c:fog", "eval", data_root=tmp_path)


def natural(root: Path) -> None:
    """CIFAR-10.1 as its repository lies on disk, and CIFAR-10.2 with the arrays it has beside."""
    home = root / "CIFAR-10.1-master" / "datasets"
    home.mkdir(parents=True)
    for seed, version in enumerate(("v4", "v6")):
        np.save(home / f"cifar10.1_{version}_data.npy", pictures(20 + seed, side=32, seed=seed))
        np.save(home / f"cifar10.1_{version}_labels.npy", turns(20 + seed, 10))
    (root / "cifar-10.2").mkdir()
    for seed, part in enumerate(("train", "test")):
        np.savez(
            root / "cifar-10.2" / f"cifar102_{part}.npz",
            images=pictures(30, side=32, seed=seed),
            labels=turns(30, 10),
            keywords=np.array([{}]),  # pickled, beside what is read
        )


def test_the_new_test_sets_are_read_and_a_part_of_them_is_told(tmp_path: Path, capsys):
    natural(tmp_path)
    six, four = (resolve(s, "eval", data_root=tmp_path) for s in ("cifar10.1", "cifar10.1:v4"))
    assert np.array_equal(six.fetch(20), pictures(21, side=32, seed=1)[20])
    assert np.array_equal(four.fetch(19), pictures(20, side=32)[19]) and len(four) == 20
    assert six.labels.tolist() == turns(21, 10).tolist() and six.class_names == CIFAR10
    said = capsys.readouterr().err
    assert "cifar10.1 has 21 images here, the published set has 2,000" in said
    assert "cifar10.1:v4 has 20 images here, the published set has 2,021" in said
    assert (six.note["published_images"], four.note["published_images"]) == (2_000, 2_021)
    data = tmp_path / "CIFAR-10.1-master" / "datasets" / "cifar10.1_v6_data.npy"
    np.save(data, pictures(21, side=32, seed=7))  # the same labels
    assert resolve("cifar10.1", "eval", data_root=tmp_path).content != six.content
    test = resolve("cifar10.2", "test", data_root=tmp_path)
    assert np.array_equal(test.fetch(29), pictures(30, side=32, seed=1)[29])
    assert len(resolve("cifar10.2", "train", data_root=tmp_path, val_fraction=0)) == 30


@pytest.mark.usefixtures("small")
def test_the_check_lists_what_is_there(tmp_path: Path):
    natural(tmp_path)
    corrupted(tmp_path / "CIFAR-10-C", CORRUPTIONS)
    found = {row.name: row for row in survey(tmp_path)}
    assert found["cifar10-c"].parts == {"test": (10, 75 * EACH)} and not found["cifar10-c"].problem
    assert found["cifar100-c"].absent
    assert found["cifar10.1"].parts == {"v4": (10, 20), "v6": (10, 21)}
    assert "v6 has 21 images, the published one 2,000" in found["cifar10.1"].problem
    (tmp_path / "cifar-10.2" / "cifar102_train.npz").unlink()
    row = {row.name: row for row in survey(tmp_path)}["cifar10.2"]
    assert row.parts == {"test": (10, 30)} and "no cifar102_train.npz" in row.problem
