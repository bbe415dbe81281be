"""Folders as people have them: which are read, as what, and which are refused with what words."""

import csv
import json
import os
import shutil
import unicodedata
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from grace_geom.data import ImageSet, resolve
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, encoded, pictures, turns, write_folder


def grey(level: int) -> bytes:
    """A picture whose level tells which it is."""
    return encoded(np.full((4, 4, 3), level, dtype=np.uint8))


def put(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(grey(level))
    return path


def seen(image_set: ImageSet) -> dict[int, str]:
    """Level of each picture -> the name of the class it is read as."""
    return {
        int(np.asarray(image_set.fetch(i))[0, 0, 0]): image_set.class_names[label]
        for i, label in enumerate(image_set.labels)
    }


def table(path: Path, *rows: tuple[str, ...], mark: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=mark).writerows(rows)


def tree(root: Path, train: str = "train", test: str = "test") -> Path:
    """Levels 0 and 1 are cat and dog of train, 10 and 11 those of test."""
    for part, base in ((train, 0), (test, 10)):
        for label, name in enumerate(("cat", "dog")):
            put(root / part / name / "0.png", base + label)
    return root


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


class TestTables:
    def flat(self, root: Path, n: int = 4, prefix: str = "") -> Path:
        for level in range(n):
            put(root / f"{prefix}{level}.png", level)
        return root

    ROWS = (("0.png", "dog"), ("1.png", "cat"), ("2.png", "dog"), ("3.png", "cat"))
    RIGHT: ClassVar = {0: "dog", 1: "cat", 2: "dog", 3: "cat"}

    @pytest.mark.parametrize(
        "name, mark, header",
        [
            ("metadata.csv", ",", ("file_name", "label")),
            ("labels.csv", ",", ("filename", "class")),
            ("labels.tsv", "\t", ("image", "category")),
            ("labels.csv", ";", ("Image", "Label")),
            ("birds.csv", ",", ("id", "breed")),
        ],
    )
    def test_a_table_beside_the_pictures(self, tmp_path: Path, name, mark, header):
        table(self.flat(tmp_path) / name, header, *self.ROWS, mark=mark)
        found = resolve(f"folder:{tmp_path}", "eval")
        assert seen(found) == self.RIGHT and found.class_names == ("cat", "dog")

    @pytest.mark.parametrize("home", ["images", "Images", "pics"])
    def test_a_table_beside_a_folder_of_pictures(self, tmp_path: Path, home: str):
        self.flat(tmp_path / home)
        for names in (self.ROWS, [(name.removesuffix(".png"), c) for name, c in self.ROWS]):
            table(tmp_path / "labels.csv", ("file", "label"), *names)
            assert seen(resolve(f"folder:{tmp_path}", "eval")) == self.RIGHT

    def test_splits_by_folder_column_path_and_table(self, tmp_path: Path):
        right = {"train": {0: "dog", 1: "cat"}, "test": {2: "dog", 3: "cat"}}
        parts = {"train": self.ROWS[:2], "test": self.ROWS[2:]}
        for part, rows in parts.items():
            for name, _ in rows:
                for top in ("by_folder", "by_path", "by_table"):
                    put(tmp_path / top / part / name, int(name[0]))
            table(tmp_path / "by_folder" / part / "metadata.csv", ("file_name", "label"), *rows)
            table(tmp_path / "by_table" / f"{part}.csv", ("file_name", "label"), *rows)
        paths = [(f"{part}/{name}", c) for part, rows in parts.items() for name, c in rows]
        table(tmp_path / "by_path" / "metadata.csv", ("file_name", "label"), *paths)
        self.flat(tmp_path / "by_column" / "images")
        rows3 = [(name, c, part) for part, rows in parts.items() for name, c in rows]
        table(tmp_path / "by_column" / "labels.csv", ("file", "label", "split"), *rows3)
        for top in ("by_folder", "by_path", "by_table", "by_column"):
            spec = f"folder:{tmp_path}/{top}"
            assert seen(resolve(spec, "train", val_fraction=0)) == right["train"], top
            assert seen(resolve(spec, "test")) == right["test"], top

    def test_json_lines_numbers_and_a_class_list(self, tmp_path: Path):
        lines = [json.dumps({"file_name": f"{i}.png", "label": i % 2}) for i in range(4)]
        (self.flat(tmp_path) / "metadata.jsonl").write_text("\n".join(lines))
        (tmp_path / "classes.json").write_text('["cat", "dog"]')
        right = {0: "cat", 1: "dog", 2: "cat", 3: "dog"}
        assert seen(resolve(f"folder:{tmp_path}", "eval")) == right

    def test_the_same_name_in_two_splits_is_not_confused(self, tmp_path: Path):
        for part, base in (("train", 0), ("test", 10)):
            for i in range(2):
                put(tmp_path / part / f"{i}.png", base + i)
            rows = (("0.png", "cat"), ("1.png", "dog"))
            table(tmp_path / f"{part}.csv", ("file_name", "label"), *rows)
        assert seen(resolve(f"folder:{tmp_path}", "test")) == {10: "cat", 11: "dog"}
        table(tmp_path / "labels.csv", ("file_name", "label"), ("0.png", "cat"))
        for part in ("train", "test"):
            (tmp_path / f"{part}.csv").unlink()
        with pytest.raises(UserError, match=r"test/0\.png and train/0\.png could be 0\.png"):
            resolve(f"folder:{tmp_path}", "test")

    def test_a_test_table_without_labels_is_left_out_and_told(self, tmp_path: Path, capsys):
        table(
            self.flat(tmp_path / "images").parent / "train.csv", ("image_id", "label"), *self.ROWS
        )
        table(tmp_path / "test.csv", ("image_id",), ("3.png",))
        assert len(resolve(f"folder:{tmp_path}", "eval")) == 4
        assert "test.csv has the columns image_id, expected file_name,label" in (
            capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        "rows, says",
        [
            ([("file_name", "label"), ("9.png", "a")], r"line 2: no picture is 9\.png"),
            ([("file_name", "label"), ("0.png", "")], "line 2: no label"),
            ([("file_name", "label"), ("", "a")], "line 2: no file_name"),
            ([("file_name", "label"), ("0.png", "a"), ("./0.png", "b")], "line 3: .* twice"),
            ([("file_name", "label"), ("../0.png", "a")], "line 2: no picture"),
            ([("file_name", "label"), ("/etc/passwd", "a")], "line 2: no picture"),
            ([("file_name", "label"), ("0.png", "a", "b")], "3 cells for 2 columns"),
            ([("file_name", "text"), ("0.png", "a dog")], "has the columns file_name, text"),
            ([("0.png", "a"), ("1.png", "b")], r"has the columns 0\.png, a, expected"),
            ([], "has the columns nothing"),
            ([("file_name", "label", "split"), ("0.png", "a", "x")], "the split is 'x'"),
        ],
    )
    def test_rows_that_cannot_be_are_named(self, tmp_path: Path, rows, says: str):
        table(self.flat(tmp_path / "set") / "metadata.csv", *rows)
        put(tmp_path / "0.png")
        with pytest.raises(UserError, match=says):
            resolve(f"folder:{tmp_path}/set", "eval")

    def test_class_folders_stay_what_they_are_beside_other_tables(self, tmp_path: Path):
        write_folder(tmp_path, pictures(9), turns(9))
        (tmp_path / "labels.csv").write_bytes(b"id,caf\xe9\n0,x\n")
        (tmp_path / "bear" / "sizes.csv").write_text("file,width\n0001.png,8\n")
        assert resolve(f"folder:{tmp_path}", "eval").class_names == CLASSES

    @pytest.mark.parametrize("names", ["class_name", "Class Name", "category", "label_name"])
    @pytest.mark.parametrize("numbers", ["label", "target", "class_id"])
    def test_names_win_over_numbers(self, tmp_path: Path, names: str, numbers: str):
        number = {"dog": "0", "cat": "1"}
        for header, order in (((numbers, names), 1), ((names, numbers), -1)):
            rows = [(file, *(number[c], c)[::order]) for file, c in self.ROWS]
            table(self.flat(tmp_path) / "metadata.csv", ("file_name", *header), *rows)
            found = resolve(f"folder:{tmp_path}", "eval")
            assert seen(found) == self.RIGHT and found.class_names == ("cat", "dog")

    def test_numbers_stay_where_there_are_no_names(self, tmp_path: Path):
        rows = [(file, str(i % 2), "") for i, (file, _) in enumerate(self.ROWS)]
        table(self.flat(tmp_path) / "metadata.csv", ("file_name", "label", "class_name"), *rows)
        (tmp_path / "classes.json").write_text('["cat", "dog"]')
        right = {0: "cat", 1: "dog", 2: "cat", 3: "dog"}
        assert seen(resolve(f"folder:{tmp_path}", "eval")) == right

    @pytest.mark.parametrize(
        "cells, says",
        [
            ((("0", "a"), ("0", "b"), ("1", "c"), ("1", "c")), "label '0' goes with class 'a' and"),
            ((("0", "a"), ("1", "a"), ("2", "c"), ("2", "c")), "class 'a' goes with label '0' and"),
            ((("x", "a"), ("x", "b"), ("y", "c"), ("y", "c")), "label 'x' goes with class 'a' and"),
        ],
    )
    def test_two_columns_of_labels_that_disagree_are_refused(self, tmp_path, cells, says: str):
        rows = [(f"{i}.png", *pair) for i, pair in enumerate(cells)]
        table(self.flat(tmp_path) / "metadata.csv", ("file_name", "label", "class"), *rows)
        with pytest.raises(UserError, match=says):
            resolve(f"folder:{tmp_path}", "eval")


class TestBeside:
    """Tables and folders that both speak."""

    def test_pictures_of_a_split_that_no_table_lists_are_told(self, tmp_path: Path, capsys):
        for part, base in (("train", 0), ("test", 10)):
            for i in range(8):
                put(tmp_path / part / f"{i}.png", base + i)
        rows = [(f"train/{i}.png", ("cat", "dog")[i % 2]) for i in range(8)]
        table(tmp_path / "metadata.csv", ("file_name", "label"), *rows)
        assert max(seen(resolve(f"folder:{tmp_path}", "test"))) < 10
        err = capsys.readouterr().err
        assert "8 pictures (test: 8) stand in no row of the table and are left out" in err
        assert "the test images are drawn from those listed" in err

    @pytest.mark.parametrize("how", ["folders", "table"])
    def test_a_split_with_labels_of_its_own_is_read(self, tmp_path: Path, how: str, capsys):
        rows = [(f"train/{i}.png", ("cat", "dog")[i % 2]) for i in range(4)]
        for i in range(4):
            put(tmp_path / "train" / f"{i}.png", i)
        table(tmp_path / "metadata.csv", ("file_name", "label"), *rows)
        for i, name in enumerate(("cat", "dog")):
            put(tmp_path / "test" / (name if how == "folders" else "") / f"{i}.png", 10 + i)
        if how == "table":
            own = (("file_name", "label"), ("0.png", "cat"), ("1.png", "dog"))
            table(tmp_path / "test" / "metadata.csv", *own)
        spec = f"folder:{tmp_path}"
        assert seen(resolve(spec, "test")) == {10: "cat", 11: "dog"}
        right = {0: "cat", 1: "dog", 2: "cat", 3: "dog"}
        assert seen(resolve(spec, "train", val_fraction=0)) == right
        assert "left out" not in capsys.readouterr().err

    def classes(self, root: Path) -> Path:
        for i in range(8):
            put(root / ("cat", "dog")[i % 2] / f"{i}.png", i)
        return root

    LISTS: ClassVar = {"train": [0, 1, 2, 3], "test": [4, 5]}

    @pytest.mark.parametrize("labels", [("cat", "dog"), ("0", "1"), ("Katze", "Hund")])
    @pytest.mark.parametrize("names", [("train", "test"), ("train_labels", "validation")])
    def test_lists_of_splits_beside_class_folders_are_read(self, tmp_path, labels, names, capsys):
        self.classes(tmp_path)
        for name, ids in zip(names, self.LISTS.values(), strict=True):
            rows = [(f"{('cat', 'dog')[i % 2]}/{i}.png", labels[i % 2]) for i in ids]
            table(tmp_path / f"{name}.csv", ("file_name", "label"), *rows)
        train = resolve(f"folder:{tmp_path}", "train", val_fraction=0)
        assert seen(train) == {0: "cat", 1: "dog", 2: "cat", 3: "dog"}
        assert seen(resolve(f"folder:{tmp_path}", "test")) == {4: "cat", 5: "dog"}
        assert "2 pictures (cat: 1, dog: 1) stand in no row" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["train", "labels"])
    def test_tables_that_give_class_folders_other_labels_are_refused(self, tmp_path, name):
        self.classes(tmp_path)
        rows = [(f"{('cat', 'dog')[i % 2]}/{i}.png", "ab"[i // 4]) for i in range(8)]
        table(tmp_path / f"{name}.csv", ("file_name", "label"), *rows)
        with pytest.raises(UserError, match=r"(train|labels)\.csv .*'cat' .*'a' and 'b'"):
            resolve(f"folder:{tmp_path}", "eval")

    @pytest.mark.parametrize(
        "rows, says",
        [
            ([("path",), ("cat/0.png",)], "has the columns path"),
            ([("file_name", "label"), ("cat/9.png", "cat")], "no picture is cat/9.png"),
            ([("file_name", "label"), ("cat/0.png", "cat")], "lists 1 picture and no other"),
        ],
    )
    def test_lists_that_cannot_be_read_are_told(self, tmp_path, rows, says: str, capsys):
        table(self.classes(tmp_path) / "train.csv", *rows)
        assert len(resolve(f"folder:{tmp_path}", "eval")) == 8
        err = capsys.readouterr().err
        assert "train.csv is left out" in err and says in err

    def test_lists_beside_folders_of_splits_are_told_unless_they_say_the_same(
        self, tmp_path: Path, capsys
    ):
        tree(tmp_path / "same")
        tree(tmp_path / "other")
        for part, other in (("train", "test"), ("test", "train")):
            rows = [(f"{part}/{name}/0.png", name) for name in ("cat", "dog")]
            table(tmp_path / "same" / f"{part}.csv", ("file_name", "label"), *rows)
            table(tmp_path / "other" / f"{other}.csv", ("file_name", "label"), *rows)
        assert seen(resolve(f"folder:{tmp_path}/same", "test")) == {10: "cat", 11: "dog"}
        assert "left out" not in capsys.readouterr().err
        with pytest.raises(UserError, match=r"csv lists .* for .*, which lies in"):
            resolve(f"folder:{tmp_path}/other", "test")
