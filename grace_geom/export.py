"""Merged weights for plain open_clip:
``python -m grace_geom.export CKPT --out FILE.safetensors``"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grace_geom.cli import parse, quick
from grace_geom.errors import door
from grace_geom.refusals import check_checkpoints

PROG = "python -m grace_geom.export"


@dataclass
class ExportConfig:
    """What to export, and where to.

    Attributes:
        checkpoint: Checkpoint of this package, or a run directory.
        out: Output file (.safetensors); null: beside the checkpoint.
        force: Overwrite an existing file.
        no_verify: Do not verify the file against the digests that it was written with.
    """

    checkpoint: Path = field(metadata={"group": "export"})
    out: Path | None = None
    force: bool = False
    no_verify: bool = False


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Write the file and say how to read it."""
    quick.answer(PROG, argv, check=check_checkpoints)
    from grace_geom.checkpoint import export_weights

    config = parse(
        ExportConfig, argv, positionals=("checkpoint",), prog=PROG,
        description="Write merged weights that open_clip.create_model(..., pretrained=FILE) reads.",
    )  # fmt: skip
    print(
        export_weights(
            config.checkpoint, config.out, force=config.force, verify=not config.no_verify
        )
    )


if __name__ == "__main__":
    main()
