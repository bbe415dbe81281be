"""How each format is read, as a model card shows it."""

from grace_geom.exporting.graph import ONNX, PT2
from grace_geom.exporting.head import ABOUT_FILE, HEAD_FILE
from grace_geom.exporting.loaded import Loaded

LIBRARIES = {
    "open_clip": "open_clip",
    "transformers": "transformers",
    "peft": "peft",
    "torch.export": "pytorch",
    "onnx": "onnx",
}
"""``library_name`` of the Hub by format."""
PIPELINES = {
    "open_clip": "zero-shot-image-classification",
    "transformers": "zero-shot-image-classification",
    "peft": "zero-shot-image-classification",
    "torch.export": "image-classification",
    "onnx": "image-classification",
}
"""``pipeline_tag`` of the Hub by format."""

HEAD = f"""\
# the checkpoint's own head, for its own classes
head = load_file("FOLDER/{HEAD_FILE}")
features = FEATURES
logits = torch.nn.functional.normalize(features, dim=-1) @ head["weight"].T + head["bias"]"""

CODE = {
    "open_clip": """\
import open_clip
import torch
from safetensors.torch import load_file

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
images = preprocess(picture)[None]

"""
    + HEAD.replace("FEATURES", "model.eval().encode_image(images)"),
    "transformers": """\
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, CLIPModel

model = CLIPModel.from_pretrained("FOLDER")  # or CLIPVisionModel, for LLaVA and the like
processor = AutoProcessor.from_pretrained("FOLDER")
inputs = processor(images=picture, return_tensors="pt")

"""
    + HEAD.replace("FEATURES", "model.get_image_features(**inputs).pooler_output"),
    "peft": """\
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoProcessor, CLIPModel

model = PeftModel.from_pretrained(CLIPModel.from_pretrained("BASE"), "FOLDER").merge_and_unload()
processor = AutoProcessor.from_pretrained("BASE")
inputs = processor(images=picture, return_tensors="pt")

"""
    + HEAD.replace("FEATURES", "model.get_image_features(**inputs).pooler_output"),
    "torch.export": f"""\
import torch

program = torch.export.load("FOLDER/{PT2}").module()
features, logits = program(images)  # (N, 3, HEIGHT, WIDTH) float32, pixels in [0, 1]""",
    "onnx": f"""\
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/{ONNX}")
features, logits = session.run(None, {{"images": images}})
# images: (N, 3, HEIGHT, WIDTH) float32, pixels in [0, 1]""",
}


def usage(format: str, folder: str, loaded: Loaded, base: str | None = None) -> str:
    """A few lines of Python that read the folder, and what they want to know.

    Args:
        format: Of the export.
        folder: Name of the folder, as the code shall say it.
        loaded: The checkpoint.
        base: The model that an adapter belongs to; ``None``: ``base/`` in the folder.
    """
    height, width = loaded.model.preprocess.size
    given = {"HEIGHT": height, "WIDTH": width, "BASE": base or "FOLDER/base", "FOLDER": folder}
    code = CODE[format]
    for word, value in given.items():
        code = code.replace(word, str(value))
    return (
        f"```python\n{code}\n```\n\n`{ABOUT_FILE}` has the class names in the order of the logits, "
        f"the prompt templates, and how pictures are resized: {loaded.model.preprocess}."
    )
