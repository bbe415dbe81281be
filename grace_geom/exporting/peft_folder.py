"""The low-rank factors of a run as an adapter that PEFT loads on transformers' ``CLIPModel``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grace_geom.checkpoint import open_base
from grace_geom.errors import UserError
from grace_geom.exporting import transformers_folder
from grace_geom.exporting.clip_layout import lora_places, refuse_flaw
from grace_geom.exporting.head import write_head
from grace_geom.exporting.loaded import Loaded, compared
from grace_geom.files import write_text
from grace_geom.methods.adapters import MAGNITUDE
from grace_geom.methods.lora import factors
from grace_geom.models import ClipClassifier

INSTEAD = "--format transformers writes the merged model"


def check(loaded: Loaded) -> None:
    """Refuse what an adapter cannot hold.

    Raises:
        UserError: If there are no low-rank factors, they are of something else than a matrix
            product, or the network does not fit transformers.
    """
    refuse_flaw(loaded.model, loaded.checkpoint.model)
    pairs = factors(loaded.checkpoint.adapter)
    if not pairs:
        raise UserError(
            f"{loaded.file} has no low-rank factors for --format peft (method "
            f"{loaded.checkpoint.config.get('method', 'unknown')}): {INSTEAD}"
        )
    if any(name.endswith(MAGNITUDE) for name in loaded.checkpoint.adapter):
        raise UserError(
            f"{loaded.file} was trained with --adapter dora, which --format peft cannot write: "
            f"{INSTEAD}"
        )
    if odd := [name for name, _, _ in pairs if "embedding" in name]:
        raise UserError(f"--format peft: {odd[0]} has factors and is no linear layer: {INSTEAD}")


def write(folder: Path, loaded: Loaded, base_name: str | None) -> float:
    """Write the adapter and the head, and the model that it belongs to under ``base/``.

    Args:
        folder: Where to.
        loaded: The checkpoint.
        base_name: Name of that model, where the user has it already: nothing is written then.

    Returns:
        How far the logits are from ours, as PEFT reads the folder.

    Raises:
        UserError: If the base weights are not here, or the run changed more than the factors.
    """
    from transformers import CLIPModel

    base = open_base(loaded.checkpoint)
    refuse_other_changes(loaded, base)
    place = folder / "base"
    transformers_folder.write_model(place, base)
    with transformers_folder.quiet():
        _write_adapter(folder, CLIPModel.from_pretrained(place), loaded, base_name)
    write_head(folder, loaded)
    found = _difference(folder, loaded)
    if base_name is not None:
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    return found


def refuse_other_changes(loaded: Loaded, base: ClipClassifier) -> None:
    """Refuse a run that moved weights which have no factors.

    Raises:
        UserError: Naming one of them.
    """
    adapted = {name for name, _, _ in factors(loaded.checkpoint.adapter)}
    before = base.clip.state_dict()
    moved = [
        name
        for name, w in loaded.checkpoint.state_dict.items()
        if name not in adapted and not torch.equal(w, before[name])
    ]
    if moved:
        raise UserError(
            f"{loaded.file}: the run also changed {moved[0]}, which its low-rank factors do not "
            f"hold: {INSTEAD}"
        )


def scale_of(config: Mapping[str, Any]) -> tuple[float, int]:
    """``lora_alpha`` and r of a run; without a ``lora_alpha`` it is 2 r."""
    r = int(config["r"])
    alpha = config.get("lora_alpha")
    return (2.0 * r if alpha is None else float(alpha)), r


def _write_adapter(folder: Path, clip: Any, loaded: Loaded, base_name: str | None) -> None:
    from peft import LoraConfig, get_peft_model

    checkpoint = loaded.checkpoint
    alpha, r = scale_of(checkpoint.config)
    found = lora_places({name: (B, A) for name, B, A in factors(checkpoint.adapter)})
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=sorted(found), lora_dropout=0.0)
    adapted = get_peft_model(clip, config)
    layers = dict(adapted.get_base_model().named_modules())
    for module, (B, A) in found.items():
        _fill(layers[module].lora_B["default"].weight, B)
        _fill(layers[module].lora_A["default"].weight, A)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    # peft names the folder that the weights came from, a temporary one, and sets have no order
    written |= {"base_model_name_or_path": base_name, "target_modules": sorted(found)}
    write_text(path, json.dumps(written, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def _fill(parameter: Tensor, value: Tensor) -> None:
    """Copy a matrix, also into the kernel (rows, in, k, k) that PEFT keeps for a convolution."""
    assert parameter.flatten(1).shape == value.shape, (parameter.shape, value.shape)
    parameter.copy_(value.view_as(parameter))


def _difference(folder: Path, loaded: Loaded) -> float:
    from peft import PeftModel
    from transformers import CLIPModel

    place = folder / "base"
    with transformers_folder.quiet():
        clip = PeftModel.from_pretrained(CLIPModel.from_pretrained(place), folder).eval()
    theirs = transformers_folder.logits(clip, place, loaded)
    return compared(loaded.zero_shot_logits(), theirs, "PEFT's reading of the folder")
