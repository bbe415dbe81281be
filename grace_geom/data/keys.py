"""Which image is which: a key for each, by which splits are drawn and a run knows what it was
trained on; and a key of its pixels, which other files of the same picture share.

A key follows the image, not its place: it is a hash of the image's content, so that renaming,
reordering, adding or removing others changes nothing, and exact copies share one key.

* Images in memory (npz, torchvision's arrays): all pixels.
* Files, shards and rows of tables: the size and three blocks of the encoded bytes
  (:func:`file_key`), so that a folder of a million pictures is not read whole.
* Published sets whose names are fixed (ImageNet and its relatives, ``shapes``): the name.
* Any other reader: the decoded pixels.

Sets that were stored in other ways are compared by their pixels (:func:`pixel_keys_of`): the
picture as it is decoded, in RGB with 8 bits, before any model's preprocessing. PNG, BMP, TIFF and
npz files of one picture agree in them. A JPEG that was written again has other pixels.
"""

import functools
import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from grace_geom.data.base import Array, ImageSet, Picked, Pixels
from grace_geom.data.transforms import as_rgb
from grace_geom.errors import UserError

BLOCK = 4 * 2**10
"""Bytes of each of the three blocks of a file that its key is made of."""

UNCOMPRESSED = (".bmp", ".ppm", ".pgm", ".tif", ".tiff")
"""Formats that are read whole: their pictures may have one size and differ between the blocks."""

MOST_IMAGES = 200_000
MOST_BYTES = 512 * 2**20
"""Larger sets are not decoded for the keys of their pixels alone. A small PNG takes 0.1 ms of a
core, a JPEG photograph of 500 pixels 2 ms: 20 to 60 seconds at these bounds."""

READERS = 8
"""Threads that read files: a network file system answers many at once."""

Place = tuple[str, int, int | None]
"""A file, where in it an image's bytes begin, and how many there are; ``None``: to its end."""


_KNOWN: WeakKeyDictionary[ImageSet, np.ndarray] = WeakKeyDictionary()
_PIXELS: dict[tuple[Any, ...], int] = {}  # by file and time of change: as _kept_key keeps others


def keys_of(image_set: ImageSet) -> np.ndarray:
    """``(N,)`` uint64, one key an image: equal for exact copies, whatever they are called.

    Raises:
        UserError: If a file cannot be read.
    """
    if image_set not in _KNOWN:
        _KNOWN[image_set] = _keys(image_set)
    return _KNOWN[image_set]


def _keys(image_set: ImageSet) -> np.ndarray:
    fetch, positions = source_of(image_set)
    kind = kind_of(image_set)
    if isinstance(fetch, Array):
        found = _array_keys(fetch.images, positions)
    elif kind == "name":
        found = [_hash(b"name", fetch.published(int(i)).encode()) for i in positions]
    elif kind == "file":
        found = _file_keys(fetch, positions)
    else:
        found = [_pixels_key(fetch(int(i))) for i in positions]
    return np.array(found, dtype=np.uint64)


def source_of(image_set: ImageSet) -> tuple[Any, np.ndarray]:
    """The reader behind all cuts, and which of its images the set has."""
    fetch = image_set.fetch
    if isinstance(fetch, Picked):
        return fetch.inner, fetch.positions
    return fetch, np.arange(len(image_set))


def kind_of(image_set: ImageSet) -> str:
    """What :func:`keys_of` makes the keys of: ``pixels``, ``file`` or (published) ``name``."""
    fetch, positions = source_of(image_set)
    named = getattr(fetch, "published", None)
    if named is not None and named(int(positions[0])) is not None:
        return "name"
    return "file" if hasattr(fetch, "place") or hasattr(fetch, "encoded") else "pixels"


def pixel_keys_of(image_set: ImageSet) -> np.ndarray | None:
    """``(N,)`` uint64, one key an image: equal where the decoded pictures are equal, in RGB with
    8 bits at their own size, in whatever files they lie.

    A picture that cannot be decoded has a key that no pixels have: whoever reads it is told.

    Returns:
        The keys; ``None`` where images are known by published names, lie in a store, or to decode
        them all would take too long (:data:`MOST_IMAGES`, :data:`MOST_BYTES`).

    Raises:
        UserError: If a file cannot be read.
    """
    fetch, positions = source_of(image_set)
    kind = kind_of(image_set)
    if kind == "name" or hasattr(fetch, "known_keys"):
        return None
    if kind == "pixels":
        if getattr(fetch, "channels", None) == 3:
            return keys_of(image_set)
        return np.array([_rgb_key(fetch(int(i))) for i in positions], dtype=np.uint64)
    if len(positions) > MOST_IMAGES:
        return None
    stamps = [_stamp(fetch, int(i)) for i in positions]
    if sum(size for _, _, size, *_ in stamps) > MOST_BYTES:
        return None
    _decode(fetch, {(type(fetch), *s): int(i) for s, i in zip(stamps, positions, strict=True)})
    return np.array([_PIXELS[type(fetch), *stamp] for stamp in stamps], dtype=np.uint64)


