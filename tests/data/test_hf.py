"""``hf:``: folders, parquet, arrow and streams through Hugging Face's own library, where it is
installed.
"""

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from grace_geom.data import resolve
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.keys import BLOCK, content_key, file_key, keys_of, pixel_keys_of
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.data.specs import check_spec
from grace_geom.errors import UserError
from tests.data.folders import grey, put, seen, tree
from tests.data.makers import encoded, pictures

installed = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="wants Hugging Face's datasets"
)


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with a cache of its own and no network."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return datasets


def rows_of(datasets: Any, levels: list[int], labels: list[int], names=("dog", "cat"), **more: Any):
    """A table of grey pictures with encoded bytes and declared classes."""
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))} | {
        name: datasets.Value("string") for name in more
    }
    return datasets.Dataset.from_dict(
        {"image": [{"bytes": grey(k), "path": f"{k}.png"} for k in levels], "label": labels} | more,
        features=datasets.Features(features),
    )


RIGHT = {"train": {0: "dog", 1: "cat"}, "test": {10: "dog", 11: "cat"}}


def written(datasets: Any, root: Path, how: str) -> str:
    """The same four pictures in two splits, in one of the forms that the library writes."""
    both = datasets.DatasetDict(
        {"train": rows_of(datasets, [0, 1], [0, 1]), "test": rows_of(datasets, [10, 11], [0, 1])}
    )
    if how == "save_to_disk":
        both.save_to_disk(root / "d")
    else:
        (root / "d").mkdir()
        for split, rows in both.items():
            rows.to_parquet(root / "d" / f"{split}-00000-of-00001.parquet")
    return f"hf:{root / 'd'}"


@installed
@pytest.mark.parametrize("how", ["save_to_disk", "parquet"])
def test_splits_pictures_and_the_order_of_declared_classes(datasets, tmp_path: Path, how: str):
    spec = written(datasets, tmp_path, how)
    assert seen(resolve(spec, "train", val_fraction=0)) == RIGHT["train"]
    test = resolve(spec, "test")
    assert seen(test) == RIGHT["test"] and test.class_names == ("dog", "cat")
    assert test.note["columns"] == ["image", "label"] and test.name == "d"
    assert seen(resolve(f"{spec}:train", "eval")) == RIGHT["train"]
    again = pickle.loads(pickle.dumps(test.fetch))
    assert np.array_equal(np.asarray(again(1)), np.asarray(test.fetch(1)))


@installed
def test_validation_is_held_out_where_there_is_a_test_and_two_names_of_one_split_are_refused(
    datasets, tmp_path: Path
):
    one, two, three = (rows_of(datasets, [k, k + 1], [0, 1]) for k in (0, 10, 20))
    both = datasets.DatasetDict({"train": one, "validation": two, "test": three})
    both.save_to_disk(tmp_path / "d")
    assert set(seen(resolve(f"hf:{tmp_path}/d", "val"))) == {10, 11}
    datasets.DatasetDict({"validation": one, "dev": two}).save_to_disk(tmp_path / "twice")
    with pytest.raises(UserError, match="has the splits validation, dev: name the one"):
        resolve(f"hf:{tmp_path}/twice", "eval")


@installed
def test_a_folder_of_pictures_has_the_keys_and_splits_of_folder(datasets, tmp_path: Path):
    root = tmp_path / "photos"
    for level in range(24):
        put(root / ("cat", "dog")[level % 2] / f"{level:02d}.png", level)
    ours, theirs = (resolve(f"{form}:{root}", "train") for form in ("folder", "hf"))
    assert seen(theirs) == seen(ours) and 0 < len(ours) < 24
    assert sorted(keys_of(theirs)) == sorted(keys_of(ours))
    two = tree(tmp_path / "two")
    assert seen(resolve(f"hf:{two}", "test")) == {10: "cat", 11: "dog"}


