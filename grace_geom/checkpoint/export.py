"""Out of the house: merged weights in a file that needs nothing of ours to be read."""

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save

from grace_geom.checkpoint.opened import refuse_prompt
from grace_geom.checkpoint.record import Checkpoint, load_checkpoint, recorded
from grace_geom.errors import UserError
from grace_geom.files import atomic_write, write_text
from grace_geom.models.sources import CONFIGS
from grace_geom.preprocess import Preprocess


def export_weights(
    checkpoint: Path | str,
    out: Path | str | None = None,
    *,
    force: bool = False,
    verify: bool = True,
) -> str:
    """Write merged weights as safetensors.

    A fine-tuned head is not part of a CLIP: where the method trained one, the sentence says so.

    Args:
        checkpoint: One of ours, or a run directory.
        out: ``FILE.safetensors``; ``None``: ``MODEL.safetensors`` beside the checkpoint.
        force: Replace an existing file.
        verify: Compare its content with the digests that it was written with.

    Returns:
        Two to four lines: where it is, and how to read it.

    Raises:
        UserError: Not a checkpoint of ours, or one with visual prompt tokens; another suffix, an
            existing file, a full disk.
    """
    read, path = load_checkpoint(checkpoint, verify=verify), Path(checkpoint)
    refuse_prompt(read, path)
    folder = path if path.is_dir() else path.parent
    out = Path(out) if out is not None else folder / f"{file_name(read)}.safetensors"
    if out.suffix != ".safetensors":
        raise UserError(
            f"--out {out}: open_clip knows the format by the suffix, it must end in .safetensors"
        )
    if out.exists() and not force:
        raise UserError(f"--out {out} exists already: add --force to replace it")
    tensors = {name: w.contiguous() for name, w in read.state_dict.items()}
    with atomic_write(out) as file:
        file.write(
            save(tensors, metadata={"format": "pt"})
        )  # more keys would come in another order each time
    lines = [str(out)]
    name, own = file_name(read), CONFIGS / f"{read.model}.json"
    if read.network or own.is_file():  # open_clip must be shown what it does not bring
        shown = json.dumps(read.network, indent=4) if read.network else own.read_text("utf-8")
        config = out.with_name(f"{name}.json")
        write_text(config, shown)
        lines.append(f"read it with: open_clip.add_model_config({str(config)!r})")
    lines += [
        f"read it with: open_clip.create_model({name!r}, "
        f"pretrained={str(out)!r}{_options(read, path)})"
    ]
    if read.config.get("train_head") or read.config.get("method") == "linear-probe":
        lines.append("the head that was trained is not in it: it is text_head of the checkpoint")
    return "\n".join(lines)


def file_name(read: Checkpoint) -> str:
    """The network's name where it is one, else the end of what ``--model`` was, as a file name."""
    if not read.network:
        return read.model
    last = read.model.removesuffix(".json").rpartition(":")[2].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "-", last) or "network"


def _options(read: Checkpoint, path: Path) -> str:
    """What open_clip must be told beside the name: preprocessing that is not its default."""
    usual = Preprocess()  # what open_clip takes for a file, whatever its network
    own = recorded(read, usual.size, path)
    differs = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in own.record().items()
        if not _close(value, usual.record()[name])
    }
    return f", force_preprocess_cfg={differs}" if differs else ""


def _close(a: Any, b: Any) -> bool:
    """Equal, or numbers that float32 does not tell apart."""
    if not isinstance(a, list):
        return bool(a == b)
    return all(abs(x - y) < 1e-6 for x, y in zip(a, b, strict=True))
