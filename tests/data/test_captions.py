"""Captions beside pictures, in shards and tables: read where they are asked for, drawn alike
however an epoch is read.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from grace_geom.batch import joined
from grace_geom.data import ImageSet, loader, resolve
from grace_geom.data.captions import NAMES
from grace_geom.distributed import World
from grace_geom.errors import UserError
from tests.data.folders import put, table
from tests.data.makers import encoded, pictures, turns, write_npz, write_tar

N = 12


def shard(folder: Path, captions: list[str | None], kind: str = "txt", labels: bool = True) -> str:
    """A shard of captioned pictures; returns its SPEC."""
    members = []
    for i, (image, text) in enumerate(zip(pictures(len(captions)), captions, strict=True)):
        members.append((f"{i:03d}.png", encoded(image)))
        if labels:
            members.append((f"{i:03d}.cls", str(i % 3).encode()))
        if text is not None:
            members.append((f"{i:03d}.{kind}", text.encode()))
    folder.mkdir(parents=True, exist_ok=True)
    write_tar(folder / "a.tar", members)
    if labels:
        (folder / "classnames.txt").write_text("apple\nbear\ncar\n")
    return f"wds:{folder}/a.tar"


def several(n: int = N) -> list[str]:
    """One, two or three captions an image, which say whose they are."""
    return ["\n".join(f"picture {i}, said {k}" for k in range(1 + i % 3)) for i in range(n)]


def read(spec: str, split: str = "eval", **more) -> ImageSet:
    return resolve(spec, split, captions=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        ("txt", "\ufeffa red café\r\n\n a bear \n", ("a red café", "a bear")),
        ("json", '{"caption": "a bear", "text": "not this"}', ("a bear",)),
        ("json", '{"text": ["a bear", " a car"], "url": "x"}', ("a bear", "a car")),
    ],
)
@pytest.mark.parametrize("labels", [True, False])
def test_shards(tmp_path: Path, kind: str, text: str, wanted: tuple[str, ...], labels: bool):
    found = read(shard(tmp_path, [text] * 4, kind, labels))
    assert found.captions == (wanted,) * 4 and found.labelled is labels
    assert found.labels.tolist() == (turns(4) if labels else np.full(4, -1)).tolist()
    assert found.take([2, 0]).captions == (wanted,) * 2


def test_a_txt_goes_before_a_json_and_nothing_is_read_unasked(tmp_path: Path):
    write_tar(
        tmp_path / "a.tar",
        [
            ("0.png", encoded(pictures(1)[0])),
            ("0.txt", b"a bear"),
            ("0.json", b'{"caption": "a car", "label": 1}'),
        ],
    )
    (tmp_path / "classnames.txt").write_text("car\nbear\n")
    assert read(f"wds:{tmp_path}/a.tar").captions == (("a bear",),)
    assert resolve(f"wds:{tmp_path}/a.tar", "eval").captions is None
    damaged = shard(tmp_path / "b", ["x"], "json")
    assert len(resolve(damaged, "eval")) == 1
    with pytest.raises(UserError, match=r"a.tar, member 000.json: not JSON"):
        read(damaged)


def test_tables_with_and_without_labels(tmp_path: Path):
    for level in range(3):
        put(tmp_path / f"{level}.png", level)
    rows = [
        ("2.png", "cat", "a cat\nanother cat"),
        ("0.png", "dog", "a dog"),
        ("1.png", "cat", "?"),
    ]
    table(tmp_path / "all.csv", ("path", "label", "caption"), *rows)
    found = read(f"csv:{tmp_path}/all.csv")
    assert found.captions == (("?",), ("a cat", "another cat"), ("a dog",))
    assert found.labels.tolist() == [0, 0, 1] and found.class_names == ("cat", "dog")
    said = [{"file_name": a, "text": [b, c]} for a, b, c in rows]
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, said)))
    found = read(f"csv:{tmp_path}/some.jsonl")
    assert found.captions == (("dog", "a dog"), ("cat", "?"), ("cat", "a cat", "another cat"))
    assert not found.labelled and found.class_names == ()
    with pytest.raises(UserError, match=r"one of labels .*a caption alone is enough to train flyp"):
        resolve(f"csv:{tmp_path}/some.jsonl", "eval")


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_files_and_captions_alone_has_no_classes(tmp_path: Path, name: str):
    for level in range(2):
        put(tmp_path / f"{level}.png", level)
    table(tmp_path / "all.csv", ("file_name", name), ("0.png", "a dog"), ("1.png", "a cat"))
    found = read(f"csv:{tmp_path}/all.csv")
    assert found.captions == (("a dog",), ("a cat",))
    assert not found.labelled and found.class_names == ()
    with pytest.raises(UserError, match="a caption alone is enough"):
        resolve(f"csv:{tmp_path}/all.csv", "eval")


@pytest.mark.parametrize("key", ["label", "caption"])
def test_lines_that_lack_what_the_others_have_are_named(tmp_path: Path, key: str):
    rows = []
    for level in range(3):
        put(tmp_path / f"{level}.png", level)
        rows.append({"file_name": f"{level}.png", "label": "cat", "caption": "a cat"})
    del rows[0][key]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=f"0.png has no {key}, and 1 of 3 images have none"):
        read(f"csv:{tmp_path}/all.jsonl")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ('{"label": "cat", "caption": "a cat"}', "'cat' is not a whole number"),
        ('{"label": 0, "target": 1, "caption": "a cat"}', "its keys disagree"),
        ('{"label": 0.5, "text": "a cat"}', "0.5 is not a whole number"),
    ],
)
def test_a_label_beside_a_caption_is_read_or_refused(tmp_path: Path, record: str, says: str):
    with pytest.raises(UserError, match=f"member 000.json: no label in it .*{says}"):
        read(shard(tmp_path, [record], "json", labels=False))


@pytest.mark.parametrize("record", ['{"label": null, "caption": "a cat"}', '{"caption": "a cat"}'])
def test_no_label_beside_a_caption_is_none(tmp_path: Path, record: str):
    assert not read(shard(tmp_path, [record], "json", labels=False)).labelled


def test_a_caption_that_is_no_text_tells_the_way_out(tmp_path: Path):
    spec = shard(tmp_path, ['{"text": {"en": "a cat"}}'], "json")
    with pytest.raises(UserError, match=r"000.json, text: .* is no caption.*--pair-with prompt"):
        read(spec)


@pytest.mark.parametrize(
    ("captions", "labels", "says"),
    [
        (["a", None, "b"], True, r"001.png has no caption, and 1 of 3 .*--pair-with prompt"),
        (["a", "\n", "b"], True, r"001.png has no caption"),
        (["a", None, "b"], False, r"sample 001 has no label: it needs 001.cls"),
    ],
)
def test_an_image_without_a_caption_is_named(tmp_path: Path, captions, labels: bool, says: str):
    spec = shard(tmp_path, captions, labels=labels)
    with pytest.raises(UserError, match=says):
        read(spec)


def test_some_labels_are_no_labels(tmp_path: Path):
    members = [("0.png", encoded(pictures(1)[0])), ("0.txt", b"a"), ("0.cls", b"0")]
    write_tar(tmp_path / "a.tar", [*members, ("1.png", encoded(pictures(1)[0])), ("1.txt", b"b")])
    (tmp_path / "classnames.txt").write_text("car\nbear\n")
    with pytest.raises(UserError, match=r"1.png has no label, and 1 of 2 images have none"):
        read(f"wds:{tmp_path}/a.tar")
    spec = shard(tmp_path / "b", ["a"] * 3)
    (tmp_path / "b" / "classnames.txt").unlink()
    (tmp_path / "classnames.txt").unlink()
    with pytest.raises(UserError, match="has no class names"):
        read(spec)


def test_captions_alone_measure_nothing(tmp_path: Path):
    told = r"no label.*a caption alone is enough to train flyp and adv-flyp only.*--data, --ood"
    for kind, text in (("txt", "a bear"), ("json", '{"caption": "a bear"}')):
        with pytest.raises(UserError, match=told):
            resolve(shard(tmp_path / kind, [text] * 3, kind, labels=False), "eval")


def said(batches) -> list[list[tuple[int, str]]]:
    return [list(zip(b.index.tolist(), b.captions, strict=True)) for b in batches]


def test_the_draw_depends_on_seed_epoch_and_image_alone(tmp_path: Path):
    images = read(shard(tmp_path, several()))

    def epoch(number: int, size: int = 4, **more) -> list[list[tuple[int, str]]]:
        return said(loader(images, size, 8, train=True, seed=1, epoch=number, **more))

    whole = epoch(0)
    by_image = dict(pair for batch in whole for pair in batch)
    assert all(text in images.captions[i] for i, text in by_image.items())
    assert dict(pair for batch in epoch(0, size=5) for pair in batch) == by_image
    assert epoch(0, workers=1, context="fork") == whole and epoch(0, skip_batches=2) == whole[2:]
    for rank in range(2):
        assert epoch(0, share=World(rank, 2)) == [batch[rank::2] for batch in whole]
    found = {text for number in range(40) for batch in epoch(number) for _, text in batch}
    assert found == {text for row in images.captions for text in row}
    assert next(iter(loader(images, 4, 8, train=False))).captions is None


def test_crops_are_the_same_with_and_without_captions(tmp_path: Path):
    spec = shard(tmp_path, several())
    one, two = (
        next(iter(loader(resolve(spec, "eval", captions=c), N, 8, train=True, seed=3)))
        for c in (True, False)
    )
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)


def test_batches_keep_captions_beside_their_images(tmp_path: Path):
    batch = next(iter(loader(read(shard(tmp_path, several())), N, 8, train=True)))
    pieces = batch.split(5)
    assert [len(piece.captions) for piece in pieces] == [5, 5, 2]
    assert joined(pieces).captions == batch.captions == batch.to("cpu").captions
    rows = torch.tensor([7, 3])
    assert batch.take(rows).captions == (batch.captions[7], batch.captions[3])


def test_other_sets_have_none(tmp_path: Path):
    assert read(f"npz:{write_npz(tmp_path / 'x.npz', pictures(6), turns(6))}").captions is None
