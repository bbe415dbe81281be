"""Image tower and head as one graph of operations: torch.export's ``.pt2`` and ONNX."""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from grace_geom.errors import UserError
from grace_geom.exporting.loaded import Loaded, compared
from grace_geom.models import ClipClassifier
from grace_geom.models.vit import vit

PT2, ONNX = "model.pt2", "model.onnx"
OUTPUTS = ("features", "logits")


class ImageGraph(nn.Module):
    """``images -> (features, logits)``: pixels in [0, 1] of the tower's size, normalised inside.

    Visual prompt tokens are part of it, and so is the head.
    """

    def __init__(self, model: ClipClassifier) -> None:
        super().__init__()
        self.visual: nn.Module = model.clip.visual  # type: ignore[assignment]
        self.shape = model.shape
        tensors = {"mean": model.mean, "std": model.std, "prompt": model.prompt}
        tensors |= {name.replace("head.", "head_"): w for name, w in model.head.items()}
        for name, w in tensors.items():
            self.register_buffer(name, w)  # type: ignore[arg-type]

    def forward(
        self, images: Float[Tensor, " b 3 h w"]
    ) -> tuple[Float[Tensor, " b d"], Float[Tensor, " b k"]]:
        """Unit features and logits, as :class:`grace_geom.models.ClipClassifier` gives them."""
        x = (images - self.mean) / self.std  # type: ignore[operator]
        if self.shape is not None:
            prompt = {} if self.prompt is None else {"prompt": self.prompt}
            out = vit(self.shape, dict(self.visual.named_parameters()) | prompt, x)  # type: ignore[operator]
        else:
            out = self.visual(x)
        out = out[0] if isinstance(out, tuple) else out  # towers that also return tokens
        features = F.normalize(out, dim=-1)
        return features, F.linear(features, self.head_weight, self.head_bias)  # type: ignore[arg-type]


def write_pt2(folder: Path, loaded: Loaded) -> float:
    """Write ``model.pt2``, for ``torch.export.load``.

    Returns:
        How far its logits are from ours.
    """
    torch.export.save(traced(loaded), folder / PT2)
    program = torch.export.load(folder / PT2).module()
    with torch.no_grad():
        _, theirs = program(loaded.images())
    return compared(loaded.head_logits(), theirs, "the exported program")


def write_onnx(folder: Path, loaded: Loaded) -> float:
    """Write ``model.onnx``; above 2 GB its weights lie beside it in ``model.onnx.data``.

    Returns:
        How far its logits are from ours, as onnxruntime computes them.
    """
    import onnxruntime

    program: Any = torch.onnx.export(
        traced(loaded), (), dynamo=True, verbose=False, input_names=["images"],
        output_names=list(OUTPUTS), dynamic_shapes={"images": {0: "batch"}},
    )  # fmt: skip
    names = json.dumps(list(loaded.model.class_names), ensure_ascii=False)
    program.model.metadata_props["class_names"] = names
    program.save(folder / ONNX)
    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    _, theirs = session.run(list(OUTPUTS), {"images": loaded.images().numpy()})
    return compared(loaded.head_logits(), torch.from_numpy(theirs), "onnxruntime")


def traced(loaded: Loaded) -> torch.export.ExportedProgram:
    """The program for any number of images.

    Raises:
        UserError: If torch cannot trace a tower that is not one of CLIP's plain ViTs.
    """
    graph = ImageGraph(loaded.model).eval().requires_grad_(False)
    example = loaded.images()[:2]  # a batch of 1 would be taken for a constant
    batch = torch.export.Dim("batch", min=1)
    try:
        with torch.no_grad():
            return torch.export.export(graph, (example,), dynamic_shapes={"images": {0: batch}})
    except RuntimeError as error:
        if loaded.model.shape is not None:
            raise  # those can be traced: a fault of ours
        kind, first = type(loaded.model.clip.visual).__name__, str(error).splitlines()[:1]
        raise UserError(
            f"{loaded.checkpoint.model}: torch.export cannot trace its {kind} "
            f"({''.join(first)[:200]}): --format open_clip holds it"
        ) from error
