"""Analyses draw for print only where a test looks at pictures (``drawn``): drawing with matplotlib
takes longer than measuring a toy.
"""

import io
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from grace_geom.files import atomic_write


def blank(figure: Figure, path: Path) -> Path:
    """In place of ``figures.save``: a PNG of one pixel."""
    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, "PNG")
    with atomic_write(path) as file:
        file.write(content.getvalue())
    plt.close(figure)
    return path


@pytest.fixture(autouse=True)
def unprinted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test without the mark."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("grace_geom.figures.save", blank)
