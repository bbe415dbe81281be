"""Text and file names that people bring: UTF-8 is read, anything else is refused by name, and
everything can be printed.
"""

import codecs
import functools
import itertools
import os
import unicodedata
from pathlib import Path

from grace_geom.errors import UserError
from grace_geom.terminal import say
from grace_geom.world import first

MAX_TEXT = 64 * 2**20  # bytes: a million class names need a third of it

_MARKS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_text(path: Path, where: str = "") -> str:
    """A text file in UTF-8, with or without a byte order mark (which is not part of the text).

    Args:
        path: The file.
        where: Names it in errors; default: the path.

    Raises:
        UserError: If it cannot be read, is no plain file, is larger than 64 MiB, or is in another
            encoding.
    """
    where = where or shown(path)
    regular(path)
    try:
        if path.stat().st_size > MAX_TEXT:
            raise UserError(
                f"{where} has more than {MAX_TEXT // 2**20} MiB: that is no text of ours"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}") from None
    return decode_text(content, where)


def decode_text(content: bytes, where: str) -> str:
    """Text from UTF-8 bytes; a byte order mark is dropped.

    Raises:
        UserError: If the bytes are in another encoding, which the message names as far as it shows.
    """
    other = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if other is None and b"\0" in content:
        halves = max(content[::2].count(0), content[1::2].count(0)) * 2
        other = "UTF-16" if halves > len(content) // 2 else "no text (it holds zero bytes)"
    if other is None:
        try:
            text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            byte = content[error.start]
            other = f"not UTF-8 (byte 0x{byte:02x} in line {line}; {_suspect(content)})"
        else:
            if "\ufffd" in text:
                line = text.count("\n", 0, text.index("\ufffd")) + 1
                raise UserError(
                    f"{where} has a replacement character (U+FFFD) in line {line}: a letter was lost "
                    "when it was converted. Write it again from the original, in UTF-8."
                )
            return text
    raise UserError(f"{where} is {other}: save it as UTF-8")


def _suspect(content: bytes) -> str:
    """The likely encoding of bytes that are not UTF-8: accents stand alone, other scripts in
    pairs."""
    high = [byte > 127 for byte in content]
    pairs = sum(a and b for a, b in itertools.pairwise(high))
    if pairs * 2 > sum(high):
        return "probably a multi-byte encoding such as GBK or Shift-JIS"
    return "probably Latin-1 or Windows-1252"


def regular(path: Path) -> Path:
    """``path`` if it is a plain file: reading a pipe would wait for ever, a device has no end.

    Raises:
        UserError: If it is a folder, a pipe, a device or a socket.
    """
    if path.is_dir():
        raise UserError(f"{shown(path)} is a folder, not a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{shown(path)} is a pipe, device or socket, not a plain file")
    return path


def shown(name: object) -> str:
    """A path as one printable line, whatever bytes it is made of: ``caf\\xe9.png``."""
    text = os.fsencode(str(name)).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable(name: str) -> bool:
    """Whether a file name is UTF-8, so that records can hold it."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def nfc(name: str) -> str:
    """The composed form of a name: macOS writes ``é`` as two characters, most others as one."""
    return unicodedata.normalize("NFC", name)


@functools.cache  # once a process, however often a study reads a set
def warn(text: str) -> None:
    """A warning on stderr, from the first process only."""
    if first():
        say(f"warning: {text}")
