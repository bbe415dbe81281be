"""What every test has at hand."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tiny models run several times faster so, and two runs give the same bits

PACKS = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def packs() -> Path:
    """The folder of real image packs that may lie beside the checkout; tests that want it are
    skipped without it.
    """
    if not (PACKS / "cifar10_test.npz").is_file():
        pytest.skip(f"the real image packs are not at {PACKS}")
    return PACKS
