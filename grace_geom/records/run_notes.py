"""What people say of a run, beside its records: tags, a note, and a name for display."""

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from grace_geom.errors import UserError
from grace_geom.files import write_text
from grace_geom.records.schema import NewerRecordError, RecordError, check_format, checked
from grace_geom.serialise import read_yaml, to_yaml

NOTES_FORMAT = "grace_geom.notes/1"
NOTES_FILE = "notes.yaml"
HIDDEN = "hidden"
"""The tag of runs that lists leave out until somebody asks for it."""
LONGEST_TAG, LONGEST_NAME, LONGEST_NOTE = 40, 80, 4000
MEND = "correct it, or remove it: it holds nothing that was measured"


class _Stored(msgspec.Struct):
    tags: list[str] = []
    note: str = ""
    name: str = ""


@dataclass(frozen=True)
class RunNotes:
    """``notes.yaml`` of a run directory.

    Attributes:
        tags: In the order in which they were given, each once.
        note: Text, as many lines as it needs.
        name: What the run is called in figures and tables; ``""`` for the name of its folder.
    """

    tags: tuple[str, ...] = ()
    note: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for tag in self.tags:
            if not re.fullmatch(rf"[^\s,:=~<>\"'-][^\s,:=~<>\"']{{0,{LONGEST_TAG - 1}}}", tag):
                raise RecordError(
                    f"the tag {tag!r} cannot be kept: at most {LONGEST_TAG} characters, no spaces, "
                    "quotes or any of , : = ~ < >, and no - in front"
                )
        if len(self.name) > LONGEST_NAME or not (self.name + "x").isprintable():
            raise RecordError(f"a name is one line of at most {LONGEST_NAME} characters")
        if len(self.note) > LONGEST_NOTE:
            raise RecordError(f"a note is at most {LONGEST_NOTE} characters long")

    @property
    def hidden(self) -> bool:
        """Whether lists leave the run out."""
        return HIDDEN in self.tags

    @classmethod
    def load(cls, path: Path | str) -> "RunNotes":
        """Read ``notes.yaml``.

        Raises:
            RecordError: If it cannot be read, or a newer version wrote it.
        """
        try:
            plain = read_yaml(path)
            check_format(plain, NOTES_FORMAT, path)
            stored = checked(plain, _Stored, path, MEND)
            return cls(tuple(dict.fromkeys(stored.tags)), stored.note, stored.name)
        except NewerRecordError:
            raise
        except UserError as error:
            said = str(error).removeprefix(f"{path}: ").removesuffix(f"; {MEND}")
            raise RecordError(f"{path}: {said}; {MEND}") from None

    def save(self, folder: Path | str) -> Path:
        """Write ``notes.yaml`` into a run directory, whole or not at all; no record is touched.

        Raises:
            RecordError: If the folder cannot be written, or what is there cannot be read, for it is
                not overwritten.
        """
        path = Path(folder) / NOTES_FILE
        if path.exists():
            self.load(path)
        plain = {"format": NOTES_FORMAT, "name": self.name, "tags": list(self.tags)}
        try:
            write_text(path, to_yaml(plain | {"note": self.note}))
        except UserError as error:
            raise RecordError(str(error)) from None
        return path
