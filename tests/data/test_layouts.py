"""Folders as people have them: which are read, as what, and which are refused with what words."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from grace_geom.data import resolve
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.errors import UserError
from tests.data.folders import grey, put, seen, tree
from tests.data.makers import CLASSES, pictures, turns, write_folder


class TestHidden:
    def test_copies_and_systems_files_change_nothing(self, tmp_path: Path):
        for name in ("plain", "copied"):
            write_folder(tmp_path / name / "set", pictures(9), turns(9))
        top = tmp_path / "copied" / "set"
        copy = next((top / "bear").iterdir())
        for place in (
            "bear/.ipynb_checkpoints/0001-checkpoint.png",
            ".ipynb_checkpoints/0001-checkpoint.png",
            "bear/._0001.png",
            "__MACOSX/bear/._0001.png",
            "car/deep/.hidden/x.png",
            "bear/@eaDir/x.png",
            "bear/Thumbs.db",
            "desktop.ini",
            ".Trash-1000/files/x.png",
        ):
            (top / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(copy, top / place)
        (top / "car" / "._0002.png").write_bytes(b"\0\5\x16\7" + bytes(60))
        plain, copied = (
            resolve(f"folder:{tmp_path}/{name}/set", "eval") for name in ("plain", "copied")
        )
        assert copied.fetch.names == plain.fetch.names and copied.content == plain.content

    def test_a_split_that_is_hidden_is_none(self, tmp_path: Path):
        put(tree(tmp_path) / "train" / ".ipynb_checkpoints" / "x.png")
        put(tmp_path / ".test" / "cat" / "x.png")
        assert resolve(f"folder:{tmp_path}", "test").class_names == ("cat", "dog")


class TestLinks:
    @pytest.fixture
    def top(self, tmp_path: Path) -> Path:
        return write_folder(tmp_path / "set", pictures(9), turns(9))

    def count(self, top: Path) -> int:
        return len(resolve(f"folder:{top}", "eval"))

    @pytest.mark.parametrize("target", ["bear", ".", "../set", "bear/../bear"])
    def test_a_loop_is_read_once(self, top: Path, target: str):
        (top / "bear" / "loop").symlink_to(top / target)
        assert self.count(top) == 9

    def test_a_class_may_be_a_link(self, top: Path, tmp_path: Path):
        shutil.move(top / "bear", tmp_path / "elsewhere")
        (top / "bear").symlink_to(tmp_path / "elsewhere")
        assert self.count(top) == 9
        (top / "bear" / "more").symlink_to(tmp_path / "elsewhere")
        assert self.count(top) == 9

    def test_pictures_may_be_links_and_count_once(self, top: Path, tmp_path: Path):
        outside = put(tmp_path / "outside.png")
        (top / "bear" / "link.png").symlink_to(outside)
        assert self.count(top) == 10
        (top / "bear" / "again.png").symlink_to(outside)
        (top / "bear" / "double.png").symlink_to(top / "bear" / "0001.png")
        assert self.count(top) == 10

    @pytest.mark.parametrize(
        "link, target, says",
        [
            ("bear/gone.png", "/nowhere", r"bear/gone\.png is a link that leads nowhere \(/nowher"),
            ("gone", "/nowhere", "gone is a link that leads nowhere"),
            ("bear/self.png", "self.png", "leads nowhere"),
            ("copy", "bear", "copy is also part of the class 'bear'"),
            ("bear/other", "../car", "also part of the class 'bear'"),
            ("bear/x.png", "../car/0002.png", "one file in two classes"),
        ],
    )
    def test_links_that_mislead_are_named(self, top: Path, link: str, target: str, says: str):
        (top / link).symlink_to(target)
        with pytest.raises(UserError, match=says):
            self.count(top)

    def test_a_file_outside_has_one_label(self, top: Path, tmp_path: Path):
        for name in ("bear", "car"):
            (top / name / "x.png").symlink_to(put(tmp_path / "outside.png"))
        with pytest.raises(UserError, match="one file in two classes"):
            self.count(top)

    def test_pipes_are_not_waited_for(self, top: Path):
        os.mkfifo(top / "bear" / "x.png")
        with pytest.raises(UserError, match="is a pipe"):
            self.count(top)
        os.mkfifo(top.parent / "x.npz")
        for spec in (f"npz:{top.parent}/x.npz", "npz:/dev/zero", "wds:/dev/zero", "npz:/", "npz:."):
            (top.parent / "x.classes.json").write_text('["a", "b"]')
            with pytest.raises(UserError):
                resolve(spec, "eval")

    @pytest.mark.parametrize("place", [b"bear/caf\xe9.png", b"caf\xe9/x.png", b"bear/\xff/x.png"])
    def test_names_that_are_no_utf8_are_refused_in_print(self, top: Path, place: bytes):
        path = os.fsencode(top) + b"/" + place
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(grey(0))
        with pytest.raises(UserError, match=r"\\x(e9|ff).*the name is not UTF-8") as caught:
            self.count(top)
        assert str(caught.value).encode() and "\n" not in str(caught.value)


class TestSplits:
    @pytest.mark.parametrize(
        "train, test",
        [
            ("Train", "Test"),
            ("TRAIN", "VAL"),
            ("training_set", "test_set"),
            ("Training Set", "Testing Set"),
            ("trainset", "testset"),
            ("train-data", "valid"),
            ("train", "dev"),
            ("seg_train", "seg_test"),
            ("train/train", "test/test"),
            ("data/train", "data/test"),
            ("a/b/c/train", "a/b/c/Validation"),
            ("train_images/images", "test_images"),
        ],
    )
    def test_are_known_by_their_usual_names(self, tmp_path: Path, train: str, test: str):
        tree(tmp_path, train, test)
        spec = f"folder:{tmp_path}"
        assert seen(resolve(spec, "train", val_fraction=0)) == {0: "cat", 1: "dog"}
        assert seen(resolve(spec, "test")) == {10: "cat", 11: "dog"}

    def test_one_folder_too_deep_without_splits(self, tmp_path: Path):
        write_folder(tmp_path / "photos" / "photos", pictures(6), turns(6))
        (tmp_path / "__MACOSX").mkdir()
        assert resolve(f"folder:{tmp_path}", "eval").class_names == CLASSES

    @pytest.mark.parametrize(
        "places, says",
        [
            (("train/cat", "train/dog", "Train/cat"), "train and train|Train and train, both for"),
            (("val/a", "val/b", "dev/a", "train/a"), "dev and val, both for val"),
            (("train", "test"), "test, train hold pictures, but no class folders. Expected: DIR"),
            (("photo/cat", "photo/dog", "sketch/cat", "sketch/dog"), r"same folders \(cat, dog\)"),
            (
                ("amazon/images/cat", "amazon/images/dog", "web/images/cat", "web/images/dog"),
                "same",
            ),
            (("cat/train", "cat/test", "dog/train", "dog/test"), "splits belong above the classes"),
            (("train/cat", "train/dog", "bus", "tram"), "beside it bus with pictures"),
            (("train/test/cat", "train/train/cat", "test/cat"), "holds test, train itself"),
            (("cat",), r"one class only \(cat\), in which every classifier is right"),
            (("train/cat", "test/cat"), "one class only"),
        ],
    )
    def test_what_could_mean_two_things_is_refused(self, tmp_path: Path, places, says: str):
        for place in places:
            put(tmp_path / place / "0.png")
            put(tmp_path / place / "1.png")
        with pytest.raises(UserError, match=says):
            resolve(f"folder:{tmp_path}", "train")

    def test_a_flat_test_folder_is_left_out_and_told(self, tmp_path: Path, capsys):
        write_folder(tmp_path / "train", pictures(9), turns(9))
        put(tmp_path / "test" / "0.png")
        assert len(resolve(f"folder:{tmp_path}", "eval")) == 9
        assert "test is left out: its pictures lie in no class folders" in capsys.readouterr().err

    def test_pictures_of_kinds_that_are_not_read_are_told(self, tmp_path: Path, capsys):
        write_folder(tmp_path, pictures(9), turns(9))
        (tmp_path / "bear" / "x.gif").write_bytes(b"GIF89a")
        (tmp_path / "bear" / "notes.txt").write_text("none")
        assert resolve(f"folder:{tmp_path}", "eval").note["left_out"] == {".gif": 1}
        assert "1 .gif left out" in capsys.readouterr().err


class TestClasses:
    def folders(self, root: Path, *names: str) -> Path:
        for level, name in enumerate(names):
            put(root / name / "0.png", level)
        return root

    def names(self, root: Path, given: object = None) -> dict[int, str]:
        if given is not None:
            (root / "classes.json").write_text(json.dumps(given), encoding="utf-8")
        return seen(resolve(f"folder:{root}", "eval"))

    def test_numbers_count_as_numbers(self, tmp_path: Path):
        numbers = [str(i) for i in range(12)]
        names = [f"class{i}" for i in range(12)]
        self.folders(tmp_path, *numbers)
        assert self.names(tmp_path, names) == dict(enumerate(names))
        assert self.names(tmp_path, dict(zip(numbers, names, strict=True))) == dict(
            enumerate(names)
        )
        (tmp_path / "classes.json").unlink()
        assert self.names(tmp_path) == dict(enumerate(numbers))
        (tmp_path / "classnames.txt").write_text("\n".join(names))
        assert self.names(tmp_path) == dict(enumerate(names))

    def test_numbers_from_one_and_with_gaps(self, tmp_path: Path):
        self.folders(tmp_path / "one", *[str(i + 1) for i in range(11)])
        names = [f"c{i}" for i in range(11)]
        assert self.names(tmp_path / "one", names) == dict(enumerate(names))
        self.folders(tmp_path / "gap", "0", "2", "10")
        assert self.names(tmp_path / "gap", names) == {0: "c0", 1: "c2", 2: "c10"}
        for given in (["a", "b", "c"], ["a", "b"]):
            with pytest.raises(UserError, match='"folder": "class name"'):
                self.names(tmp_path / "gap", given)

    def test_a_list_of_the_folders_names_goes_by_name(self, tmp_path: Path):
        self.folders(tmp_path, "bird", "cat", "polar_bear")
        right = {0: "Bird", 1: "cat", 2: "polar bear"}
        assert self.names(tmp_path, ["polar bear", "cat", "Bird"]) == right
        assert self.names(tmp_path, ["ant", "polar bear", "cat", "Bird"]) == right
        with pytest.raises(UserError, match="lists 'cat' as number 0"):
            self.names(tmp_path, ["cat", "animal", "beast"])

    def test_a_list_for_folders_that_sort_in_two_ways_is_refused(self, tmp_path: Path):
        self.folders(tmp_path, *[f"c{i}" for i in range(11)])
        with pytest.raises(UserError, match=r"sort in two ways \(c0, c1"):
            self.names(tmp_path, [f"name {i}" for i in range(11)])

    def test_wordnet_ids_are_called_by_imagenets_names(self, tmp_path: Path):
        ids = [wnids()[i] for i in (0, 7, 999)]
        self.folders(tmp_path / "known", *ids)
        expected = {k: imagenet_class_names()[i] for k, i in enumerate((0, 7, 999))}
        assert self.names(tmp_path / "known") == expected
        assert resolve(f"folder:{tmp_path}/known", "eval").note["wnids"] == ids
        self.folders(tmp_path / "unknown", *ids, "n99999999")
        with pytest.raises(UserError, match=r'n99999999 is a WordNet id .*classes\.json, {"n9999'):
            self.names(tmp_path / "unknown")
        given = dict(zip([*ids, "n99999999"], "abcd", strict=True))
        assert self.names(tmp_path / "unknown", given) == dict(enumerate("abcd"))
        self.folders(tmp_path / "dogs", "n02085620-Chihuahua", "n02085782-Japanese_spaniel")
        assert self.names(tmp_path / "dogs") == {0: "Chihuahua", 1: "Japanese spaniel"}

    def test_composed_and_decomposed_names_are_one_class(self, tmp_path: Path):
        apart = unicodedata.normalize("NFD", "café")
        put(tmp_path / "train" / "café" / "0.png", 0)
        put(tmp_path / "train" / apart / "1.png", 1)
        put(tmp_path / "train" / "tea" / "0.png", 2)
        put(tmp_path / "test" / apart / "0.png", 3)
        spec = f"folder:{tmp_path}"
        assert seen(resolve(spec, "train", val_fraction=0)) == {0: "café", 1: "café", 2: "tea"}
        assert seen(resolve(spec, "test")) == {3: "café"}
        (tmp_path / "classes.json").write_text(json.dumps({apart: "coffee", "tea": "tea"}))
        assert seen(resolve(spec, "test")) == {3: "coffee"}

    def test_two_classes_of_one_name_are_told(self, tmp_path: Path, capsys):
        self.folders(tmp_path, "a", "b", "c")
        self.names(tmp_path, ["crane", "dog", "crane"])
        assert "classes 0 and 2 are both called 'crane'" in capsys.readouterr().err
