"""Common corruptions at five severities, in the manner of ImageNet-C (Hendrycks and Dietterich
2019).
"""

from collections.abc import Callable

import numpy as np

from grace_geom.data.shapes.draws import Draws, Floats, Ints
from grace_geom.data.shapes.noise import clouds

SEVERITIES = 5


def _field(draws: Draws, name: str, picture: Floats) -> Floats:
    return draws.normals(name, picture[0].size).reshape(picture.shape)


def _gaussian_noise(p: Floats, s: Floats, draws: Draws) -> Floats:
    return p + (0.03 + 0.04 * s) * _field(draws, "gaussian", p)


def _shot_noise(p: Floats, s: Floats, draws: Draws) -> Floats:
    return p + (0.04 + 0.06 * s) * np.sqrt(np.clip(p, 0, 1)) * _field(draws, "shot", p)


def _impulse_noise(p: Floats, s: Floats, draws: Draws) -> Floats:
    u = draws.uniforms("impulse", p[0].size).reshape(p.shape)
    share = 0.01 + 0.025 * s
    return np.where(u < share, 0.0, np.where(u > 1 - share, 1.0, p))


def _box(p: Floats, axis: int) -> Floats:
    """Three-tap binomial blur along an axis, edges repeated."""
    pad = [(0, 0)] * p.ndim
    pad[axis] = (1, 1)
    q = np.pad(p, pad, mode="edge")
    n = p.shape[axis]
    left, mid, right = (np.take(q, range(k, k + n), axis=axis) for k in range(3))
    return 0.25 * left + 0.5 * mid + 0.25 * right


def _defocus_blur(p: Floats, s: Floats, draws: Draws) -> Floats:
    for k in range(2 * SEVERITIES - 2):
        p = np.where(2 * s >= k + 1, _box(_box(p, 1), 2), p)
    return p


def _motion_blur(p: Floats, s: Floats, draws: Draws) -> Floats:
    upright = draws.chance("motion axis", 0.5)[:, None, None, None]
    total, weight, along = p, np.ones_like(s), p
    for k in range(1, SEVERITIES + 2):
        along = np.where(upright, np.roll(along, 1, axis=1), np.roll(along, 1, axis=2))
        use = (s + 1 >= k).astype(np.float64)
        total, weight = total + use * along, weight + use
    return total / weight


def _fog(p: Floats, s: Floats, draws: Draws) -> Floats:
    veil = np.clip(0.10 + 0.11 * s + 0.15 * clouds(draws, "fog")[..., None], 0, 0.9)
    return p + (0.9 - p) * veil


def _brightness(p: Floats, s: Floats, draws: Draws) -> Floats:
    sign = np.where(draws.chance("brighter", 0.5), 1.0, -1.0)[:, None, None, None]
    return p + sign * (0.06 + 0.06 * s)


def _contrast(p: Floats, s: Floats, draws: Draws) -> Floats:
    return 0.5 + (p - 0.5) * (0.80 - 0.13 * s)


def _saturate(p: Floats, s: Floats, draws: Draws) -> Floats:
    grey = (p[..., :1] + p[..., 1:2] + p[..., 2:]) / 3
    return grey + (p - grey) * np.where(
        draws.chance("grey", 0.5)[:, None, None, None], 0.8 - 0.2 * s, 1.3 + 0.4 * s
    )


def _pixelate(p: Floats, s: Floats, draws: Draws) -> Floats:
    n, h, w, c = p.shape
    coarse = p
    for size in (2, 4):
        blocks = p.reshape(n, h // size, size, w // size, size, c)
        mean = sum(blocks[:, :, i, :, j] for i in range(size) for j in range(size)) / size**2
        blocky = np.repeat(np.repeat(mean, size, 1), size, 2)
        share = np.clip(s / 2 if size == 2 else (s - 2) / 3, 0, 1)
        coarse = coarse + share * (blocky - coarse)
    return coarse


CORRUPTIONS: dict[str, Callable[[Floats, Floats, Draws], Floats]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturate": _saturate,
    "pixelate": _pixelate,
}


def drawn(draws: Draws) -> tuple[Ints, Ints]:
    """Which corruption ``(n,)`` each image has, and its severity ``(n,)`` in 1 to 5."""
    kind = draws.choice("corruption", (1.0,) * len(CORRUPTIONS))
    return kind, 1 + draws.choice("severity", (1.0,) * SEVERITIES)


def corrupt(
    pictures: Floats, draws: Draws, probability: float, levels: tuple[float, float]
) -> Floats:
    """Spoil a share of the pictures.

    Args:
        pictures: ``(n, h, w, 3)``, about [0, 1].
        draws: Stream at these images.
        probability: Of being spoilt at all.
        levels: Strength of severity 1 and of severity 5, of which 4 is the strongest and 0 next to
            nothing.
    """
    if probability == 0:
        return pictures
    kind, severity = drawn(draws)
    spoilt = draws.chance("corrupted", probability)
    out = np.clip(pictures, 0, 1)
    for k, spoil in enumerate(CORRUPTIONS.values()):
        (rows,) = np.nonzero(spoilt & (kind == k))
        if len(rows):
            mild, strong = levels
            level = (mild + (strong - mild) * (severity[rows] - 1) / (SEVERITIES - 1))[
                :, None, None, None
            ]
            out[rows] = spoil(out[rows], level, draws.rows(rows))
    return out
