"""SPEC -> ImageSet for every form: right pictures, labels and names; and for the user's mistakes,
clear words.
"""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from grace_geom.data import loader, resolve, suites
from grace_geom.errors import UserError
from grace_geom.files import sha256
from tests.data.makers import CLASSES, pictures, rgb, turns, write_folder, write_npz


class TestNpz:
    def test_reads_pictures_labels_names_and_records_the_file(self, tmp_path: Path):
        path = write_npz(tmp_path / "fruit.npz", pictures(20), turns(20))
        image_set = resolve(f"npz:{path}", "eval")
        assert (
            image_set.name == "fruit"
            and image_set.class_names == CLASSES
            and image_set.class_ids is None
        )
        assert (
            np.array_equal(rgb(image_set, 7), pictures(20)[7])
            and image_set.labels.tolist() == turns(20).tolist()
        )
        assert image_set.note["files"] == [
            {"file": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)}
        ]
        assert image_set.note["split"] == image_set.split == "eval"
        json.dumps(image_set.note)  # plain

    def test_two_files_are_train_and_test(self, tmp_path: Path):
        one = write_npz(tmp_path / "a.npz", pictures(20), turns(20))
        two = write_npz(tmp_path / "b.npz", pictures(6, seed=1), turns(6))
        train, val, test = (
            resolve(f"npz:{one}+{two}", split, val_fraction=0.2)
            for split in ("train", "val", "test")
        )
        assert sorted([*train.index, *val.index]) == list(range(20))
        assert 1 <= len(val) < 10
        assert np.array_equal(rgb(test, 5), pictures(6, seed=1)[5])

    def test_is_found_under_the_data_root(self, tmp_path: Path):
        write_npz(tmp_path / "in.root.npz", pictures(3), turns(3))
        assert len(resolve("npz:in.root.npz", "eval", data_root=tmp_path)) == 3

    def test_a_plus_in_a_name_is_no_second_file(self, tmp_path: Path):
        assert (
            len(resolve(f"npz:{write_npz(tmp_path / 'a+b.npz', pictures(3), turns(3))}", "eval"))
            == 3
        )

    @pytest.mark.parametrize(
        "images, labels, says",
        [
            (pictures(6) / 255.0, turns(6), "images are float64, expected uint8"),
            (pictures(6, channels=2), turns(6), r"shape \(6, 8, 8, 2\)"),
            (pictures(6)[0, 0], turns(6), r"shape \(8, 3\)"),
            (pictures(0), turns(0), r"shape \(0, 8, 8, 3\)"),
            (pictures(6), turns(5), "6 images but 5 labels"),
            (
                pictures(6),
                turns(6, k=4),
                "labels go from 0 to 3, but x.classes.json has 3 class names",
            ),
            (pictures(6), turns(6) - 1, "labels go from -1 to 1"),
            (pictures(6), turns(6) / 1.0, "labels are float64"),
            (pictures(6), turns(6)[:, None], r"labels are int64 of shape \(6, 1\)"),
        ],
    )
    def test_arrays_that_cannot_be_are_refused(self, tmp_path: Path, images, labels, says: str):
        path = write_npz(tmp_path / "x.npz", images, labels)
        with pytest.raises(UserError, match=says) as caught:
            resolve(f"npz:{path}", "train")
        assert str(path) in str(caught.value)

    def test_pickled_objects_are_refused_and_not_run(self, tmp_path: Path):
        class Bomb:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "ran",))

        bomb = np.empty(1, dtype=object)
        bomb[0] = Bomb()
        inside = write_npz(tmp_path / "inside.npz", bomb, turns(1))
        whole = tmp_path / "whole.npz"
        whole.write_bytes(pickle.dumps(Bomb()))
        (tmp_path / "whole.classes.json").write_text(json.dumps(CLASSES))
        for path in (inside, whole):
            with pytest.raises(UserError, match="pickled objects, which can run code: refused"):
                resolve(f"npz:{path}", "train")
        assert not (tmp_path / "ran").exists()

    def test_a_file_of_another_kind_is_called_that_and_not_dangerous(self, tmp_path: Path):
        path = write_npz(tmp_path / "x.npz", pictures(2), turns(2))
        path.write_text("label,pixel\n")
        with pytest.raises(
            UserError, match=r"x\.npz is not an \.npz archive with 'images' and 'labels'"
        ):
            resolve(f"npz:{path}", "train")

    def test_a_broken_archive_says_so(self, tmp_path: Path):
        path = write_npz(tmp_path / "x.npz", pictures(50), turns(50))
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b"", whole[:2000] + bytes(500) + whole[2500:]):
            path.write_bytes(content)
            with pytest.raises(UserError, match=r"x\.npz cannot be read as \.npz"):
                resolve(f"npz:{path}", "train")

    def test_missing_things_are_named(self, tmp_path: Path):
        write_npz(tmp_path / "train_set.npz", pictures(3), turns(3))
        with pytest.raises(UserError, match=r"no such file.*did you mean 'train_set.npz'"):
            resolve(f"npz:{tmp_path}/trian_set.npz", "train")
        bare = write_npz(tmp_path / "bare.npz", pictures(3), turns(3), classes=None)
        with pytest.raises(UserError, match=r"no class names: write .*bare\.classes\.json"):
            resolve(f"npz:{bare}", "train")
        np.savez(tmp_path / "other.npz", x=1)
        (tmp_path / "other.classes.json").write_text('{"class_names": ["a"]}')
        with pytest.raises(UserError, match="no array 'images' or 'labels'; it holds: x"):
            resolve(f"npz:{tmp_path}/other.npz", "train")
        (tmp_path / "other.classes.json").write_text('{"names": "a"}')
        with pytest.raises(UserError, match=r'other\.classes\.json: expected \{"class_names"'):
            resolve(f"npz:{tmp_path}/other.npz", "train")
        with pytest.raises(UserError, match="names no file"):
            resolve("npz:", "train")

    def test_train_and_test_must_agree(self, tmp_path: Path):
        one = write_npz(tmp_path / "a.npz", pictures(6), turns(6))
        other_names = write_npz(tmp_path / "b.npz", pictures(6), turns(6), CLASSES[::-1])
        other_size = write_npz(tmp_path / "c.npz", pictures(6, side=9), turns(6))
        with pytest.raises(UserError, match="different class names, or the same in another order"):
            resolve(f"npz:{one}+{other_names}", "train")
        with pytest.raises(UserError, match=r"images of \(8, 8\) pixels and .*c\.npz of \(9, 9\)"):
            resolve(f"npz:{one}+{other_size}", "test")


