"""What a file is, by its first bytes: a mistake is told before anything heavy is imported."""

import json
import re
from pathlib import Path

from grace_geom.errors import UserError

HEAD = 4096
"""Bytes that are looked at."""

KINDS = (
    (b"version https://git-lfs", "a pointer of Git LFS (git lfs pull fetches the file itself)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
"""Beginnings that no file of weights has, and what they tell."""

SUFFIXES = {".md": "Markdown", ".yaml": "YAML", ".yml": "YAML", ".csv": "a CSV table"}
TEXT_PICKLE = re.compile(rb"\(|c[\w.]+\n[\w.]+\n")
"""How Python's oldest pickles begin, which are text too."""
EXPECTED = (
    "expected a run directory, or weights as torch.save or safetensors write them (ckpt.pt, .pt, "
    ".bin, .safetensors)"
)
ARRAYS = (".npz", ".npy")
"""Names of NumPy's files, which hold the weights of big_vision's models."""


def check_weights(path: Path, *, arrays: bool = False) -> None:
    """Refuse a file that surely holds no weights.

    Args:
        path: A file that is there; one that cannot be read is left to who reads it.
        arrays: Whether NumPy's files may hold weights too, as those of pretrained models may.

    Raises:
        UserError: With what it looks like, and the run that it lies in.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return
    if (kind := kind_of(head, path.suffix.lower())) is None:
        return
    if arrays and "NumPy" in kind and path.suffix in ARRAYS:
        return
    run = next((f for f in (path.parent, path.parent.parent) if (f / "ckpt.pt").is_file()), None)
    meant = f"; did you mean its run, {run}?" if run is not None and path.name != "ckpt.pt" else ""
    expected = f"{EXPECTED}, or big_vision's .npz" if arrays else EXPECTED
    raise UserError(f"{path} is not a checkpoint: it looks like {kind}; {expected}{meant}")


def kind_of(head: bytes, suffix: str = "") -> str | None:
    """What a file looks like, in words; ``None`` where it may hold weights.

    Args:
        head: Its first bytes, up to :data:`HEAD`.
        suffix: Of its name, which tells one text from another.
    """
    for start, kind in KINDS:
        if head.startswith(start):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return "NumPy arrays (.npz)" if _first_name(head).endswith(".npy") else None
    if not _is_text(head) or TEXT_PICKLE.match(head):
        return None
    words = head.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
    if re.match(r"<(!doctype|html|\?xml)", words, re.IGNORECASE):
        return "a web page or XML: was its download refused?"
    if words[:1] in ("{", "["):
        return "JSON lines" if _is_json(words.partition("\n")[0]) and "\n{" in words else "JSON"
    return f"text ({SUFFIXES[suffix]})" if suffix in SUFFIXES else "text"


def _first_name(head: bytes) -> str:
    """The name of the first file in a zip archive."""
    return head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("utf-8", "replace")


def _is_text(head: bytes) -> bool:
    """Whether these bytes are a text, which may be cut within a letter."""
    if not head or re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) == HEAD and error.start >= HEAD - 3
    return True


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
