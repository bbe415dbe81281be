"""From a stored image to the pixels that a model sees: size, crop, RGB, as open_clip does it. EXIF
orientation is not applied.

Every random number is a function of (seed, epoch, position of the image), so neither the number of
workers, nor the batch size, nor a resumed run changes a pixel.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from grace_geom.data.base import Pixels
from grace_geom.errors import UserError
from grace_geom.preprocess import Preprocess, as_inputs

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


def train_view(image: Image.Image, box: Box, size: int | tuple[int, int]) -> np.ndarray:
    """``(h, w, 3)`` uint8: the box, resized with antialiased bicubic interpolation, which open_clip
    trains every model with.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if box == (0, 0, width, height) == (0, 0, *image.size):
        return np.asarray(image)
    # Crop first: resize(box=...) would let pixels outside the box into the filter.
    return np.asarray(image.crop(box).resize((width, height), BICUBIC))


def eval_view(image: Image.Image, inputs: int | Preprocess) -> np.ndarray:
    """``(h, w, 3)`` uint8: resized and cropped or padded as the model's preprocessing says; a side
    in pixels means shorter side (antialiased bicubic), then the centre.

    An image that already has the size is returned untouched: nothing is resampled twice. Pictures
    of other modes (alpha, palette) become RGB after that, as in open_clip.

    Raises:
        UserError: If the picture is so narrow that nothing would be left of it.
    """
    inputs = as_inputs(inputs)
    try:
        return np.asarray(_geometry(inputs)(image))
    except ValueError:
        raise UserError(
            f"a picture of {image.width} x {image.height} pixels is too narrow to be resized "
            f"({inputs.resize_mode}) to {inputs.size[1]} x {inputs.size[0]}: leave it out"
        ) from None


@lru_cache
def _geometry(inputs: Preprocess) -> Callable[[Image.Image], Image.Image]:
    """open_clip's own transform without its last two steps, which the loader and the model take:
    to a tensor, and normalised.
    """
    # Here: workers that train never need it, and importing it takes a second.
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision.transforms import Compose

    cfg = PreprocessCfg(size=inputs.size, **inputs.record())
    steps = image_transform_v2(cfg, is_train=False).transforms
    assert [type(step).__name__ for step in steps[-2:]] == ["MaybeToTensor", "Normalize"]
    return Compose(steps[:-2])
