"""Folders with a table of labels: which are read, as what, and which are refused."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from grace_geom.data import resolve
from grace_geom.errors import UserError
from tests.data.folders import put, seen, table, tree
from tests.data.makers import CLASSES, pictures, turns, write_folder


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
