"""How many processes decode, where nobody says: beside a GPU as many as help, for files alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grace_geom.data import batches as module
from grace_geom.data import loader, resolve
from grace_geom.data.batches import workers_for
from tests.small_run import write_npz

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((8, 8, 3), 20 * i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{name}{i}.png")
    return f"folder:{tmp_path / 'pictures'}"


def test_files_are_decoded_beside_a_gpu_and_pixels_are_not(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "pick_workers", lambda asked, device: (asked, device.type))
    files, pixels = resolve(folder, "eval"), resolve(write_npz(tmp_path), "eval")
    assert workers_for(files, GPU) == (None, "cuda") and workers_for(files, CPU) == (None, "cpu")
    assert workers_for(pixels, GPU) == 0 and workers_for(pixels, GPU, 3) == (3, "cuda")


def test_there_are_no_more_processes_than_batches(folder: str, monkeypatch) -> None:
    began: list[int] = []
    real = module.DataLoader

    def counting(*arguments, num_workers: int, **more):
        began.append(num_workers)
        return real(*arguments, num_workers=0, **more | {"multiprocessing_context": None})

    monkeypatch.setattr(module, "DataLoader", counting)
    images = resolve(folder, "eval")
    for workers, size in ((8, 5), (8, 12), (2, 5), (0, 5), (None, 5)):
        assert sum(map(len, loader(images, size, 8, train=False, workers=workers))) == 12
    assert began == [3, 1, 2, 0, 0]
