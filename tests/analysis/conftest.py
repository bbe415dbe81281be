"""Analyses draw for print only where a test looks at pictures (``drawn``): drawing with matplotlib
takes longer than measuring a toy.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from grace_geom.checkpoint import checkpoint_of, save_checkpoint
from grace_geom.data import resolve
from grace_geom.files import atomic_write
from grace_geom.models import ModelSpec, build
from tests.analysis.two_runs import make_two_runs
from tests.toys import register_toy


def blank(
    figure: object, path: Path, width_in: float, about: Mapping[str, str] | None = None
) -> Path:
    """In place of ``export.save``: a PNG of one pixel that says what it is."""
    content, said = io.BytesIO(), PngInfo()
    for key, text in (about or {}).items():
        said.add_text(key, text)
    Image.new("RGB", (1, 1)).save(content, "PNG", pnginfo=said)
    with atomic_write(path) as file:
        file.write(content.getvalue())
    return path


@pytest.fixture(autouse=True)
def unprinted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test without the mark."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("grace_geom.plots.export.save", blank)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with two runs of a toy, an ID set and an OOD set."""
    return make_two_runs(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three run directories on ``shapes``: the toy as it is, moved a little, moved twice as far."""
    folder = tmp_path_factory.mktemp("runs")
    shapes = resolve("shapes", "test")
    model = build(ModelSpec(register_toy(), "random", 0), shapes.class_names, shapes.templates[:1])
    g = torch.Generator().manual_seed(0)
    step = {
        n: 0.02 * torch.randn(w.shape, generator=g)
        for n, w in model.weights().items()
        if n not in model.head
    }
    for name, t in (("zero_shot", 0.0), ("near", 1.0), ("far", 2.0)):
        weights = {n: model.weights()[n] + t * d for n, d in step.items()}
        (folder / name).mkdir()
        checkpoint = checkpoint_of(model, weights, config={"data": "shapes", "method": name})
        save_checkpoint(folder / name / "ckpt.pt", checkpoint)
    return folder