def _stamp(fetch: Any, i: int) -> tuple[str, int, int, int, int]:
    """Path, offset and bytes of an image, and the file's length and time of change; of an image in
    a table, a digest of its bytes.
    """
    if hasattr(fetch, "encoded"):
        content = fetch.encoded(i)
        return hashlib.sha256(content).hexdigest(), 0, len(content), len(content), 0
    path, offset, size = fetch.place(i)
    try:
        status = os.stat(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    length = status.st_size
    return path, offset, length - offset if size is None else size, length, status.st_mtime_ns


def _decode(fetch: Any, wanted: dict[tuple[Any, ...], int]) -> None:
    """Fill in the keys of pixels that are not known yet."""
    missing = [pair for pair in wanted.items() if pair[0] not in _PIXELS]

    def read(part: Any) -> None:
        """Keep the key of each image of a part."""
        for k in part:
            stamp, i = missing[k]
            try:
                _PIXELS[stamp] = _rgb_key(fetch(i))
            except UserError:  # no number can come of it: reading it for one says what is wrong
                _PIXELS[stamp] = _hash(b"undecodable", str(_file_keys(fetch, [i])[0]).encode())

    with warnings.catch_warnings():  # outside of the threads: inside, each would undo another's
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(read, np.array_split(np.arange(len(missing)), READERS)))


def _rgb_key(image: Pixels) -> int:
    return _pixels_key(np.asarray(as_rgb(image)))


def uniforms_of(keys: np.ndarray, seed: int, stream: str) -> np.ndarray:
    """``(N,)`` float64 in [0, 1): a draw for each key that depends on it, ``seed`` and ``stream``
    alone.

    The key is mixed by the finaliser of SplitMix64 (Steele et al. 2014), salted before and after.
    """
    salt = np.frombuffer(
        hashlib.blake2b(f"{stream}/{seed}".encode(), digest_size=16).digest(), "<u8"
    )
    z = _mixed(_mixed(np.asarray(keys, dtype=np.uint64) ^ salt[:1]) + salt[1:])
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _hash(*parts: bytes) -> int:
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(part)
    return int.from_bytes(total.digest(), "little")


def _array_keys(images: np.ndarray, positions: np.ndarray) -> list[int]:
    """Keys of images ``(N, H, W, C)`` at ``positions``: of shape and pixels."""
    start = hashlib.blake2b(f"pixels {images.shape[1:]}".encode(), digest_size=8)
    found = []
    for i in positions:
        total = start.copy()
        total.update(np.ascontiguousarray(images[i]).data)
        found.append(int.from_bytes(total.digest(), "little"))
    return found


def _pixels_key(image: Pixels) -> int:
    return _array_keys(np.asarray(image)[None], np.arange(1))[0]


def _file_keys(fetch: Any, positions: Sequence[int] | np.ndarray) -> list[int]:
    known: np.ndarray | None = getattr(fetch, "known_keys", None)
    if known is not None:  # they were made when the shards were looked through
        return [int(known[i]) for i in positions]
    if hasattr(fetch, "encoded"):
        return [content_key(fetch.encoded(int(i)), fetch.called(int(i))) for i in positions]
    places: list[Place] = [fetch.place(int(i)) for i in positions]
    if len(places) < 4 * READERS:
        return [file_key(*place) for place in places]
    parts = np.array_split(np.arange(len(places)), READERS)
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda part: [file_key(*places[i]) for i in part], parts)
        return [key for keys in found for key in keys]


def file_key(path: str, offset: int = 0, size: int | None = None) -> int:
    """The key of an encoded picture: of its size, and of its bytes at the start, the middle and
    the end.

    Files of at most three blocks, and uncompressed ones, are read whole. In compressed formats a
    change of a pixel changes all that follows it, checksum included.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        status = os.stat(path)
        return _kept_key(path, offset, size, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


def content_key(content: bytes, name: str) -> int:
    """As :func:`file_key`, of an encoded picture that lies in no file of its own.

    Args:
        content: The bytes of the picture's file.
        name: Of that file: uncompressed ones count whole.
    """
    size = len(content)
    return blocks_key(size, [content[a : a + n] for a, n in blocks_of(size, name)])


def blocks_key(size: int, blocks: Sequence[bytes]) -> int:
    """As :func:`file_key`, of the bytes of :func:`blocks_of` alone."""
    return _hash(f"file {size};".encode(), *blocks)


def blocks_of(size: int, name: str) -> list[tuple[int, int]]:
    """Where the blocks of a picture's file begin that its key is made of, and how long they are.

    Args:
        size: Bytes of the picture's file.
        name: Of the file that it lies in: uncompressed ones count whole.
    """
    if size <= 3 * BLOCK or name.lower().endswith(UNCOMPRESSED):
        return [(0, size)]
    return [(start, BLOCK) for start in (0, (size - BLOCK) // 2, size - BLOCK)]


@functools.lru_cache(maxsize=2**20)  # a command resolves its data several times
def _kept_key(path: str, offset: int, size: int | None, length: int, modified: int) -> int:
    size = length - offset if size is None else size
    with open(path, "rb", buffering=0) as file:
        return blocks_key(size, [_block(file, offset + a, n) for a, n in blocks_of(size, path)])


def _block(file: Any, start: int, size: int) -> bytes:
    file.seek(start)
    parts, left = [], size
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
