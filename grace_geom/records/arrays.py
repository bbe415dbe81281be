"""``NAME.npz`` read within bounds: what a file declares is compared with what it holds before
memory is taken.
"""

import io
import struct
import tokenize
import zipfile
import zlib
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

MOST_BYTES = 2**30
"""Of all arrays of a file together, unpacked."""
MOST_ARRAYS = 10_000
MOST_HEADER = 10_000
"""Bytes before an array, as numpy allows them."""
KINDS = "biufU"
"""Numbers, booleans and text; anything else would need pickle."""


def read_arrays(data: bytes, most: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Arrays of an npz file by name. Pickled objects are never read.

    Raises:
        ValueError: For anything that ``np.savez`` would not have written, or that is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MOST_ARRAYS or sum(m.file_size for m in members) > most:
                raise ValueError(f"it would unpack to more than {most / 2**20:g} MiB")
            if len({m.filename for m in members}) < len(members):
                raise ValueError("a name is there twice")
            found = {}
            for member in members:
                with archive.open(member) as file:
                    found[member.filename.removesuffix(".npy")] = _array(file, member)
            return found
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError,
        RuntimeError, LookupError, SyntaxError, TypeError, MemoryError, tokenize.TokenError,
    ) as error:  # fmt: skip
        raise ValueError(f"{type(error).__name__}: {error}") from None


@lru_cache(maxsize=4096)
def _header(raw: bytes, version: tuple[int, int]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type; the same few stand before most arrays of a file."""
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(io.BytesIO(raw))  # type: ignore[no-untyped-call]
    return found


def _array(file: IO[bytes], member: zipfile.ZipInfo) -> np.ndarray:
    """One array; its size is that of its shape and type, so a header cannot ask for more."""
    version = npy.read_magic(file)  # type: ignore[no-untyped-call]
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{member.filename}: version {version} of the format")
    width = 2 if version == (1, 0) else 4
    length = file.read(width)
    header = file.read(min(int.from_bytes(length, "little"), MOST_HEADER))
    shape, fortran, dtype = _header(length + header, version)
    if dtype.kind not in KINDS:
        raise ValueError(f"{member.filename}: {dtype} is not read (allow_pickle=False)")
    size = dtype.itemsize
    for n in shape:
        if n < 0:
            raise ValueError(f"{member.filename}: shape {shape}")
        size *= n
    rest = file.read()
    if size != len(rest):
        raise ValueError(f"{member.filename}: {len(rest)} bytes for shape {shape} of {dtype}")
    flat = np.frombuffer(rest, dtype) if size else np.zeros(shape, dtype).ravel()
    array = flat.reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "U":
        _check_text(array, member.filename)
    return array.copy()


def _check_text(array: np.ndarray, name: str) -> None:
    """Text is Unicode: other numbers in its place end in an error far from here."""
    points = np.ascontiguousarray(array).ravel().view(np.uint32)
    points = points if array.dtype.isnative else points.byteswap()
    if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
        raise ValueError(f"{name}: not text")