class TestFolder:
    def test_reads_an_image_folder(self, tmp_path: Path):
        write_folder(tmp_path / "set", pictures(9), turns(9))
        image_set = resolve(f"folder:{tmp_path}/set", "eval")
        order = np.argsort(turns(9), kind="stable")
        assert image_set.labels.tolist() == sorted(turns(9).tolist())
        assert all(np.array_equal(rgb(image_set, i), pictures(9)[order[i]]) for i in range(9))

    def test_own_splits_share_the_classes_of_train(self, tmp_path: Path):
        write_folder(tmp_path / "train", pictures(30), turns(30))
        write_folder(tmp_path / "valid", pictures(4, seed=1), np.array([1, 2, 1, 2]))
        (tmp_path / "classes.json").write_text(
            '{"apple": "red apple", "car": "old car", "bear": "big bear"}'
        )
        train, val, test = (
            resolve(f"folder:{tmp_path}", split) for split in ("train", "val", "test")
        )
        assert train.class_names == test.class_names == ("red apple", "big bear", "old car")
        assert (len(train), len(val), len(test)) == (27, 3, 4)
        assert test.labels.tolist() == [1, 1, 2, 2]

    def test_a_class_may_be_called_train(self, tmp_path: Path):
        write_folder(tmp_path, pictures(6), turns(6), ("bus", "tram", "train"))
        assert resolve(f"folder:{tmp_path}", "eval").class_names == ("bus", "train", "tram")

    def test_what_is_wrong_is_named(self, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="has no class folders"):
            resolve(f"folder:{tmp_path}/empty", "eval")
        with pytest.raises(UserError, match="did you mean 'empty'"):
            resolve(f"folder:{tmp_path}/emptie", "eval")
        write_folder(tmp_path / "set", pictures(6), turns(6))
        (tmp_path / "set" / "dog").mkdir()
        with pytest.raises(UserError, match=r"set/dog holds no pictures"):
            resolve(f"folder:{tmp_path}/set", "eval")
        (tmp_path / "set" / "dog").rmdir()
        (tmp_path / "set" / "classes.json").write_text('["a", "b"]')
        with pytest.raises(UserError, match="2 class names for 3 class folders"):
            resolve(f"folder:{tmp_path}/set", "eval")
        write_folder(tmp_path / "two" / "train", pictures(3), turns(3))
        write_folder(tmp_path / "two" / "test", pictures(3), turns(3), ("apple", "beer", "car"))
        with pytest.raises(
            UserError,
            match=r"test/beer is a class that the training folder does not have; .*'bear'",
        ):
            resolve(f"folder:{tmp_path}/two", "test")

    @pytest.mark.parametrize("damage", ["cut", "text", "empty"])
    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_damaged_picture_is_named_when_it_is_met(
        self, tmp_path: Path, damage: str, workers: int
    ):
        write_folder(tmp_path, pictures(9, side=40), turns(9))
        path = tmp_path / "bear" / "0004.png"
        path.write_bytes(
            {"cut": path.read_bytes()[:900], "text": b"no picture", "empty": b""}[damage]
        )
        batches = iter(
            loader(
                resolve(f"folder:{tmp_path}", "eval"),
                3,
                8,
                train=False,
                workers=workers,
                context="fork",
            )
        )
        next(batches)
        with pytest.raises(UserError, match=r"bear/0004\.png: not a readable image") as caught:
            next(batches)
        assert "\n" not in str(caught.value)


