"""Grey pictures of more than 8 bits: which value means white, and sets that do not say it."""

import io
import math
import warnings
from typing import Any

import numpy as np
from PIL import Image

from grace_geom.data.base import ImageSet, Picked
from grace_geom.errors import UserError

LOOKED_AT = 64
"""Pictures of a set that are looked at for their depth."""

DIM = 4096
"""16-bit pictures that stay below this are suspected to hold 12 bits or fewer."""

BITS, PHOTOMETRIC, FORMAT, WHITEST = 258, 262, 339, 341  # TIFF tags; the last is SMaxSampleValue


def levels(image: Image.Image, content: bytes, where: str) -> np.ndarray:
    """``(H, W)`` uint8: the levels of a grey picture of more than 8 bits.

    Raises:
        UserError: If its values tell no range of brightness, or exceed the one that it declares.
    """
    grey = np.asarray(image)
    bits = declared_bits(image, content, grey)
    if bits is not None:
        top = 2.0**bits - 1
        if not 0 <= grey.min() <= grey.max() <= top:
            raise UserError(
                f"{where}: values from {grey.min():g} to {grey.max():g}, but it declares {bits} "
                "bits: write the right number, or save it with 16 bits"
            )
    elif image.mode.startswith("I;16"):
        top = 65535.0
    else:
        grey, top = _with_range(image, grey, where)
    if _tag(image, PHOTOMETRIC, 1) == 0:  # Pillow turns only the 8-bit ones round
        grey = top - grey.astype(np.float64)
    return np.rint(grey.astype(np.float64) * (255 / top)).astype(np.uint8)


def declared_bits(image: Image.Image, content: bytes, grey: np.ndarray) -> int | None:
    """The significant bits that a grey picture declares, where they are fewer than it is stored in
    and stand at the low end.

    TIFF says so by ``BitsPerSample`` or ``SMaxSampleValue`` (of the form 2^k - 1; others are the
    brightest value of that picture, and tell no depth). By the PNG standard (11.3.2.4) samples are
    scaled up to 16 bits and ``sBIT`` only tells how many were there before: then the low bits are
    copies of the high ones, or zeros. Where they are not and all values are small, a writer left
    the samples as they were, and ``sBIT`` is their depth.
    """
    if image.format == "TIFF":
        stored, whitest = int(_tag(image, BITS, 0)), float(_tag(image, WHITEST, 0))
        if stored in range(9, 16):
            return stored
        if image.mode == "F" or whitest < 255 or not whitest.is_integer():
            return None
        bits = int(whitest).bit_length()
        return bits if int(whitest) == 2**bits - 1 and bits < stored else None
    if image.format == "PNG":
        significant = _significant(content)
        if significant is not None and grey.max() < 2**significant:
            return significant if (grey % 2 ** (16 - significant)).any() else None
    return None


def _significant(content: bytes) -> int | None:
    """The grey bits of a PNG's ``sBIT``, where there are fewer than 16; it stands before the
    pixels."""
    at = 8
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind == b"sBIT" and size:
            bits = content[at + 8]
            return bits if 0 < bits < 16 else None
        if kind == b"IDAT":
            return None
        at += 12 + size
    return None


def _tag(image: Image.Image, number: int, default: float) -> Any:
    """The first value of a TIFF tag."""
    return np.ravel(getattr(image, "tag_v2", {}).get(number, default))[0]


def _with_range(image: Image.Image, grey: np.ndarray, where: str) -> tuple[np.ndarray, float]:
    """Values and the one that means white.

    32-bit numbers carry no range of their own: they count as 8, 16 or 32 bits, whichever holds the
    largest one, and fractions as 0 to 1 or 0 to 255.
    """
    bits = _tag(image, BITS, 0)
    unsigned = image.mode == "I" and bits == 32 and _tag(image, FORMAT, 1) == 1
    if unsigned:
        grey = grey.view(np.uint32)
    low, high = float(grey.min()), float(grey.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{where}: a float picture with NaN or infinite values")
    if image.format in ("PNG", "PPM") and image.mode == "I":
        tops = [65535.0]
    elif image.mode == "F":
        tops = [1.0, 255.0]
    elif bits == 16:
        tops = [32767.0]
    else:
        tops = [255.0, 65535.0, 2.0**31 - 1, 2.0**32 - 1]
    top = next((top for top in tops if high <= top), None)
    if low < 0 or top is None:
        raise UserError(
            f"{where}: values from {low:g} to {high:g} tell no range of brightness: save it with 8 "
            "or 16 bits"
        )
    return grey, top


def dim_set(image_set: ImageSet) -> str:
    """A sentence on a set whose 16-bit pictures all stay below :data:`DIM` and declare no depth, so
    that they are read as nearly black; empty for other sets.

    At most :data:`LOOKED_AT` pictures are opened, and only those of 16 bits are decoded.
    """
    fetch: Any = image_set.fetch
    positions = np.arange(len(image_set))
    if isinstance(fetch, Picked):
        fetch, positions = fetch.inner, fetch.positions
    if not (hasattr(fetch, "place") or hasattr(fetch, "encoded")):
        return ""
    chosen = positions[np.unique(np.linspace(0, len(positions) - 1, LOOKED_AT).astype(int))]
    brightest, n = 0, 0
    for i in chosen.tolist():
        found = _brightest(fetch, i)
        if found is None:
            continue
        brightest, n = max(brightest, found), n + 1
        if brightest >= DIM:
            return ""
    if n == 0:
        return ""
    bits = max(9, brightest.bit_length())
    return (
        f"{image_set.spec}: in {n} 16-bit picture{'s' * (n > 1)} that were looked at no value "
        f"exceeds {brightest} of 65535, so they are read as nearly black. If {bits} bits are all "
        f"they hold, multiply the values by {2 ** (16 - bits)} and save them again, or write "
        f"SMaxSampleValue {2**bits - 1} into grey TIFF files."
    )


DEEP = (".png", ".tif", ".tiff")


def _content(fetch: Any, i: int) -> bytes:
    """The encoded bytes of an image."""
    if hasattr(fetch, "encoded"):
        return bytes(fetch.encoded(i))
    path, offset, size = fetch.place(i)
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(-1 if size is None else size)


def _brightest(fetch: Any, i: int) -> int | None:
    """The largest value of a 16-bit picture of no declared depth; ``None`` for any other file."""
    if hasattr(fetch, "place") and not fetch.called(i).lower().endswith(DEEP):
        return None  # rows of tables may have no name
    try:
        content = _content(fetch, i)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG", "TIFF")) as image:
                if image.mode.startswith("I;16"):
                    grey = np.asarray(image)
                    bits = declared_bits(image, content, grey)
                    return int(grey.max()) if bits is None else None
                deep = content[24] == 16 if image.format == "PNG" else _tag(image, BITS, 8) == 16
                if deep and image.mode in ("RGB", "RGBA", "LA"):  # Pillow gives the upper 8 bits
                    return int(np.asarray(image).max()) * 256 + 255
    except Exception:  # no picture: whoever reads it for a number is told
        return None
    return None
