"""Random numbers by counting: draw ``k`` of field ``f`` of image ``i`` is a hash of (seed, f, i,
k), in any batch.

Only integer arithmetic and correctly rounded float operations are used here and in the renderer
(``+ - * /``, square root, minimum, floor; no exp, sin or BLAS): those give the same bits on every
machine, libm and vector units do not.
"""

import copy
import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = 0x9E3779B97F4A7C15


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection of 64-bit words that passes
    as random.
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Draws:
    """Every random choice of a batch of images, by name: fields are independent, and so are images.

    Args:
        stream: Names the set and split; other streams are independent.
        seed: Of the whole benchmark.
        indices: ``(n,)`` image numbers.
    """

    def __init__(self, stream: str, seed: int, indices: Ints) -> None:
        self.stream = f"{seed}/{stream}"
        self.indices = np.asarray(indices, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self.indices)

    def rows(self, keep: NDArray[np.int64] | slice) -> "Draws":
        """The same stream at some of the images."""
        part = copy.copy(self)
        part.indices = self.indices[keep]
        return part

    def bits(self, field: str, k: int) -> NDArray[np.uint64]:
        """``(n, k)`` random 64-bit words."""
        key = np.array([zlib.crc32(f"{self.stream}/{field}".encode())], dtype=np.uint64)
        row = mix(
            mix(key * np.uint64(_GOLDEN)) + (self.indices + np.uint64(1)) * np.uint64(_GOLDEN)
        )
        column = (np.arange(k, dtype=np.uint64) + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
        return mix(row[:, None] + column)

    def uniform(self, field: str, low: float = 0.0, high: float = 1.0) -> Floats:
        """``(n,)`` uniform numbers in [low, high)."""
        return self.uniforms(field, 1, low, high)[:, 0]

    def uniforms(self, field: str, k: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """``(n, k)`` uniform numbers in [low, high)."""
        return low + (high - low) * (
            (self.bits(field, k) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        )

    def normals(self, field: str, k: int) -> Floats:
        """``(n, k)`` near-normal numbers, mean 0 and variance 1: the sum of four uniform 16-bit
        parts of a word.
        """
        bits = self.bits(field, k)
        total = np.zeros(bits.shape)
        for shift in (0, 16, 32, 48):
            total += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64)
        return (total - 2.0 * 65535) * (1.7320508075688772 / 65536)

    def chance(self, field: str, p: float) -> NDArray[np.bool_]:
        """``(n,)`` true with probability ``p``."""
        return self.uniform(field) < p

    def choice(self, field: str, weights: tuple[float, ...]) -> Ints:
        """``(n,)`` positions in ``weights``, drawn in proportion to them."""
        edges = np.cumsum(np.array(weights)) / sum(weights)
        return np.minimum((self.uniform(field)[:, None] >= edges).sum(1), len(weights) - 1).astype(
            np.int64
        )
