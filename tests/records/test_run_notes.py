"""Tags, notes and names beside a record."""

import pytest

from grace_geom.errors import UserError
from grace_geom.records import NewerRecordError, RecordError, RunNotes


def test_notes_come_back_as_they_were_and_touch_no_other_file(tmp_path):
    (tmp_path / "eval.json").write_text("{}")
    notes = RunNotes(("final", "on", "7", "hidden"), "two\nlines: é", "Ours")
    path = notes.save(tmp_path)
    assert RunNotes.load(path) == notes
    assert notes.hidden and not RunNotes(("final",)).hidden
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eval.json", "notes.yaml"]
    assert (tmp_path / "eval.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tags: [a]\n", "not a grace_geom.notes file"),
        ("format: grace_geom.notes/1\ntags: final\n", "tags"),
        ("format: grace_geom.notes/1\ntags: ['a b']\n", "the tag 'a b' cannot be kept"),
        ("format: grace_geom.notes/1\nnote: [", "notes.yaml"),
    ],
)
def test_what_is_no_notes_is_said_and_not_overwritten(tmp_path, text, said):
    path = tmp_path / "notes.yaml"
    path.write_text(text)
    with pytest.raises(RecordError, match=said):
        RunNotes.load(path)
    with pytest.raises(RecordError):
        RunNotes(("final",)).save(tmp_path)
    assert path.read_text() == text


def test_notes_of_a_newer_version_are_kept(tmp_path):
    path = tmp_path / "notes.yaml"
    path.write_text("format: grace_geom.notes/2\nstars: 5\n")
    with pytest.raises(NewerRecordError, match="update grace_geom"):
        RunNotes().save(tmp_path)


@pytest.mark.parametrize("tag", ["", "two words", "-old", "a:b", "a,b", "a=b", 'a"b', "x" * 41])
def test_a_tag_that_a_query_could_not_ask_for_is_refused(tag):
    with pytest.raises(UserError, match="cannot be kept"):
        RunNotes((tag,))


def test_a_name_is_one_line(tmp_path):
    for name in ("a\nb", "x" * 81):
        with pytest.raises(UserError, match="one line"):
            RunNotes(name=name)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write"):
        RunNotes(("final",)).save(tmp_path / "run")
