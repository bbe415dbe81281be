"""CLIP_benchmark reads an export by its own loader, and finds what ``evaluate`` finds, image by
image.
"""

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from grace_geom.data import resolve
from grace_geom.evaluate import main as evaluate
from grace_geom.exporting import ExportRequest, export_model
from grace_geom.exporting.head import HEAD_FILE
from grace_geom.models import ModelSpec, build
from grace_geom.records import EvalRecord, class_counts, mean_per_class
from tests.exporting.test_formats import HOW_TO
from tests.exporting.toy_checkpoints import saved

pytest.importorskip("clip_benchmark", reason="needs clip-benchmark: pip install clip-benchmark")

old_numpy = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) >= "2.4.0",
    reason="CLIP_benchmark 1.6.2 turns arrays of one element into numbers: needs numpy<2.4",
)
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create 8 worker"),
    pytest.mark.filterwarnings("ignore:WebDataset.shardshuffle"),
]

IMAGES = 48
PREPROCESS = "resize_mode=squash,interpolation=bilinear"
"""Not what open_clip does by default, so that an export that does not tell it shows."""


def blocks(kind: str) -> list[str]:
    """The code blocks of the how-to's section, of one language."""
    section = HOW_TO.read_text().split("## Check it with CLIP_benchmark")[1].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.S)


def lines() -> list[list[str]]:
    return [shlex.split(line) for line in blocks("text")[1].splitlines()]


def write_photos(folder: Path) -> None:
    """Pictures of the shapes benchmark, as files of one folder per class, twice as high as wide."""
    shapes = resolve("shapes", "test").subset(IMAGES, 0)
    for i, label in enumerate(shapes.labels):
        picture = Image.fromarray(np.asarray(shapes.fetch(i))).resize((40, 80), Image.NEAREST)
        place = folder / f"{label:02d} {shapes.class_names[label]}"
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{i:03d}.png")


def write_run(folder: Path) -> None:
    """A run whose towers and head are both other than the pretrained ones."""
    shapes = resolve("shapes", "test")
    spec = ModelSpec("tiny-shapes", "shipped", 0, PREPROCESS)
    model = build(spec, shapes.class_names, shapes.templates)
    g = torch.Generator().manual_seed(0)
    towers = {
        name: w + 0.1 * w.std(correction=0) * torch.randn(w.shape, generator=g)
        for name, w in model.clip.state_dict().items()
        if w.ndim > 1
    }
    folder.mkdir(parents=True)
    config = {"method": "flyp", "data": "shapes"}
    saved(folder, model, towers | model.text_head(towers), config=config)


@dataclass
class Both:
    """A folder with run, export and shards, made as the how-to says, and what ``evaluate`` wrote
    of it.
    """

    folder: Path
    ours: pd.DataFrame
    record: EvalRecord


def clip_benchmark(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Its command line, in this process; what it writes."""
    from clip_benchmark.cli import main

    monkeypatch.setattr(sys, "argv", [*words, "--quiet"])
    main()
    found: dict[str, float] = json.loads(Path("photos.json").read_text())["metrics"]
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Both:
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_photos(Path("photos/test"))
        write_run(Path("runs/photos"))
        export_model(ExportRequest(Path("runs/photos"), Path("photos-open_clip"), "open_clip"))
        exec(blocks("python")[0], {})
        evaluate(lines()[0][3:])
    (record,) = (folder / "runs/photos").glob("eval*.json")
    return Both(folder, pd.read_csv(folder / "images.csv"), EvalRecord.load(record))


@torch.no_grad()
def looked_at(both: Both) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Their features times their head, the same times the exported head, and labels: each by
    CLIP_benchmark's own functions, for the shards as it reads them.
    """
    from clip_benchmark.datasets.builder import build_dataset
    from clip_benchmark.metrics import zeroshot_classification as theirs
    from clip_benchmark.models import load_clip

    out = both.folder / "photos-open_clip"
    model, transform, words = load_clip("open_clip", f"local-dir:{out}", "", None, device="cpu")
    images = build_dataset("wds/photos", str(both.folder / "photos-wds"), transform)
    names, templates = images.classes, images.templates
    head = theirs.zero_shot_classifier(model.eval(), words, names, templates, "cpu", amp=False)
    loader = list(torch.utils.data.DataLoader(images.batched(16), batch_size=None))
    logits, labels = theirs.run_classification(model, head, loader, "cpu", amp=False)
    carried = load_file(out / HEAD_FILE)["weight"].T
    again, _ = theirs.run_classification(model, carried, loader, "cpu", amp=False)
    return logits, again, labels.tolist()


def margins(logits: torch.Tensor, labels: list[int]) -> np.ndarray:
    rows = torch.arange(len(labels))
    others = logits.scatter(1, torch.tensor(labels)[:, None], -torch.inf).amax(1)
    return (logits[rows, labels] - others).numpy()


def test_each_prediction_is_the_one_that_evaluate_writes(both):
    logits, with_carried, labels = looked_at(both)
    predicted = logits.argmax(1).tolist()
    assert both.ours["label"].tolist() == labels
    assert both.ours["prediction"].tolist() == predicted
    assert with_carried.argmax(1).tolist() == predicted
    assert len(set(predicted)) > 3 and predicted != labels, "an easier question than meant"
    tensors = load_file(both.folder / "photos-open_clip" / "open_clip_model.safetensors")
    scale = float(tensors["logit_scale"].exp())
    np.testing.assert_allclose(
        both.ours["margin"], margins(logits, labels) * scale / 100, rtol=0, atol=1e-3
    )


@old_numpy
def test_top_1_and_mean_per_class_recall_of_its_command_line_are_ours(both, monkeypatch):
    monkeypatch.chdir(both.folder)
    found = clip_benchmark(lines()[1], monkeypatch)
    (accuracy,) = both.record.accuracies
    assert found["acc1"] == pytest.approx(accuracy.accuracy, abs=1e-12)
    mean = mean_per_class(class_counts(accuracy)).value
    assert found["mean_per_class_recall"] == pytest.approx(mean, abs=1e-12)
    assert mean != pytest.approx(accuracy.accuracy, abs=1e-4), "the two would hide each other"


@old_numpy
def test_a_trained_head_takes_the_place_of_the_text_tower(both, monkeypatch):
    """The head of another class order, which no text tower gives."""
    monkeypatch.chdir(both.folder)
    head = both.folder / "photos-open_clip" / HEAD_FILE
    kept = head.read_bytes()
    tensors = load_file(head)
    save_file(tensors | {"weight": tensors["weight"].flip(0)}, head)
    try:
        exec(blocks("python")[1], {})
    finally:
        head.write_bytes(kept)
    found = clip_benchmark([*lines()[1], "--load_clfs", "photos-head.pt"], monkeypatch)
    k = len(tensors["weight"])
    wanted = (both.ours["label"] == k - 1 - both.ours["prediction"]).mean()
    assert found["acc1"] == pytest.approx(wanted, abs=1e-12)
