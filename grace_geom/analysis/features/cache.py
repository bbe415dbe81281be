"""Features on disk beside what decides them, so that every analysis of a folder shares one pass
over the images.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grace_geom.analysis.features.extract import Features
from grace_geom.evaluation.identity import key_of
from grace_geom.files import atomic_write, write_text
from grace_geom.records.arrays import read_arrays
from grace_geom.terminal import say

REVISION = 11
"""Part of the cache keys of analyses and of adversarial images: raise it when an estimator or an
attack changes.
"""

MOST_BYTES = 2**28
"""Features above this size are collected again rather than kept."""


@dataclass(frozen=True)
class Kept:
    """One place of the cache: ``feat-KEY.npz`` and the settings that the key stands for, as JSON
    beside it.

    Attributes:
        folder: Where it lies; ``None`` keeps nothing.
        settings: All that decides the features, as plain types.
    """

    folder: Path | None
    settings: Mapping[str, Any]

    def read(self, labels: Tensor, images: str, distribution: str) -> Features | None:
        """The features; ``None`` where there are none, or (which is said) damaged ones: they are
        then collected.
        """
        # The JSON is written last: without it, nothing was kept.
        if self.folder is None or not self._file.with_suffix(".json").is_file():
            return None
        try:
            layers = self._layers(len(labels))
        except (OSError, ValueError, RecursionError) as error:
            say(f"{self._file} is damaged: its features are collected anew ({error})")
            return None
        return Features(layers, labels, images, distribution)

    def _layers(self, n: int) -> dict[str, Tensor]:
        """The features by layer, of ``n`` images.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If one holds something else than was written.
        """
        if json.loads(self._file.with_suffix(".json").read_text(encoding="utf-8")) != self.settings:
            raise ValueError("the settings beside it are not those of its name")
        layers = read_arrays(self._file.read_bytes(), 2 * MOST_BYTES)
        if not layers or any(x.dtype.kind != "f" or x.shape[:1] != (n,) for x in layers.values()):
            raise ValueError(f"it does not hold features of {n} images")
        return {name: torch.from_numpy(x) for name, x in layers.items()}

    def write(self, features: Features) -> None:
        """Keep them, unless they are too large."""
        if self.folder is None or sum(x.nbytes for x in features.layers.values()) > MOST_BYTES:
            return
        with atomic_write(self._file) as out:
            np.savez(out, **{name: x.numpy() for name, x in features.layers.items()})  # type: ignore[arg-type]
        write_text(
            self._file.with_suffix(".json"), json.dumps(self.settings, indent=2, sort_keys=True)
        )

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / f"feat-{key_of(self.settings)}.npz"
