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
