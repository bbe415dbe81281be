"""From a stored image to the pixels that a model sees: size, crop, RGB. EXIF orientation is not
applied.

Every random number is a function of (seed, epoch, position of the image), so neither the number of
workers, nor the batch size, nor a resumed run changes a pixel.
"""

import numpy as np
from PIL import Image

from grace_geom.data.base import Pixels

SCALE = (0.9, 1.0)  # share of the area that a training crop keeps
RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
BICUBIC = Image.Resampling.BICUBIC

Box = tuple[int, int, int, int]


def uniforms(seed: int, epoch: int, positions: np.ndarray, count: int) -> np.ndarray:
    """``(B, count)`` float64 in [0, 1): row ``b`` depends on (seed, epoch, positions[b]) alone.

    Philox (Salmon et al. 2011) is a function of a key and a counter, made for this.
    """
    philox = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))
    state = philox.state
    generator = np.random.Generator(philox)
    rows = np.empty((len(positions), count))
    for row, position in zip(rows, positions, strict=True):
        state["state"]["counter"][3] = position
        philox.state = state
        generator.random(out=row)
    return rows


def crop_boxes(u: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes of RandomResizedCrop (Szegedy et al. 2015, as in torchvision) from uniforms, for a
    whole batch.

    Args:
        u: ``(B, 2 * ATTEMPTS + 2)`` in [0, 1): areas, log aspect ratios, top, left.
        sizes: ``(B, 2)`` widths and heights in pixels.

    Returns:
        ``(B, 4)`` int64: left, top, right, bottom. Where no attempt fits, the largest central box
        within RATIO.
    """
    width, height = sizes[:, :1], sizes[:, 1:]
    area = (SCALE[0] + (SCALE[1] - SCALE[0]) * u[:, :ATTEMPTS]) * width * height
    low, high = np.log(RATIO)
    ratio = np.exp(low + (high - low) * u[:, ATTEMPTS : 2 * ATTEMPTS])
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.argmax(axis=1)[:, None]
    w, h = np.take_along_axis(w, first, 1), np.take_along_axis(h, first, 1)
    left = np.floor(u[:, -1:] * (width - w + 1))
    top = np.floor(u[:, -2:-1] * (height - h + 1))
    found = fits.any(axis=1)[:, None]
    central_w = np.minimum(width, np.rint(height * RATIO[1]))
    central_h = np.minimum(height, np.rint(width / RATIO[0]))
    w, h = np.where(found, w, central_w), np.where(found, h, central_h)
    left = np.where(found, left, (width - central_w) // 2)
    top = np.where(found, top, (height - central_h) // 2)
    return np.concatenate([left, top, left + w, top + h], axis=1).astype(np.int64)


def as_rgb(image: Pixels) -> Image.Image:
    """A PIL image in RGB; grey is repeated over the three channels."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(
            image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        )
    return image if image.mode == "RGB" else image.convert("RGB")


def train_view(image: Image.Image, box: Box, size: int) -> np.ndarray:
    """``(size, size, 3)`` uint8: the box, resized with antialiased bicubic interpolation."""
    if box == (0, 0, size, size) == (0, 0, *image.size):
        return np.asarray(image)
    # Crop first: resize(box=...) would let pixels outside the box into the filter.
    return np.asarray(image.crop(box).resize((size, size), BICUBIC))


def eval_view(image: Image.Image, size: int) -> np.ndarray:
    """``(size, size, 3)`` uint8: shorter side to ``size`` (antialiased bicubic), then the centre.

    An image that already has the size is returned untouched: nothing is resampled twice.
    """
    width, height = image.size
    if min(width, height) != size:
        short = min(width, height)
        width, height = size * width // short, size * height // short
        image = image.resize((width, height), BICUBIC)
    if (width, height) != (size, size):
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image)