class TestNames:
    def test_unknown_names_are_answered_with_the_nearest(self, tmp_path: Path):
        for spec, says in (
            ("shape", "did you mean 'shapes'"),
            ("shapes:scetch", "'shapes:sketch'"),
            ("torchvison:CIFAR10", "'torchvision'"),
            ("torchvision:cifar10", "did you mean 'CIFAR10'"),
            ("imagenet-skech", "'imagenet-sketch'"),
        ):
            with pytest.raises(UserError, match=says):
                resolve(spec, "test", data_root=tmp_path)
        path = write_npz(tmp_path / "x.npz", pictures(3), turns(3))
        with pytest.raises(UserError, match=f"did you mean 'npz:{path}'"):
            resolve(str(path), "test")

    def test_templates_can_be_given(self, tmp_path: Path):
        spec = f"npz:{write_npz(tmp_path / 'cifar10_x.npz', pictures(3), turns(3))}"
        assert (
            len(resolve(spec, "eval").templates) == 18
            and resolve(spec, "eval").note["templates"] == "cifar"
        )
        assert (
            resolve(spec, "eval", templates="satellite").templates[0]
            == "a centered satellite photo of {}."
        )
        (tmp_path / "t.txt").write_text("one {c}.\n\ntwo {}\n")
        assert resolve(spec, "eval", templates=tmp_path / "t.txt").templates == (
            "one {}.",
            "two {}",
        )
        with pytest.raises(UserError, match="exactly one"):
            resolve(spec, "eval", templates=("a photo",))
        with pytest.raises(UserError, match="neither a file nor a known kind"):
            resolve(spec, "eval", templates="satelite")
        imagenet = resolve(spec, "eval", templates="imagenet").templates
        assert len(imagenet) == 80 and all(sentence.count("{}") == 1 for sentence in imagenet)


class TestShapes:
    def test_is_painted_alike_in_any_order_and_batch(self):
        image_set = resolve("shapes", "val")
        first = next(iter(loader(image_set.take([5, 3, 5]), 3, 32, train=False)))
        alone = resolve("shapes", "val").fetch(3)
        assert torch.equal(first.images[0], first.images[2])
        assert np.array_equal(
            (first.images[1] * 255).round().byte().permute(1, 2, 0).numpy(), alone
        )
        assert image_set.note["source"] == "procedural"

    def test_suites_name_sets_that_resolve(self):
        found = suites("shapes")
        assert set(found["ood"]) == {"v2", "sketch", "rendition", "corrupt"} and set(
            found["natural_adv"]
        ) == {"hard"}
        assert len(found["zeroshot"]) >= 4
        for spec in found["zeroshot"].values():
            image_set = resolve(spec, "eval")
            assert set(image_set.labels.tolist()) == set(range(len(image_set.class_names)))
        assert suites("npz:x.npz") == {"ood": {}, "natural_adv": {}, "zeroshot": {}}
