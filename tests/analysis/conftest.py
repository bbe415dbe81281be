"""Analyses draw for print only where a test looks at pictures (``drawn``): drawing with matplotlib
takes longer than measuring a toy.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from grace_geom.files import atomic_write


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
