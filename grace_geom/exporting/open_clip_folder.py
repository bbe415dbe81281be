"""A folder as open_clip lays it out on the Hub: ``open_clip.create_model("local-dir:FOLDER")``."""

import copy
import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from grace_geom.exporting.head import write_head
from grace_geom.exporting.loaded import Loaded, compared
from grace_geom.files import write_text


def write(folder: Path, loaded: Loaded) -> float:
    """Write configuration, weights of both towers, and the head.

    Returns:
        How far the logits are from ours, as open_clip reads the folder.
    """
    name, model = loaded.checkpoint.model, loaded.model
    config = {
        "model_cfg": copy.deepcopy(open_clip.get_model_config(name)),
        "preprocess_cfg": model.preprocess.record(),
    }
    write_text(folder / "open_clip_config.json", json.dumps(config, indent=2) + "\n")
    tensors = {n: w.contiguous().clone() for n, w in model.clip.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    if hasattr(model.tokenizer, "save_pretrained"):  # of a Hugging Face text tower
        model.tokenizer.save_pretrained(str(folder))
    write_head(folder, loaded)
    return _difference(folder, loaded)


@torch.no_grad()
def _difference(folder: Path, loaded: Loaded) -> float:
    clip = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(loaded.texts)
    image = clip.encode_image(loaded.normalised(), normalize=True)
    text = clip.encode_text(tokens, normalize=True)
    theirs = clip.logit_scale.exp() * image @ text.T
    return compared(loaded.zero_shot_logits(), theirs, "open_clip's reading of the folder")
