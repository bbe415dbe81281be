"""A real card for the tests of this folder, which are skipped without one.

``PRETEND_GPU=1 pytest tests/gpu`` runs those that need no driver on the pretended one: it tells
whether they would run, not what a card would find.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from tests.pretended_gpu import pretended_gpu


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder ``gpu``."""
    for item in items:
        if "/tests/gpu/" in item.path.as_posix():
            item.add_marker("gpu")


@pytest.fixture(autouse=True)
def card() -> Iterator[bool]:
    """Whether the card is a real one."""
    if torch.cuda.is_available():
        yield True
    elif os.environ.get("PRETEND_GPU") == "1":
        with pretended_gpu():
            yield False
    else:
        pytest.skip("torch.cuda.is_available() is false: no NVIDIA GPU, no driver or a CPU build")
