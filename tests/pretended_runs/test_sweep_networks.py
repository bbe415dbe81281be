"""Networks of convolutions, and images that Hugging Face's library reads, on a pretended GPU:
trained, evaluated, analysed.
"""

import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grace_geom import evaluate
from tests.analysis.scripts import script
from tests.data.makers import encoded
from tests.pretended_runs.there import gpu, trained
from tests.toys import CLASSES, CONFIG, toy_batch

pytestmark = pytest.mark.nightly

RESNET = {
    **CONFIG,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
}
"""RN50's kinds of layers: a stem of three convolutions, bottlenecks, attention pooling."""

ANALYSES = {
    "ft": ("hessian_spectrum", ["--top", "1", "--probes", "2", "--density-probes", "0",
           "--max-products", "12"]),
    "lora": ("sharpness", ["--rho", "0.05", "--ascent-steps", "2", "--samples", "2"]),
    "at": ("robustness_curve", ["--queries", "10", "--steps", "3"]),
    "grace": ("representation_drift", ["--replicates", "2", "--attack-steps", "2", "OOD"]),
}  # fmt: skip


def called(command: Callable[[list[str]], object], *words: object) -> None:
    """A command that may not fail."""
    try:
        command([str(word) for word in words])
    except SystemExit as stop:
        assert not stop.code, stop.code


def used(folder: Path, method: str, *flags: str, **values: Any) -> Counter[tuple[str, str]]:
    """Train, evaluate and analyse on a GPU; the operators that add up in any order there."""
    analysis, words = ANALYSES[method]
    with gpu() as seen:
        out = trained(folder, method, **values)
        spec = ["--ood", f"x={values.get('data', f'npz:{folder}/toy.npz')}"]
        there = ["--device", "cuda", "--fresh", *flags]
        few = ["--suites", "id,ood,adv", "--n-attack", "6", "--steps", "2"]
        called(evaluate.main, out, *there, *few, *spec)
        more = [w for word in words for w in (spec if word == "OOD" else [word])]
        called(script(analysis), out, *there, "--n", "12", "--batch", "6", *more)
    assert list((out / "analyses").glob("*.json")) and (out / "eval.json").is_file()
    return seen.nondeterministic


@pytest.fixture
def resnet(tmp_path: Path) -> str:
    file = tmp_path / "small-resnet.json"
    file.write_text(json.dumps(RESNET))
    return str(file)


@pytest.mark.parametrize("method", ANALYSES)
def test_a_network_of_convolutions(tmp_path: Path, resnet: str, method: str):
    found = used(tmp_path, method, model=resnet)
    assert any(what == "convolution_backward" for what, _ in found)


@pytest.mark.parametrize("method", ["ft", "grace"])
def test_deterministic_leaves_no_sum_of_any_order_in_a_network_of_convolutions(
    tmp_path: Path, resnet: str, method: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is before a GPU is in use
    assert not used(tmp_path, method, "--deterministic", model=resnet, deterministic=True)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Toy images in two splits, as the library saves them."""
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("wants Hugging Face's datasets")
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )

    def split(n: int) -> Any:
        batch = toy_batch(n, seed=n)
        pixels = (batch.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        pictures = [{"bytes": encoded(np.asarray(x)), "path": None} for x in pixels]
        table = {"image": pictures, "label": batch.labels.tolist()}
        return datasets.Dataset.from_dict(table, features=features)

    both = datasets.DatasetDict({"train": split(48), "test": split(16)})
    both.save_to_disk(tmp_path / "rows")
    return f"hf:{tmp_path / 'rows'}"


@pytest.mark.parametrize("method", ANALYSES)
def test_images_that_hugging_faces_library_reads(tmp_path: Path, rows: str, method: str):
    used(tmp_path, method, data=rows)