@installed
def test_rows_have_the_keys_of_the_files_they_were_made_of(datasets, tmp_path: Path):
    spec = written(datasets, tmp_path, "save_to_disk")
    both = [resolve(f"folder:{tree(tmp_path / 'f')}", "test"), resolve(spec, "test")]
    ours, theirs = (sorted(keys_of(found)) for found in both)
    assert ours == theirs
    ours, theirs = (sorted(pixel_keys_of(found)) for found in both)  # type: ignore[arg-type]
    assert ours == theirs


@installed
def test_a_stream_is_read_whole_and_needs_its_split(datasets, tmp_path: Path):
    spec = written(datasets, tmp_path, "parquet")
    assert seen(resolve(f"{spec}:test:stream", "eval")) == RIGHT["test"]
    file = f"hf:{tmp_path}/d/train-00000-of-00001.parquet"
    stream, mapped = (resolve(f"{file}{end}", "eval") for end in (":stream", ""))
    assert seen(stream) == seen(mapped) == RIGHT["train"]
    assert keys_of(stream).tolist() == keys_of(mapped).tolist()
    files = [f"hf:{tmp_path}/d/{part}-00000-of-00001.parquet" for part in ("train", "test")]
    assert len({resolve(one, "eval").content for one in files}) == 2
    other = resolve(f"{spec}:test:stream", "eval")
    assert other.content != stream.content, "the same labels, other pictures"
    with pytest.raises(UserError, match="name the split that is read, one of train, test, before"):
        resolve(f"{spec}:stream", "eval")


@installed
def test_levels_of_16_bits_are_kept_and_dim_sets_told(datasets, tmp_path: Path):
    deep = np.array([[0, 65535], [32768, 257]], dtype=np.uint16)
    dim = np.array([[0, 4000], [100, 7]], dtype=np.uint16)
    for name, picture in (("deep", deep), ("dim", dim)):
        Image.fromarray(picture).save(tmp_path / "x.png")
        row = {"bytes": (tmp_path / "x.png").read_bytes(), "path": None}
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
        rows = {"image": [row, row], "label": ["b", "a"]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / name)
    found = resolve(f"hf:{tmp_path}/deep", "eval")
    assert np.asarray(found.fetch(0))[..., 0].tolist() == [[0, 255], [128, 1]]
    assert found.class_names == ("a", "b") and found.labels.tolist() == [1, 0]
    assert "told" not in found.note
    (told,) = resolve(f"hf:{tmp_path}/dim", "eval").note["told"]
    assert "no value exceeds 4000 of 65535" in told


@installed
def test_class_names_from_wordnet_ids_and_a_list(datasets, tmp_path: Path):
    ids = (wnids()[9], wnids()[4])
    rows_of(datasets, [0, 1], [0, 1], names=ids).save_to_disk(tmp_path / "d")
    found = resolve(f"hf:{tmp_path}/d", "eval")
    assert found.class_names == (imagenet_class_names()[9], imagenet_class_names()[4])
    assert found.note["wnids"] == list(ids)
    (tmp_path / "d" / "classes.json").write_text('["dog", "cat"]')
    assert seen(resolve(f"hf:{tmp_path}/d", "eval")) == RIGHT["train"]
    (tmp_path / "d" / "classes.json").write_text('["dog"]')
    with pytest.raises(UserError, match=r"classes.json has 1 class names for 2 classes"):
        resolve(f"hf:{tmp_path}/d", "eval")


