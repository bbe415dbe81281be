"""A checkpoint opened by what the options of a command say of it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from grace_geom.checkpoint import Checkpoint, open_checkpoint
from grace_geom.data import ImageSet
from grace_geom.data.names import read_class_names
from grace_geom.devices import pick_device
from grace_geom.errors import UserError
from grace_geom.models import ClipClassifier


class Opening(Protocol):
    """Options of a command that opens checkpoints."""

    @property
    def data(self) -> str | None:
        """ID data set."""

    @property
    def model(self) -> str | None:
        """open_clip name of a foreign model."""

    @property
    def pretrained(self) -> str | None:
        """Weights of what a foreign checkpoint lacks."""

    @property
    def preprocess(self) -> str | None:
        """How a foreign model preprocesses images."""

    @property
    def weights(self) -> str | None:
        """Which of two sets of weights in a foreign checkpoint."""

    @property
    def classes(self) -> Path | None:
        """File with a foreign head's class names."""

    @property
    def device(self) -> str:
        """Device, or ``auto``."""

    @property
    def no_verify(self) -> bool:
        """Skip the comparison with the digest."""


def open_with(
    file: Path, options: Opening, test_set: Callable[[str], ImageSet], purpose: str
) -> tuple[ClipClassifier, Checkpoint, str]:
    """The model, its record, and the ID data set's SPEC.

    Args:
        file: The checkpoint, of ours or foreign.
        options: What the command was told.
        test_set: From a SPEC to its test images, whose classes a foreign checkpoint is asked.
        purpose: What for, as in "evaluate it on".

    Raises:
        UserError: For a checkpoint that cannot be read, or about which too little is said.
    """

    def head() -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Class names and templates, from the data that were named."""
        if options.data is None:
            raise UserError(
                f"{file}: a foreign checkpoint does not say what to {purpose}: add --data"
            )
        images = test_set(options.data)
        names = read_class_names(options.classes, file) if options.classes else images.class_names
        return names, images.templates

    model, checkpoint = open_checkpoint(
        file,
        model=options.model,
        pretrained=options.pretrained,
        preprocess=options.preprocess,
        weights=options.weights,
        foreign_head=head,
        device=pick_device(options.device),
        verify=not options.no_verify,
    )
    if "foreign" not in checkpoint.config:
        _say_unused(file, options)
    data = options.data or checkpoint.config.get("data")
    if not data:
        raise UserError(f"{file} does not say what it was trained on: add --data")
    return model, checkpoint, str(data)


def _say_unused(file: Path, options: Opening) -> None:
    """Warn of flags for foreign checkpoints that one of ours does not need."""
    names = [
        name for name in ("model", "pretrained", "weights", "classes") if getattr(options, name)
    ]
    if names:
        flags = ", ".join(f"--{name}" for name in names)
        what = (
            "is for the others and changes" if len(names) == 1 else "are for the others and change"
        )
        warnings.warn(
            f"{file} is a checkpoint of grace_geom, which records its model and classes: {flags} "
            f"{what} nothing here",
            stacklevel=3,
        )
