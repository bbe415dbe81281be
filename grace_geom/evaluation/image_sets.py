"""Data sets by SPEC, each read once."""

from pathlib import Path

from grace_geom.data import ImageSet, Split, resolve


class Sets:
    """Data sets by SPEC, each read once however many checkpoints are evaluated on it."""

    def __init__(self, data_root: Path | None = None, download: bool = False) -> None:
        self.data_root, self.download = data_root, download
        self._read: dict[tuple[str, Split, int, Path | None], ImageSet] = {}

    def __call__(
        self, spec: str, split: Split, split_seed: int = 0, root: str | None = None
    ) -> ImageSet:
        """A split; ``root`` is the data root of the training run, for where none is given."""
        where = self.data_root or root
        key = (spec, split, split_seed, Path(where).expanduser().resolve() if where else None)
        if key not in self._read:
            self._read[key] = resolve(
                spec, split, data_root=where, download=self.download, seed=split_seed
            )
        return self._read[key]