@installed
def test_what_cannot_be_read_is_told(datasets, tmp_path: Path):
    spec = written(datasets, tmp_path, "save_to_disk")
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(tmp_path / "t")
    rows_of(datasets, [0, 1], [-1, -1]).save_to_disk(tmp_path / "hidden")
    odd = datasets.DatasetDict({"a": rows_of(datasets, [0], [0]), "b": rows_of(datasets, [1], [1])})
    odd.save_to_disk(tmp_path / "odd")
    (tmp_path / "empty").mkdir()
    broken = rows_of(datasets, [0, 1], [0, 1]).cast_column("image", datasets.Image(decode=False))
    broken = broken.map(lambda row: {"image": {"bytes": row["image"]["bytes"][:40], "path": None}})
    broken.save_to_disk(tmp_path / "broken")
    for asked, says in (
        (f"{spec}:trian", "no split 'trian'; did you mean 'train'"),
        (f"{spec}:train:stream", "save_to_disk wrote needs no copy"),
        (f"{spec}:a:b", "write hf:NAME_OR_DIR"),
        (f"hf:{tmp_path}/t", r"columns text \(Value\), label \(Value\): expected one of pictures"),
        (f"hf:{tmp_path}/hidden", r"2 of 2 rows have no label \(row 0\): name a split"),
        (f"hf:{tmp_path}/odd", "has the splits a, b: name the one that is meant, hf:.*odd:a"),
        (f"hf:{tmp_path}/empty", "empty cannot be read by datasets"),
        ("hf:nobody/nothing", "no file or folder nobody/nothing here, and .* cannot be reached"),
    ):
        with pytest.raises(UserError, match=says):
            resolve(asked, "eval")
    found = resolve(f"hf:{tmp_path}/broken", "eval")
    with pytest.raises(UserError, match=r"broken, row 1: not a readable image, 40 bytes"):
        found.fetch(1)


def test_without_the_library_the_extra_is_named_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for ask in (check_spec, lambda spec: resolve(spec, "train")):
        with pytest.raises(UserError, match=r"pip install 'grace_geom\[datasets\]'"):
            ask(f"hf:{tmp_path}")


def test_a_path_that_is_not_there_is_no_name_on_the_hub(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    (tmp_path / "photos").mkdir()
    for spec, says in (
        (f"hf:{tmp_path}/photo", "no such file or folder.*did you mean 'photos'"),
        ("hf:rows.parquet", "no such file or folder: rows.parquet"),
        ("hf:", "names no data set: write hf:NAME_OR_DIR"),
    ):
        with pytest.raises(UserError, match=says):
            check_spec(spec)
    check_spec(f"hf:{tmp_path}/photos:train")


@pytest.mark.parametrize("side", [4, 200])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_bytes_in_a_table_have_the_key_of_their_file(tmp_path: Path, kind: str, side: int):
    content = encoded(pictures(1, side=side)[0], kind)
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(content)
    assert content_key(content, path.name) == file_key(str(path))
    assert (len(content) > 3 * BLOCK) == (side == 200)


@installed
def test_names_are_composed_and_every_class_needs_one(datasets, tmp_path: Path):
    decomposed = ("cafe\u0301", "cat")
    rows_of(datasets, [0, 1], [0, 1], names=decomposed).save_to_disk(tmp_path / "d")
    assert resolve(f"hf:{tmp_path}/d", "eval").class_names == ("caf\u00e9", "cat")
    (tmp_path / "d" / "classes.json").write_text('{"cat": "a cat"}')
    with pytest.raises(UserError, match=r"classes.json has no name for 'caf\u00e9'"):
        resolve(f"hf:{tmp_path}/d", "eval")
    table = rows_of(datasets, [0, 1], [0, 1]).remove_columns("label")
    table.add_column("label", [" e\u0301", "a "]).save_to_disk(tmp_path / "text")
    found = resolve(f"hf:{tmp_path}/text", "eval")
    assert found.class_names == ("a", "\u00e9") and found.labels.tolist() == [1, 0]


@installed
def test_a_test_split_alone_is_not_trained_on(datasets, tmp_path: Path):
    rows = rows_of(datasets, [0, 1], [0, 1])
    datasets.DatasetDict({"test": rows}).save_to_disk(tmp_path / "d")
    assert len(resolve(f"hf:{tmp_path}/d", "test")) == 2
    with pytest.raises(UserError, match="has only a test split"):
        resolve(f"hf:{tmp_path}/d", "train")
