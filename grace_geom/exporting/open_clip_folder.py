"""A folder as open_clip lays it out on the Hub: ``open_clip.create_model("local-dir:FOLDER")``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import open_clip
import torch
from safetensors.torch import load_file, save_file

from grace_geom.errors import UserError
from grace_geom.exporting.head import HEAD_FILE, write_head
from grace_geom.exporting.loaded import Loaded, compared
from grace_geom.files import write_text
from grace_geom.models.sources import HUB_CONFIG


def check(loaded: Loaded) -> None:
    """Refuse a text tower that only a folder of this machine describes: open_clip looks for it by
    the name in the configuration, and in no folder beside it.

    Raises:
        UserError: Naming that folder.
    """
    tower = network_of(loaded)["text_cfg"].get("hf_model_name")
    if _is_place(tower):
        raise UserError(
            f"--format open_clip: the configuration of the text tower lies in {tower}, which an "
            "exported folder cannot name: --format torch.export and onnx hold image tower and head"
        )


def network_of(loaded: Loaded) -> dict[str, Any]:
    """open_clip's configuration of the network: the checkpoint's own, or the one of that name."""
    checkpoint = loaded.checkpoint
    own = checkpoint.network or open_clip.get_model_config(checkpoint.model)
    return travelling(own)  # type: ignore[arg-type]  # opening it has found the name


def travelling(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the path of a tokenizer: its files lie in the exported folder.

    The name is the one that the configuration beside the tokenizer gives, if it still lies there;
    the folder's, if not. For a folder, open_clip only asks whether there is a name.
    """
    text = dict(config["text_cfg"])
    name = text.get("hf_tokenizer_name")
    if _is_place(name):
        text["hf_tokenizer_name"] = _name_beside(Path(name)) or Path(name).name
    return {**config, "text_cfg": text}


def _is_place(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and Path(name).is_absolute()


def _name_beside(folder: Path) -> str | None:
    """The tokenizer's name in the configuration in ``folder``, where there is one that has it."""
    file = folder / HUB_CONFIG
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"][
            "hf_tokenizer_name"
        ]
    except (OSError, ValueError, KeyError, TypeError):  # gone, or another file by now
        return None
    return name if isinstance(name, str) and name and not _is_place(name) else None


def write(folder: Path, loaded: Loaded) -> float:
    """Write configuration, weights of both towers, and the head.

    Returns:
        How far the logits are from ours, as open_clip reads the folder.
    """
    model = loaded.model
    config = {"model_cfg": network_of(loaded), "preprocess_cfg": model.preprocess.record()}
    write_text(folder / HUB_CONFIG, json.dumps(config, indent=2) + "\n")
    tensors = {n: w.contiguous().clone() for n, w in model.clip.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    if not loaded.wordless() and hasattr(model.tokenizer, "save_pretrained"):  # of transformers
        model.tokenizer.save_pretrained(str(folder))
    write_head(folder, loaded)
    return _difference(folder, loaded)


def absent_tokenizer(loaded: Loaded) -> str:
    """Name of the tokenizer whose files are not in the folder, as they could not be read."""
    name = network_of(loaded)["text_cfg"].get("hf_tokenizer_name")
    return str(name) if name and loaded.wordless() else ""


@torch.no_grad()
def _difference(folder: Path, loaded: Loaded) -> float:
    """Of logits for some texts; of those of the head, where no text can be encoded."""
    clip = open_clip.create_model(f"local-dir:{folder}").eval()
    if loaded.wordless():
        head = load_file(folder / HEAD_FILE)
        features = clip.encode_image(loaded.normalised(), normalize=True)
        own = torch.nn.functional.linear(features, head["weight"], head["bias"])
        return compared(loaded.head_logits(), own, "open_clip's reading of the folder")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(loaded.texts)
    image = clip.encode_image(loaded.normalised(), normalize=True)
    text = clip.encode_text(tokens, normalize=True)
    theirs = clip.logit_scale.exp() * image @ text.T
    return compared(loaded.zero_shot_logits(), theirs, "open_clip's reading of the folder")
