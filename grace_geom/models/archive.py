"""Where the numbers of torch's files lie: storages of a zip archive, and of the older format."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from grace_geom.models.inert_pickle import Named, read_pickle

MAX_PICKLE = 1 << 32
"""Bytes that are looked through as a pickle; larger files are zip archives or safetensors."""

MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of the format before torch 1.6."""

DTYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
    "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
}  # fmt: skip


class Damaged(Exception):
    """The file contradicts itself; the message says where."""


@dataclass(frozen=True)
class Storage:
    """A block of numbers that a pickle refers to.

    Attributes:
        key: Its name in the file.
        dtype: Of its numbers, as its class says.
        numel: How many it is said to have.
        offset: Where it begins within the block ``key``, in numbers (old views).
    """

    key: str
    dtype: torch.dtype
    numel: int
    offset: int = 0


def declared(pid: Any) -> Storage:
    """The storage that a persistent id names.

    Raises:
        Damaged: If it is none.
    """
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
        raise Damaged("a reference that is no storage")
    kind, key, numel = pid[1], pid[2], pid[4]
    path = getattr(kind, "path", "") if isinstance(kind, type) else ""
    name = path.rpartition(".")[2].removesuffix("Storage")
    if not path.endswith("Storage") or name not in DTYPES:
        raise Damaged(f"numbers of an unknown kind ({path or type(kind).__name__})")
    if not isinstance(numel, int) or numel < 0:
        raise Damaged(f"a storage of {numel!r} numbers")
    view = pid[5] if len(pid) > 5 else None
    offset = 0
    if view is not None:
        if not (isinstance(view, tuple) and len(view) == 3 and isinstance(view[1], int)):
            raise Damaged("a view of a storage that says no offset")
        offset, numel = view[1], view[2]
    return Storage(str(key), DTYPES[name], numel, offset)


class Storages(Protocol):
    """Reads the blocks of a file, each once."""

    def read(self, storage: Storage) -> Tensor:
        """The block's bytes, ``(bytes,)`` uint8."""


class ZipStorages:
    """The entries of an archive that ``torch.save`` or ``torch.jit.save`` wrote.

    Args:
        file: The open archive.
        archive: Its directory.

    Raises:
        Damaged: Not exactly one ``data.pkl``, another byte order, or its checksum is another.
    """

    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile) -> None:
        self.file, self.blocks = file, {}  # type: ignore[var-annotated]
        self.size = file.seek(0, io.SEEK_END)
        self.entries = {info.filename: info for info in archive.infolist()}
        # Where checksums were switched off, torch writes 0 for each.
        self.checked = any(info.CRC for info in self.entries.values() if info.file_size)
        roots = [name for name in self.entries if name.rpartition("/")[2] == "data.pkl"]
        if len(roots) != 1:
            raise ValueError("not an archive of torch")
        self.root = roots[0].removesuffix("data.pkl")
        order = self.entries.get(f"{self.root}byteorder")
        self.unchecked = False
        if order is not None and bytes(self._bytes(order).numpy().data).strip() == b"big":
            raise Damaged("its numbers are big-endian: save it again on a usual machine")
        data = self._bytes(self.entries[roots[0]])
        self.pickle = bytes(data.numpy().data)

    def declared(self, pid: Any) -> Storage:
        """See :func:`declared`; the block must be in the archive and have that size."""
        found = declared(pid)
        info = self.entries.get(f"{self.root}data/{found.key}")
        if info is None:
            raise Damaged(f"it has no storage {found.key}")
        if info.file_size < found.numel * found.dtype.itemsize:
            raise Damaged(
                f"its storage {found.key} has {info.file_size} bytes, not {found.numel} numbers"
            )
        return found

    def read(self, storage: Storage) -> Tensor:
        """See :class:`Storages`; the checksum is verified where the file has one.

        Raises:
            Damaged: If the entry contradicts itself or its checksum.
        """
        if storage.key not in self.blocks:
            self.blocks[storage.key] = self._bytes(self.entries[f"{self.root}data/{storage.key}"])
        return self.blocks[storage.key]

    def _bytes(self, info: zipfile.ZipInfo) -> Tensor:
        """An entry's bytes in memory of torch's own, whose alignment a resumed run sees too."""
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
            raise Damaged(f"{info.filename} is compressed or encrypted: torch.save writes neither")
        self.file.seek(info.header_offset)
        header = self.file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise Damaged(f"no entry where {info.filename} should begin")
        name, extra = struct.unpack("<HH", header[26:30])
        begin = info.header_offset + 30 + name + extra
        if info.file_size != info.compress_size or begin + info.file_size > self.size:
            raise Damaged(f"{info.filename} has {info.file_size} bytes, more than the file")
        self.file.seek(begin)
        block = torch.empty(info.file_size, dtype=torch.uint8)
        if info.file_size:
            memory = block.numpy().data
            if self.file.readinto(memory) != info.file_size:  # type: ignore[attr-defined]
                raise Damaged(f"{info.filename} is cut short")
            if self.checked and zlib.crc32(memory) != info.CRC:
                raise Damaged(f"the checksum of {info.filename} is another")
        return block


class OldStorages:
    """The blocks at the end of a file in the format before torch 1.6."""

    def __init__(self) -> None:
        self.blocks: dict[str, Tensor] = {}

    def read(self, storage: Storage) -> Tensor:
        """See :class:`Storages`.

        Raises:
            Damaged: If the file has no such storage.
        """
        if storage.key not in self.blocks:
            raise Damaged(f"it has no storage {storage.key}")
        return self.blocks[storage.key]


def old_file(data: bytes) -> tuple[OldStorages, Any]:
    """The content of an old file or of a plain pickle, and its storages."""
    storages, seen = OldStorages(), {}  # type: ignore[var-annotated]

    def keep(pid: Any) -> Storage:
        found = declared(pid)
        seen[found.key] = Storage(found.key, found.dtype, int(pid[4]))
        return found

    first, end = read_pickle(data)
    if first != MAGIC:
        if end != len(data):
            raise ValueError("bytes after the pickle")
        return storages, first
    _, end = read_pickle(data, end)
    _, end = read_pickle(data, end)
    content, end = read_pickle(data, end, keep)
    keys, end = read_pickle(data, end)
    if isinstance(keys, Named) or not isinstance(keys, list):
        raise Damaged("its list of storages is none")
    for key in map(str, keys):
        if key not in seen:
            raise Damaged(f"its storage {key} belongs to nothing")
        (numel,) = struct.unpack("<q", data[end : end + 8])
        end += 8
        size = numel * seen[key].dtype.itemsize
        if numel != seen[key].numel or end + size > len(data):
            raise Damaged(f"its storage {key} has {numel} numbers, not {seen[key].numel}")
        block = torch.empty(size, dtype=torch.uint8)
        block.numpy()[:] = np.frombuffer(data, np.uint8, size, end)
        storages.blocks[key] = block
        end += size
    return storages, content
