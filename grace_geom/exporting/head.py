"""The head that a checkpoint answers with, beside weights that have no place for it."""

import json
from pathlib import Path

from safetensors.torch import save_file

from grace_geom.exporting.loaded import Loaded
from grace_geom.exporting.recipe import public
from grace_geom.files import write_text
from grace_geom.records import Accuracy, shown

HEAD_FILE = "grace_geom_head.safetensors"
ABOUT_FILE = "grace_geom_head.json"
"""Also what tells a folder that an export made from any other."""


def write_head(folder: Path, loaded: Loaded) -> None:
    """Write ``weight`` (K, D) and ``bias`` (K,), float32: logits are ``f weight' + bias`` of unit
    image features f.
    """
    tensors = {name.removeprefix("head."): w.contiguous() for name, w in loaded.model.head.items()}
    save_file(tensors, folder / HEAD_FILE, metadata={"format": "pt"})


def write_about(folder: Path, loaded: Loaded) -> None:
    """Write class names in label order, prompt templates, and how pictures are read."""
    model = loaded.model
    about = {
        "format": "grace_geom.head/1",
        "model": public(loaded.checkpoint.model),
        "class_names": list(model.class_names),
        "templates": list(model.templates),
        "preprocess": {"size": list(model.preprocess.size)} | model.preprocess.record(),
    }
    write_text(folder / ABOUT_FILE, json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def own_accuracy(accuracies: tuple[Accuracy, ...]) -> Accuracy | None:
    """The clean ID accuracy at the checkpoint's own head, if it is on record."""
    own = [a for a in accuracies if a.suite == "id" and a.head == "the checkpoint's head"]
    return own[-1] if own else None


def about_head(carried: str, trained: bool | None, own: Accuracy | None) -> str:
    """What becomes of the accuracy for those who use the towers without the head.

    Args:
        carried: Where the head is: ``in the graph``, or the name of its file.
        trained: Whether it is another than the text tower gives; ``None``: unknown.
        own: Its accuracy, where it is known.
    """
    if trained is None:
        return (
            f"The head is {carried}. Whether the text tower gives the same logits is unknown: the "
            "tokenizer could not be read when this was exported."
        )
    if not trained:
        return (
            f"The head ({carried}) is the zero-shot head of the class names and templates: the "
            "text tower gives the same logits."
        )
    known = f" ({100 * shown(own).value:.1f} % on {own.data})" if own else ""
    return (
        f"The head was trained or chosen by the method, and is {carried}. The accuracy of the "
        f"checkpoint{known} holds with this head only. With class names and templates through the "
        "text tower it is different, and was not measured."
    )
