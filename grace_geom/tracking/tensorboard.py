"""TensorBoard: event files in ``tensorboard/`` of the folder, read by ``tensorboard --logdir``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grace_geom.serialise import to_yaml
from grace_geom.tracking.base import Home, Status


class Tensorboard:
    """See :class:`~grace_geom.tracking.base.Tracker`."""

    def __init__(self, home: Home) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter
        self.folder, self.done = home.folder / "tensorboard" / home.key, home.done
        self.board: Any = None

    def start(self, settings: Mapping[str, Any], name: str) -> dict[str, str]:
        """Open the event file; of a resumed run, steps that are made again are purged."""
        # Steps after the checkpoint that a resumed run goes on from are made again.
        purge = self.done + 1 if self.done else None
        self.board = self.writer(str(self.folder), purge_step=purge)
        text = "\n".join(f"    {line}" for line in to_yaml(dict(settings)).splitlines())
        self.board.add_text("settings", text)
        return {}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Scalars."""
        for name, value in numbers.items():
            self.board.add_scalar(name, value, step)

    def figure(self, name: str, path: Path) -> None:
        """PNG only."""
        if path.suffix != ".png":
            return
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self.board.add_image(name, np.asarray(image.convert("RGB")), dataformats="HWC")

    def finish(self, status: Status) -> None:
        """Close the file; it has no place for a status."""
        self.board.close()


TRACKER = Tensorboard
