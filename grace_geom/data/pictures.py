"""Decoding of image files, wherever their bytes lie."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from grace_geom.errors import UserError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"})


def decode(content: bytes, where: str) -> Image.Image:
    """An RGB picture from the bytes of an image file; EXIF orientation is not applied.

    Raises:
        UserError: If the bytes are cut short or are no image; ``where`` names the file and its
            place.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders raise whatever they like on bad bytes: struct, zlib, Syntax-, OSError ...
        raise UserError(
            f"{where}: not a readable image, {len(content)} bytes ({_short(error)}). Fetch it "
            "again or remove it."
        ) from None


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
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); it was there when the folder was listed"
            ) from None
        return decode(content, str(path))

    def place(self, i: int) -> tuple[str, int, int | None]:
        """File, offset and number of bytes of an image: it begins at 0 and takes the whole file."""
        return os.path.join(self.folder, self.names[i]), 0, None

    def published(self, i: int) -> str | None:
        """The name by which everybody knows an image; ``None`` where names are the user's own."""
        return f"{self.collection}/{self.names[i]}" if self.collection else None

    def called(self, i: int) -> str:
        """The image's file."""
        return os.path.join(self.folder, self.names[i])
