"""Folders that are whole or absent."""

import os
from pathlib import Path

import pytest

from grace_geom.errors import UserError
from grace_geom.files import atomic_folder


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with atomic_folder(tmp_path / "a" / "out") as folder:
        (folder / "new").write_text("")
        assert not (tmp_path / "a" / "out").exists()
    assert names(tmp_path) == ["a", "a/out", "a/out/new"]


@pytest.mark.parametrize("replace", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, replace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out", replace=replace):
        1 / 0
    assert names(tmp_path) == ["out", "out/old"]


def test_a_name_that_is_taken_is_replaced_only_where_that_is_asked_for(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("")
    with pytest.raises(UserError, match="exists already"), atomic_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out", "out/old"]
    with atomic_folder(tmp_path / "out", replace=True) as folder:
        (folder / "new").write_text("")
    assert names(tmp_path) == ["out", "out/new"]


@pytest.mark.parametrize(
    "error",
    [
        OSError("some/model is not a local folder"),  # as transformers raises it
        FileNotFoundError(2, "No such file or directory", "/elsewhere/model.safetensors"),
    ],
)
def test_an_error_of_reading_something_else_is_not_said_to_be_one_of_writing(tmp_path, error):
    with pytest.raises(OSError) as found, atomic_folder(tmp_path / "out"):
        raise error
    assert found.value is error and not names(tmp_path)


def test_a_full_disk_and_a_file_that_cannot_be_written_are_refused(tmp_path):
    for file in (None, "half"):
        refused = pytest.raises(UserError, match=r"cannot write .*out: No space")
        with refused, atomic_folder(tmp_path / "out") as folder:
            raise OSError(28, "No space left on device", file and str(folder / file))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), atomic_folder(tmp_path / "file" / "out"):
        pass
    assert names(tmp_path) == ["file"]


def test_a_folder_that_cannot_take_its_name_gives_it_back(tmp_path, monkeypatch):
    out, rename = tmp_path / "out", os.rename
    out.mkdir()
    (out / "old").write_text("")

    def fail_once(source: Path, target: Path) -> None:
        if Path(target) == out and not out.exists() and ".old" not in Path(source).name:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(UserError, match="Input/output error"), atomic_folder(out, replace=True):
        pass
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "old"]
