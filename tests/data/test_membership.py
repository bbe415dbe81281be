"""Images are known by what they are: files may be renamed, packed anew or moved, rows permuted."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from grace_geom.data import from_arrays, keys, resolve
from grace_geom.data.keys import BLOCK, file_key, keys_of, pixel_keys_of
from grace_geom.data.membership import changes, copies, members_of, unseen
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, encoded, pictures, turns, write_npz, write_tar


def folder_of(root: Path, n: int = 60) -> dict[str, bytes]:
    """``n`` noise pictures in three class folders; their bytes by name."""
    files = {}
    for i, image in enumerate(pictures(n)):
        path = root / CLASSES[i % 3] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
        files[f"{CLASSES[i % 3]}/{i:03d}.png"] = path.read_bytes()
    return files


def sides(spec: str, seed: int = 0) -> dict[int, set[str]]:
    """In which splits each image is, by key."""
    found: dict[int, set[str]] = {}
    for split in ("train", "val", "test"):
        for key in keys_of(resolve(spec, split, seed=seed)).tolist():
            found.setdefault(key, set()).add(split)
    return found


def unmoved(before: dict[int, set[str]], now: dict[int, set[str]]) -> bool:
    return all(now[key] == before[key] for key in before.keys() & now.keys())


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_nobody_moves_when_a_folder_changes(tmp_path: Path, seed: int):
    files = folder_of(tmp_path, 150)
    before = sides(f"folder:{tmp_path}", seed)
    assert len(before) == 150 and all(len(where) == 1 for where in before.values())
    Image.fromarray(pictures(1, seed=9)[0]).save(tmp_path / "apple" / "000a.png")
    added = sides(f"folder:{tmp_path}", seed)
    assert unmoved(before, added) and len(added) == 151
    for name in list(files)[::5]:
        (tmp_path / name).unlink()
    for i, name in enumerate(list(files)[1::5]):  # renamed so that they sort otherwise
        (tmp_path / name).rename((tmp_path / name).with_name(f"{999 - i}.png"))
    (tmp_path / list(files)[2]).rename(tmp_path / "car" / "moved.png")  # another class
    (tmp_path / "bear").rename(tmp_path / "Zebra")
    now = sides(f"folder:{tmp_path}", seed)
    assert unmoved(added, now) and len(now) == 151 - 30


def test_copies_stay_together(tmp_path: Path):
    files = folder_of(tmp_path)
    for i, (name, content) in enumerate(files.items()):
        (tmp_path / CLASSES[i % 2] / f"copy-{i}-{Path(name).name}").write_bytes(content)
    found = sides(f"folder:{tmp_path}")
    assert len(found) == 60 and all(len(where) == 1 for where in found.values())


def test_rows_of_an_archive_may_be_permuted(tmp_path: Path):
    images, labels = pictures(80), turns(80)
    order = np.random.default_rng(1).permutation(80)
    one = write_npz(tmp_path / "one.npz", images, labels)
    two = write_npz(tmp_path / "two.npz", images[order], labels[order])
    three = write_npz(tmp_path / "three.npz", images[order][:50], labels[order][:50])
    before = sides(f"npz:{one}")
    assert sides(f"npz:{two}") == before and unmoved(before, sides(f"npz:{three}"))
    test = resolve(f"npz:{one}", "test")
    assert {keys_of(test)[0]} <= set(keys_of(resolve(f"npz:{one}", "eval")).tolist())


def test_shards_may_be_packed_anew_and_are_the_folder_they_were_packed_from(tmp_path: Path):
    files = list(folder_of(tmp_path / "folder").items())
    (tmp_path / "classnames.txt").write_text("\n".join(CLASSES))

    def pack(name: str, chosen: list[tuple[str, bytes]], shards: int) -> str:
        for k in range(shards):
            members = []
            for i, (path, content) in enumerate(chosen[k::shards]):
                label = CLASSES.index(path.split("/")[0])
                members += [(f"{i:04d}.png", content), (f"{i:04d}.cls", str(label).encode())]
            write_tar(tmp_path / f"{name}-{k}.tar", members)
        return f"wds:{tmp_path}/{name}-{{0..{shards - 1}}}.tar"

    before = sides(f"folder:{tmp_path / 'folder'}")
    assert sides(pack("a", files, 2)) == before
    assert sides(pack("b", files[::-1], 3)) == before


def test_keys_tell_files_apart_by_a_byte_and_not_by_their_name(tmp_path: Path):
    rng = np.random.default_rng(0)
    for size in (0, 1, BLOCK, 3 * BLOCK, 3 * BLOCK + 1, 40 * BLOCK):
        content = rng.bytes(size)
        (tmp_path / "a.png").write_bytes(content)
        (tmp_path / "b.jpg").write_bytes(content)
        (tmp_path / "c.tar").write_bytes(b"x" * 512 + content + b"yy")
        key = file_key(str(tmp_path / "a.png"))
        assert key == file_key(str(tmp_path / "b.jpg"))
        assert key == file_key(str(tmp_path / "c.tar"), 512, size)
        for at in {0, size // 2, size - 1} - {-1}:
            other = bytearray(content)
            if other:
                other[at] ^= 1
                (tmp_path / f"{at}.png").write_bytes(other)
                assert file_key(str(tmp_path / f"{at}.png")) != key
    (tmp_path / "u.bmp").write_bytes(other := bytearray(content))
    key = file_key(str(tmp_path / "u.bmp"))
    other[2 * BLOCK] ^= 1  # between the blocks: an uncompressed picture is read whole
    (tmp_path / "v.bmp").write_bytes(other)
    assert file_key(str(tmp_path / "v.bmp")) != key
    with pytest.raises(UserError, match=r"gone\.png cannot be read"):
        file_key(str(tmp_path / "gone.png"))


def test_a_set_of_many_files_has_the_keys_of_its_files_in_order(tmp_path: Path):
    folder_of(tmp_path)
    image_set = resolve(f"folder:{tmp_path}", "eval")
    names = image_set.fetch.names  # type: ignore[attr-defined]
    assert keys_of(image_set).tolist() == [file_key(str(tmp_path / name)) for name in names]
    part = image_set.take([5, 3]).take([1])
    assert keys_of(part).tolist() == [file_key(str(tmp_path / names[3]))]


def test_a_replaced_file_is_another_image(tmp_path: Path):
    folder_of(tmp_path, 12)
    first = keys_of(resolve(f"folder:{tmp_path}", "eval"))
    Image.fromarray(pictures(1, seed=5)[0]).save(tmp_path / "apple" / "000.png")
    again = keys_of(resolve(f"folder:{tmp_path}", "eval"))
    assert (first != again).tolist() == [True] + [False] * 11


def test_an_unknown_reader_is_asked_for_its_pixels():
    images = pictures(6)

    def reader(i: int) -> Image.Image:
        return Image.fromarray(images[i])

    plain = from_arrays("x", images, turns(6), CLASSES)
    other = type(plain)("x", "x", "test", turns(6), CLASSES, ("{}",), reader)
    assert keys_of(other).tolist() == keys_of(plain).tolist()


def test_a_split_says_which_classes_it_has_no_image_of(tmp_path: Path, capsys):
    images = pictures(40)
    labels = np.array([0] * 39 + [1])
    path = write_npz(tmp_path / "small.npz", images, labels, ("many", "rare"))
    test, train = resolve(f"npz:{path}", "test"), resolve(f"npz:{path}", "train")
    lacking = test if 1 not in test.labels else train
    assert lacking.note["classes_without_images"] == ["rare"]
    err = capsys.readouterr().err
    assert err.count("warning") == (1 not in test.labels) + (1 not in train.labels)
    assert f"no image of rare is in the {lacking.split} split" in err
    assert json.loads(json.dumps(lacking.note))["split_rule"] == "a hash of each image"


def run_on(spec: str, step: int = 3) -> SimpleNamespace:
    """A run that was trained on ``spec``."""
    members = members_of(resolve(spec, "train"), resolve(spec, "val"), {})
    return SimpleNamespace(config={"data": spec, "method": "ft"}, step=step, members=members)


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_images_known_by_other_keys_are_said_not_to_be_compared_where_decoding_takes_too_long(
    tmp_path, kind, monkeypatch
):
    folder_of(tmp_path / "toy")
    noise = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    file = write_npz(tmp_path / "toy.npz", noise, np.arange(60) % 3, CLASSES[:3])
    folder, npz = f"folder:{tmp_path / 'toy'}", f"npz:{file}"
    spec = folder if kind == "folder" else npz
    (trained_on, other) = (folder, npz) if kind == "folder" else (npz, folder)
    assert "told" not in unseen(resolve(other, "test"), run_on(trained_on)).note, "compared"
    for bound in ("MOST_IMAGES", "MOST_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(keys, bound, 3)
            run = run_on(trained_on)
            assert ("pixels" in run.members) == (kind == "npz")
            assert (
                "whether some are the same is unknown"
                in unseen(resolve(other, "test"), run).note["told"][0]
            )
            same = unseen(resolve(spec, "test"), run).note.get("told", ())
            assert len(same) == (kind == "folder"), "keys of one kind: files may be written again"
            start = SimpleNamespace(config=run.config, step=0, members=run.members)
            assert "told" not in unseen(resolve(other, "test"), start).note, "nothing was trained"


@pytest.mark.parametrize("left_out", [0, 2])
@pytest.mark.parametrize("large", ["run", "test"])
def test_files_of_the_same_pixels_are_said_not_to_be_noticed_where_decoding_takes_too_long(
    tmp_path: Path, monkeypatch, left_out: int, large: str
):
    folder_of(tmp_path / "one", 40)
    for i, image in enumerate(pictures(12)):  # each written again
        path = tmp_path / "two" / CLASSES[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, compress_level=1)
    one, two = f"folder:{tmp_path / 'one'}", f"folder:{tmp_path / 'two'}"
    for i, name in enumerate(resolve(one, "train").fetch.inner.names[:left_out]):  # type: ignore[attr-defined]
        (tmp_path / "two" / "apple" / f"copy{i}.png").write_bytes(
            (tmp_path / "one" / name).read_bytes()
        )
    test = replace(resolve(two, "eval"), split="test")
    assert unseen(test, run_on(one)).note["left_out"] > left_out, "small sets are decoded"
    with monkeypatch.context() as patch:
        if large == "run":
            patch.setattr(keys, "MOST_IMAGES", 3)
        run = run_on(one)
        patch.setattr(keys, "MOST_IMAGES", 3)
        found = unseen(test, run)
        assert len(found) == len(test) - left_out
        *_, told = found.note["told"]
        assert "by their files, not by their pixels" in told
        why = {
            "run": "keeps none of its training images",
            "test": "more than 200,000 files or 512 MiB",
        }
        assert why[large] in told and len(found.note["told"]) == 1 + (left_out > 0)
        start = SimpleNamespace(config=run.config, step=0, members=run.members)
        assert len(unseen(test, start).note.get("told", ())) == (left_out > 0)


def save_as(how: str, image: np.ndarray, path: Path) -> None:
    if how == "npz":
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compress_level": 1} if how == "png" else {}
    Image.fromarray(image).save(path.with_suffix(f".{how}"), **options)


@pytest.mark.parametrize("how", ["png", "bmp", "tiff", "ppm", "npz"])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_the_same_pixels_are_the_same_image_in_any_lossless_file(tmp_path, how, back, grey):
    images = pictures(30)[..., 0] if grey else pictures(30)
    for i, image in enumerate(images):
        path = tmp_path / "one" / CLASSES[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        save_as(how, image, tmp_path / "two" / CLASSES[i % 3] / f"x{i}")
    one, two = f"folder:{tmp_path / 'one'}", f"folder:{tmp_path / 'two'}"
    if how == "npz":
        two = f"npz:{write_npz(tmp_path / 'two.npz', images, turns(30, 3), CLASSES[:3])}"
    if back:
        one, two = two, one
    run, whole = run_on(one), resolve(two, "eval")
    trained = resolve(one, "train")
    found = unseen(whole, run)
    assert found.note["left_out"] == copies(trained, whole) == len(trained)
    assert len(found) == 30 - len(trained)
    left = pixel_keys_of(found)
    assert left is not None and not np.isin(left, pixel_keys_of(trained)).any()
    said = f"({len(trained)} as other files or rows of the same pixels)"
    assert said in found.note["told"][0]


def test_other_pixels_sizes_and_jpegs_are_other_images(tmp_path: Path):
    folder_of(tmp_path / "one", 12)
    for i, image in enumerate(pictures(12)):
        path = tmp_path / "two" / CLASSES[i % 3] / f"{i}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = image.copy()
        if i % 3 == 0:
            image[0, 0, 0] ^= 1
        image = image.reshape(4, -1, 3) if i % 3 == 1 else image
        Image.fromarray(image).save(path.with_suffix(".jpg") if i % 3 == 2 else path)
    one, two = resolve(f"folder:{tmp_path / 'one'}", "eval"), f"folder:{tmp_path / 'two'}"
    assert copies(one, resolve(two, "eval")) == 0
    assert "told" not in unseen(resolve(two, "eval"), run_on(one.spec)).note


def test_pixels_of_earlier_images_are_kept_or_none_are(tmp_path: Path):
    folder_of(tmp_path / "one", 12)
    spec = f"folder:{tmp_path / 'one'}"
    first = members_of(resolve(spec, "train"), resolve(spec, "val"), {})
    gone = next(iter((tmp_path / "one" / "apple").iterdir()))
    gone.unlink()
    now = members_of(resolve(spec, "train"), resolve(spec, "val"), first)
    kept = set(torch.cat([now["pixels"], now["earlier_pixels"]]).tolist())
    assert kept == {*first["pixels"].tolist(), *now["pixels"].tolist()}
    old = {name: w for name, w in first.items() if "pixels" not in name}
    assert "pixels" not in members_of(resolve(spec, "train"), resolve(spec, "val"), old)
    assert "pixels" in members_of(resolve(spec, "train"), resolve(spec, "val"), {})


def test_training_images_that_were_written_anew_are_said_to_have_the_same_pixels(tmp_path: Path):
    for i, image in enumerate(pictures(12)):
        for part in ("train", "test"):
            path = tmp_path / "d" / part / CLASSES[i % 3] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    spec = f"folder:{tmp_path / 'd'}"
    run = run_on(spec)
    names = resolve(spec, "train", val_fraction=0).fetch.inner.names  # type: ignore[attr-defined]
    for name in names:
        path = tmp_path / "d" / "train" / name
        Image.open(path).save(path, compress_level=1)
    train, held = resolve(spec, "train", val_fraction=0), resolve(spec, "val")
    found = changes(train, held, run.members, train.class_names)
    n = len(run.members["pixels"])
    assert f"of the training images, {n} are there in other files of the same pixels" in found


def test_a_picture_that_cannot_be_decoded_is_no_other_one(tmp_path: Path):
    folder_of(tmp_path / "one", 12)
    (tmp_path / "one" / "apple" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "one" / "bear" / "bad2.png").write_bytes(b"no picture either")
    found = pixel_keys_of(resolve(f"folder:{tmp_path / 'one'}", "eval"))
    assert found is not None and len(set(found.tolist())) == 14
