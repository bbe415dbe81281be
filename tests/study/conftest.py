"""Data that studies of the tests train on."""

import json

import numpy as np
import pytest
import torch

from tests.toys import CLASSES as TOYS
from tests.toys import toy_batch


@pytest.fixture
def toy_data(tmp_path) -> str:
    """Training and test images of the toys, as ``npz:TRAIN+TEST``."""
    for name, n in (("train", 64), ("test", 30)):
        batch = toy_batch(n, seed=n)
        pixels = (batch.images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        np.savez(tmp_path / f"{name}.npz", images=pixels, labels=batch.labels.numpy())
        (tmp_path / f"{name}.classes.json").write_text(json.dumps({"class_names": list(TOYS)}))
    return f"npz:{tmp_path / 'train.npz'}+{tmp_path / 'test.npz'}"
