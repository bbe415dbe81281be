"""A checkpoint for other libraries:
``python -m grace_geom.export CKPT --format transformers --out FOLDER``"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from grace_geom import starts
from grace_geom.cli import parse, quick
from grace_geom.refusals import check_checkpoints, check_leading, refuse_several
from grace_geom.terminal import door, finish

PROG = "python -m grace_geom.export"


@dataclass
class ExportConfig:
    """What to export, and where to.

    Attributes:
        checkpoint: Checkpoint of this package, or a run directory.
        out: Output file (.safetensors) or folder; null: beside the checkpoint.
        format: safetensors (a file of merged weights), or a folder for open_clip, transformers
            (CLIPModel), peft (the LoRA factors), torch.export or onnx (image tower and head);
            null: safetensors.
        force: Replace an existing export.
        no_verify: Do not verify the checkpoint against the digests that it was written with.
        base: Name of the pretrained model in transformers' format: the adapter of --format peft
            refers to it instead of a copy, and the model card names it.
        license: Licence in the model card, as the Hub names it: mit, apache-2.0 ...
        push_to_hub: Push the folder to this repository of the Hugging Face Hub, ORG/NAME.
        private: Make a new repository private.
    """

    checkpoint: Path = field(metadata={"group": "export"})
    out: Path | None = None
    format: (
        Literal["safetensors", "open_clip", "transformers", "peft", "torch.export", "onnx"] | None
    ) = None
    force: bool = False
    no_verify: bool = False
    base: str | None = field(default=None, metadata={"group": "model card and Hub"})
    license: str | None = None
    push_to_hub: str | None = None
    private: bool = False


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Write the file or folder and say how to read it."""
    quick.answer(PROG, argv, check=check_checkpoints, begin=starts.export, leading=check_leading)
    refuse_several("export")
    config = parse(
        ExportConfig, argv, positionals=("checkpoint",), prog=PROG,
        description="Write a checkpoint as other libraries read it: merged weights for open_clip, "
        "or a folder with model, preprocessing, head, class names and model card.",
    )  # fmt: skip
    quick.begun(starts.export(vars(config)))
    from grace_geom.exporting import ExportRequest, export_model

    text = export_model(
        ExportRequest(
            config.checkpoint,
            config.out,
            config.format,
            force=config.force,
            verify=not config.no_verify,
            base=config.base,
            license=config.license,
            push_to_hub=config.push_to_hub,
            private=config.private,
        )
    )
    out, *notes = text.splitlines()
    finish(Path(out), text=text, out=out, format=config.format or "safetensors", notes=notes)


if __name__ == "__main__":
    main()
