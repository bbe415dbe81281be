"""Features on disk beside what decides them, so that every analysis of a folder shares one pass
over the images.
"""

import json
import zipfile
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

REVISION = 8
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
        """The features; ``None`` where they are absent, damaged or of other settings: they are then
        collected.
        """
        if self.folder is None:
            return None
        try:
            if (
                json.loads(self._file.with_suffix(".json").read_text(encoding="utf-8"))
                != self.settings
            ):
                return None
            with np.load(self._file, allow_pickle=False) as stored:
                layers = {name: torch.from_numpy(stored[name]) for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None
        if not layers or any(len(x) != len(labels) for x in layers.values()):
            return None
        return Features(layers, labels, images, distribution)

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
