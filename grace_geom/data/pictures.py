"""Decoding of image files, wherever their bytes lie, into the picture that open_clip's pipeline
sees.

As ``PIL.Image.open`` there: EXIF orientation is not applied, palettes, alpha and CMYK stay until
the picture has been resized, of an animation the first frame counts. Unlike there, grey pictures of
more than 8 bits keep their levels, where ``convert("RGB")`` would cut them off at 255.
"""

import functools
import io
import os
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from grace_geom.data.depth import levels
from grace_geom.data.text import shown
from grace_geom.errors import UserError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF", "AVIF", "JPEG2000")
"""What may lie under such a name; others (EPS, PDF ...) would start further programs."""

MAX_BYTES = 2**30  # of one image file
MAX_PIXELS = 150_000_000  # the largest cameras have 150 megapixels
MAX_ASPECT = 200  # a longer strip, resized by its short side, would fill the memory


def decode(content: bytes, where: str) -> Image.Image:
    """A picture from the bytes of an image file, in its own mode; EXIF orientation is not applied.

    Grey of more than 8 bits, and modes that Pillow cannot resize, come as RGB.

    Raises:
        UserError: If the bytes are cut short or are no image, or the picture's sides or values are
            out of range; ``where`` names the file and its place.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is decided here: read or refused
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                check_sides(image.size, where)
                return _levels(image, content, where)
    except UserError:
        raise
    except Image.DecompressionBombError:  # Pillow's own bound, met while it opens a picture
        raise UserError(
            f"{where}: more than {MAX_PIXELS // 10**6} megapixels: reduce it or remove it"
        ) from None
    except Exception as error:  # decoders raise whatever they like on bad bytes: struct, zlib, Syntax-, OSError ...
        raise UserError(
            f"{where}: not a readable image, {len(content)} bytes ({_short(error)}). Fetch it "
            "again or remove it."
        ) from None


def check_sides(size: tuple[int, int], where: str) -> None:
    """Refuse a picture by its declared width and height, before memory is taken for it.

    Raises:
        UserError: If it has no pixels, too many, or is a strip.
    """
    width, height = size
    if not (width and height):
        why = "no pixels"
    elif width * height > MAX_PIXELS:
        why = f"more than {MAX_PIXELS // 10**6} megapixels: reduce it"
    elif max(size) > MAX_ASPECT * min(size):
        why = f"sides that differ by more than {MAX_ASPECT} times: crop it"
    else:
        return
    raise UserError(f"{where}: a picture of {width}x{height} pixels, {why} or remove it")


def _levels(image: Image.Image, content: bytes, where: str) -> Image.Image:
    """The picture as it is, but 16-bit, 32-bit and float ones in RGB with their levels."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(levels(image, content, where)).convert("RGB")
    return image.copy() if _resizable(image.mode) else image.convert("RGB")


@functools.cache
def _resizable(mode: str) -> bool:
    """Whether Pillow resizes a mode and then makes RGB of it, as open_clip asks it to."""
    try:
        Image.new(mode, (4, 4)).resize((2, 2), Image.Resampling.BICUBIC).convert("RGB")
    except ValueError:
        return False
    return True


def _short(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no known image format" if "cannot identify image" in text else text


@dataclass(frozen=True)
class Files:
    """Reads pictures from files.

    Attributes:
        folder: What ``names`` are relative to.
        names: One file an image.
        collection: A published collection whose names are fixed: there a picture is known by its
            name, elsewhere by its bytes.
    """

    folder: str
    names: Sequence[str]
    collection: str = ""

    def __call__(self, i: int) -> Image.Image:
        path = Path(self.folder, self.names[i])
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{shown(path)} is no longer a plain file")
            if status.st_size > MAX_BYTES:
                raise UserError(
                    f"{shown(path)}: {status.st_size} bytes are too many for one picture"
                )
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{shown(path)} cannot be read ({error.strerror}); it was there when the folder "
                "was listed"
            ) from None
        return decode(content, shown(path))

    def place(self, i: int) -> tuple[str, int, int | None]:
        """File, offset and number of bytes of an image: it begins at 0 and takes the whole file."""
        return os.path.join(self.folder, self.names[i]), 0, None

    def published(self, i: int) -> str | None:
        """The name by which everybody knows an image; ``None`` where names are the user's own."""
        return f"{self.collection}/{self.names[i]}" if self.collection else None

    def called(self, i: int) -> str:
        """The image's file."""
        return os.path.join(self.folder, self.names[i])
