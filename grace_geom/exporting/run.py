"""One export: what is asked for is checked first, then the folder is built under another name,
compared with ours as the other library reads it, and takes its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from grace_geom.checkpoint.export import export_weights, file_name
from grace_geom.checkpoint.opened import refuse_prompt
from grace_geom.errors import UserError
from grace_geom.exporting import graph, hub, open_clip_folder, peft_folder, transformers_folder
from grace_geom.exporting.card import (
    Card,
    accuracies_of,
    card_text,
    head_sentence,
    tokenizer_sentence,
)
from grace_geom.exporting.extras import EXTRAS, need
from grace_geom.exporting.head import ABOUT_FILE, write_about
from grace_geom.exporting.loaded import Loaded, opened
from grace_geom.files import atomic_folder, write_text

Format = Literal["safetensors", "open_clip", "transformers", "peft", "torch.export", "onnx"]
FORMATS: tuple[str, ...] = get_args(Format)
FOLDERS = FORMATS[1:]
"""Formats that are folders; ``safetensors`` is a file."""
WITH_PROMPT = ("torch.export", "onnx")
"""Formats that hold visual prompt tokens: those that hold the operations too."""


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and where to.

    Attributes:
        checkpoint: One of ours, or a run directory.
        out: File (``safetensors``) or folder; ``None``: beside the checkpoint.
        format: One of ``FORMATS``; ``None``: ``safetensors``.
        force: Replace an earlier export.
        verify: Compare the checkpoint with the digests that it was written with.
        base: Name of the pretrained model: that a PEFT adapter belongs to, instead of a copy; the
            card names it for other formats too.
        license: For the card, as the Hub knows it.
        push_to_hub: ``ORG/NAME`` of the repository to push the folder to.
        private: A new repository is private.
    """

    checkpoint: Path
    out: Path | None = None
    format: Format | None = None
    force: bool = False
    verify: bool = True
    base: str | None = None
    license: str | None = None
    push_to_hub: str | None = None
    private: bool = False


def export_model(request: ExportRequest) -> str:
    """Export a checkpoint.

    Returns:
        Lines for the user: where it is, how it compares, what does not travel.

    Raises:
        UserError: For a checkpoint that cannot be read or does not fit the format, a library that
            is not installed, a name that is taken, and what the Hub refuses.
    """
    if _format(request) == "safetensors":
        return export_weights(
            request.checkpoint, request.out, force=request.force, verify=request.verify
        )
    return _export_folder(request, _format(request))


def _format(request: ExportRequest) -> str:
    """The format, after what the request alone says wrong."""
    out, format = request.out, request.format
    if format is None:
        if out is not None and out.suffix != ".safetensors":
            raise UserError(
                f"--out {out}: say which format with --format ({', '.join(FOLDERS)}); without it "
                "a file is written whose name ends in .safetensors"
            )
        format = "safetensors"
    if format not in FORMATS:
        raise UserError(f"--format {format!r} is not known; valid: {', '.join(FORMATS)}")
    if format == "safetensors":
        given = {"base": request.base, "license": request.license,
                 "push-to-hub": request.push_to_hub, "private": request.private}  # fmt: skip
        if odd := [name for name, value in given.items() if value]:
            raise UserError(f"--{odd[0]} is for formats with a card: {', '.join(FOLDERS)}")
        return format
    if out is not None and out.suffix in (".safetensors", ".onnx", ".pt2", ".pt"):
        raise UserError(f"--out {out}: --format {format} writes a folder: leave the suffix out")
    if request.private and request.push_to_hub is None:
        raise UserError("--private is for --push-to-hub")
    if format in EXTRAS:
        need(format, f"--format {format}")
    if request.push_to_hub is not None:
        hub.check(request.push_to_hub)
    return format


def _export_folder(request: ExportRequest, format: str) -> str:
    loaded = opened(request.checkpoint, verify=request.verify)
    name = f"{file_name(loaded.checkpoint)}-{format}"
    out = request.out if request.out is not None else loaded.file.parent / name
    _refuse_taken(out, request.force)
    if format not in WITH_PROMPT:
        refuse_prompt(loaded.checkpoint, request.checkpoint)
    check, write = _writer(format, request)
    check(loaded)
    accuracies, missing = accuracies_of(loaded.file)
    title = (request.push_to_hub or out.resolve().name).rpartition("/")[2]
    absent = open_clip_folder.absent_tokenizer(loaded) if format == "open_clip" else ""
    card = Card(
        title, format, accuracies, request.license, request.base, loaded.trained_head(),
        request.push_to_hub, absent,
    )  # fmt: skip
    with atomic_folder(out, replace=request.force) as folder:
        difference = write(folder, loaded)
        write_about(folder, loaded)
        write_text(folder / "README.md", card_text(card, loaded))
    lines = [str(out), f"logits as {_reader(format)} computes them: {_as_ours(difference)}"]
    lines += [f"card without accuracies: {missing}"] if missing else []
    lines += [tokenizer_sentence(card).replace("`", "")] if absent else []
    lines += [head_sentence(card).replace("`", "")]
    if request.push_to_hub is not None:
        lines.append(f"pushed to {hub.push(out, request.push_to_hub, private=request.private)}")
    return "\n".join(lines)


def _as_ours(difference: float) -> str:
    return (
        f"within {difference:.1e} of ours, relative to the largest"
        if difference
        else "ours, bit for bit"
    )


def _reader(format: str) -> str:
    return {"peft": "PEFT", "onnx": "onnxruntime"}.get(format, format)


def _refuse_taken(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise UserError(f"--out {out} exists already: add --force to replace it")
    if not (out / ABOUT_FILE).is_file():
        raise UserError(
            f"--out {out} is no export of grace_geom (it has no {ABOUT_FILE}), and --force would "
            "remove what is in it: give another name"
        )


Check = Callable[[Loaded], None]
Write = Callable[[Path, Loaded], float]


def _writer(format: str, request: ExportRequest) -> tuple[Check, Write]:
    """What refuses a checkpoint for a format, and what writes it."""
    writers: dict[str, tuple[Check, Write]] = {
        "open_clip": (open_clip_folder.check, open_clip_folder.write),
        "transformers": (transformers_folder.check, transformers_folder.write),
        "peft": (
            peft_folder.check,
            lambda folder, loaded: peft_folder.write(folder, loaded, request.base),
        ),
        "torch.export": (_anything, graph.write_pt2),
        "onnx": (_anything, graph.write_onnx),
    }
    return writers[format]


def _anything(loaded: Loaded) -> None:
    """Every network fits."""
