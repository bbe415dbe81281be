"""Folders in a store: whole and once, on a disk, in memory and on S3."""

import os
import pickle
import threading
from pathlib import Path

import pytest

from grace_geom.errors import UserError
from grace_geom.store import Store, TakenError, address


def folder(place: Path, **files: str) -> Path:
    for name, text in files.items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def contents(place: Path) -> dict[str, str]:
    return {p.relative_to(place).as_posix(): p.read_text() for p in place.rglob("*") if p.is_file()}


def test_what_is_put_comes_back(store: Store, tmp_path: Path) -> None:
    put = folder(tmp_path / "put", a="one", checkpoints__b="two", c="one", empty="")
    folder(put, **{".lock": "of this machine"})
    manifest = store.put_folder(put, "trials/ft-s0@2")
    assert store.names() == ["trials/ft-s0@2"] and store.has("trials/ft-s0@2")
    assert manifest.size == len("one") + len("two")  # `c` is moved with `a`
    store.get_folder("trials/ft-s0@2", tmp_path / "got")
    wanted = {"a": "one", "checkpoints/b": "two", "c": "one", "empty": ""}
    assert contents(tmp_path / "got") == wanted
    assert store.read("trials/ft-s0@2/checkpoints/b") == b"two"
    again: Store = pickle.loads(pickle.dumps(store))
    assert again.read("trials/ft-s0@2/a") == b"one"


def test_a_name_is_put_once(store: Store, tmp_path: Path) -> None:
    store.put_folder(folder(tmp_path / "first", a="first"), "run")
    with pytest.raises(TakenError, match="has run already"):
        store.put_folder(folder(tmp_path / "second", a="second", b="more"), "run")
    store.get_folder("run", tmp_path / "got")
    assert contents(tmp_path / "got") == {"a": "first"}


def test_of_many_who_put_a_name_at_once_one_does(url: str, tmp_path: Path) -> None:
    won, refused = [], []
    start = threading.Barrier(4)

    def put(i: int) -> None:
        here = folder(tmp_path / f"{i}", a=f"of {i}", b=f"also of {i}")
        start.wait()
        try:
            Store(url).put_folder(here, "run")
            won.append(i)
        except TakenError:
            refused.append(i)

    threads = [threading.Thread(target=put, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(refused) == 3
    Store(url).get_folder("run", tmp_path / "got")
    assert contents(tmp_path / "got") == {"a": f"of {won[0]}", "b": f"also of {won[0]}"}


def test_half_an_upload_is_not_seen(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = folder(tmp_path / "put", a="one", b="two")
    real = store.objects.upload

    def cut(file: Path, path: str) -> None:
        if file.name == "b":
            raise UserError("the line is cut")
        real(file, path)

    monkeypatch.setattr(store.objects, "upload", cut)
    with pytest.raises(UserError, match="the line is cut"):
        store.put_folder(put, "run")
    seen = Store(store.url)
    assert [o.path for o in seen.objects.listing("files")]  # `a` is there, and nobody sees it
    assert seen.names() == [] and not seen.has("run")
    for read in (lambda: seen.read("run/a"), lambda: seen.get_folder("run", tmp_path / "got")):
        with pytest.raises(UserError, match="has no run"):
            read()
    assert not (tmp_path / "got").exists()
    seen.put_folder(put, "run")
    assert seen.read("run/b") == b"two"


def test_a_file_that_is_written_meanwhile_is_not_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, put = Store(tmp_path / "store"), folder(tmp_path / "put", a="one")
    real = store.objects.upload

    def written(file: Path, path: str) -> None:
        real(file, path)
        file.write_text("other words")

    monkeypatch.setattr(store.objects, "upload", written)
    with pytest.raises(UserError, match="was written while it was put"):
        store.put_folder(put, "run")
    assert store.names() == []


@pytest.mark.parametrize("how", ["other bytes", "gone"])
def test_a_broken_folder_is_named_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    store = Store(tmp_path / "store")
    manifest = store.put_folder(folder(tmp_path / "put", a="one", b="two"), "run")
    broken = tmp_path / "store" / manifest.files["b"].object
    broken.write_text("six") if how == "other bytes" else broken.unlink()
    with pytest.raises(UserError, match="its folder is broken"):
        store.get_folder("run", tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_what_is_known_is_not_moved_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = store.put_folder(folder(tmp_path / "one", ckpt="large", note="a"), "run")
    folder(tmp_path / "one", note="b")
    second = store.put_folder(tmp_path / "one", "run@2", known=first.files)
    assert second.files["ckpt"] == first.files["ckpt"]
    assert second.files["note"] != first.files["note"]
    store.get_folder("run@2", tmp_path / "got")
    assert contents(tmp_path / "got") == {"ckpt": "large", "note": "b"}


def test_a_manifest_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put_folder(folder(tmp_path / "put", a="one"), "run")
    marker = tmp_path / "store" / "whole" / "run.json"
    marker.write_text(marker.read_text().replace('"a":', '"../../a":'))
    with pytest.raises(UserError, match="leads out of its folder"):
        Store(store.url).get_folder("run", tmp_path / "got")
    marker.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Store(store.url).manifest("run")


@pytest.mark.parametrize("name", ["", "../x", "a//b", ".hidden", "a b", "/a"])
def test_a_name_is_checked(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name for a store"):
        Store(tmp_path).put_folder(folder(tmp_path / "put", a="one"), name)


def test_an_address_keeps_its_slashes_through_a_path() -> None:
    for text in ("s3://bucket/study", "memory://x", "file:///data/x", "gs://b", "runs/x", "/a:/b"):
        assert address(Path(text)) == address(text) == text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x", "a store is a folder or an address of file, memory, s3"),
        ("gs://bucket", r"needs gcsfs: pip install grace_geom\[gcs\]"),
    ],
)
def test_an_address_that_is_no_store_is_refused(url, says, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=says):
        Store(url)


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/store cannot be read: Not a directory"):
        Store(tmp_path / "file" / "store").put_folder(folder(tmp_path / "put", a="one"), "run")


def test_a_bucket_that_is_not_there_says_so(s3: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="s3://nowhere/x cannot be written"):
        Store("s3://nowhere/x").put_folder(folder(tmp_path / "put", a="one"), "run")


def test_a_server_that_ignores_the_condition_is_refused(s3: str, monkeypatch) -> None:
    store = Store(f"{s3}/old-server")
    plain = store.objects.system.pipe_file
    monkeypatch.setattr(
        store.objects.system, "pipe_file", lambda path, value, mode: plain(path, value)
    )
    with pytest.raises(UserError, match="ignores If-None-Match"):
        store.claim("run", "me", 10)


def test_files_are_hidden_until_they_are_whole_on_a_disk_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.objects.write("a/x", b"1")
    (tmp_path / "a" / f".x.{os.getpid()}.part").write_bytes(b"half")
    assert [o.path for o in store.objects.listing("a")] == ["a/x"]
    assert store.objects.listing("b") == []
