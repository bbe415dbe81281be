"""One checkpoint for every method: merged, plain open_clip weights and a readable record. Reading
never runs code.
"""

from grace_geom.checkpoint.export import export_weights
from grace_geom.checkpoint.opened import checkpoint_of, load, open_base, open_checkpoint
from grace_geom.checkpoint.record import (
    Checkpoint,
    link,
    load_checkpoint,
    recorded,
    save_checkpoint,
    trained_on,
)
from grace_geom.models.tensor_files import digest
from grace_geom.records.places import checkpoint_file

__all__ = [
    "Checkpoint",
    "checkpoint_file",
    "checkpoint_of",
    "digest",
    "export_weights",
    "link",
    "load",
    "load_checkpoint",
    "open_base",
    "open_checkpoint",
    "recorded",
    "save_checkpoint",
    "trained_on",
]
