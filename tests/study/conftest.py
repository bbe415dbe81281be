"""Data that studies of the tests train on; studies draw only where a test looks at the picture."""

import json

import numpy as np
import pytest
import torch

from tests.analysis.conftest import blank
from tests.toys import CLASSES as TOYS
from tests.toys import toy_batch


@pytest.fixture(autouse=True)
def unprinted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test without the mark ``drawn``: a study's figure takes longer than its stub."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("grace_geom.study.figure.save", blank)


@pytest.fixture
def toy_data(tmp_path) -> str:
    """Training and test images of the toys, as ``npz:TRAIN+TEST``."""
    for name, n in (("train", 64), ("test", 30)):
        batch = toy_batch(n, seed=n)
        pixels = (batch.images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        np.savez(tmp_path / f"{name}.npz", images=pixels, labels=batch.labels.numpy())
        (tmp_path / f"{name}.classes.json").write_text(json.dumps({"class_names": list(TOYS)}))
    return f"npz:{tmp_path / 'train.npz'}+{tmp_path / 'test.npz'}"
