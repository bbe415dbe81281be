"""``csv:FILE``: pictures anywhere, labels in a table."""

from pathlib import Path

import pytest

from grace_geom.data import resolve
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.keys import keys_of
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.data.specs import check_spec
from grace_geom.errors import UserError
from grace_geom.evaluation.measures import short_name
from tests.data.folders import put, seen, table


def apart(root: Path, n: int = 4) -> list[str]:
    """Pictures beside, above and outside of the table's folder, as the table names them."""
    places = {"0.png": "tables/0.png", "../1.png": "1.png", "../a/b/2.png": "a/b/2.png"}
    for level, place in enumerate(places.values()):
        put(root / place, level)
    return [*places, str(put(root / ".hidden" / "3.png", 3))][:n]


def test_relative_paths_start_at_the_table_and_absolute_ones_lead_anywhere(tmp_path: Path):
    names = apart(tmp_path)
    rows = zip(names, ("dog", "cat", "dog", "cat"), strict=True)
    table(tmp_path / "tables" / "all.csv", ("path", "label"), *rows)
    found = resolve("csv:tables/all.csv", "eval", data_root=tmp_path)
    assert seen(found) == {0: "dog", 1: "cat", 2: "dog", 3: "cat"}
    assert found.name == "all" and found.class_names == ("cat", "dog")
    folder = resolve(f"folder:{_by_class(tmp_path / 'f')}", "eval")
    assert sorted(keys_of(found)) == sorted(keys_of(folder)), "the same pictures, the same sides"


def _by_class(root: Path) -> Path:
    for level in range(4):
        put(root / ("dog", "cat")[level % 2] / f"{level}.png", level)
    return root


def test_splits_by_column_and_by_two_tables(tmp_path: Path):
    names = apart(tmp_path)
    rows = list(zip(names, ("dog", "cat") * 2, strict=True))
    home = tmp_path / "tables"
    parts = ("train", "train", "test", "test")
    split_rows = [(*row, part) for row, part in zip(rows, parts, strict=True)]
    table(home / "one.tsv", ("image", "class", "split"), *split_rows, mark="\t")
    for name, part in (("a.csv", rows[:2]), ("b.csv", rows[2:])):
        table(home / name, ("file_name", "label"), *part)
    for spec in (f"csv:{home}/one.tsv", f"csv:{home}/a.csv+{home}/b.csv"):
        assert seen(resolve(spec, "train", val_fraction=0)) == {0: "dog", 1: "cat"}
        assert seen(resolve(spec, "test")) == {2: "dog", 3: "cat"}
    assert short_name(spec) == resolve(spec, "test").name == "b"


def test_class_names_from_wordnet_ids_and_from_a_list(tmp_path: Path):
    names, ids = apart(tmp_path, 2), (wnids()[7], wnids()[3])
    path = tmp_path / "tables" / "t.csv"
    table(path, ("path", "label"), *zip(names, ids, strict=True))
    found = resolve(f"csv:{path}", "eval")
    assert found.class_names == (imagenet_class_names()[3], imagenet_class_names()[7])
    assert found.note["wnids"] == sorted(ids)
    table(path, ("path", "label"), *zip(names, "10", strict=True))
    path.with_suffix(".classes.json").write_text('["cat", "dog"]')
    assert seen(resolve(f"csv:{path}", "eval")) == {0: "dog", 1: "cat"}


@pytest.mark.parametrize(
    "rows, says",
    [
        ([("path", "label")], "t.csv has no rows: expected one of files"),
        ([("a", "b"), ("0.png", "x")], "has the columns a, b: expected one of files"),
        ([("path", "label"), ("9.png", "x")], "line 2: no picture is 9.png"),
        ([("path", "label"), ("0.png", "x"), ("ABS", "y")], "line 3: .*0.png is listed twice"),
        ([("path", "label"), ("0.png", "")], "line 2: no label"),
        ([("path", "label"), ("0.png", "x"), ("../1.png", "x")], "has one class only"),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path: Path, rows, says: str):
    apart(tmp_path)
    path = tmp_path / "tables" / "t.csv"
    table(path, *[(str(path.parent / "0.png") if a == "ABS" else a, b) for a, b in rows])
    with pytest.raises(UserError, match=says):
        resolve(f"csv:{path}", "eval")


def test_a_table_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path):
    table(tmp_path / "birds.csv", ("path", "label"))
    for spec, says in (
        (f"csv:{tmp_path}/bird.csv", "did you mean 'birds.csv'"),
        ("csv:", "names no file: write csv:FILE"),
    ):
        with pytest.raises(UserError, match=says):
            check_spec(spec)
    with pytest.raises(UserError, match=r"did you mean 'csv:.*birds\.csv'"):
        check_spec(f"{tmp_path}/birds.csv")


def test_absolute_paths_hold_where_the_table_is_reached_through_a_link(tmp_path: Path):
    names = [str(put(tmp_path / f"{level}.png", level)) for level in range(2)]
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    table(tmp_path / "deep" / "er" / "t.csv", ("path", "label"), *zip(names, "ab", strict=True))
    assert seen(resolve(f"csv:{tmp_path}/link/t.csv", "eval")) == {0: "a", 1: "b"}
