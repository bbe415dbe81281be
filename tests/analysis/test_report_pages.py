"""Figures of a report whose pages cannot be taken apart."""

from pathlib import Path

import pytest
from PIL import Image

from grace_geom.analysis import report


def test_a_page_that_holds_no_figure_leaves_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(file)
    file.with_suffix(".html").write_text("<p>no figure</p>")
    assert report._drawn(file, "A title", interactive=True).startswith('<img alt="A title"')
    said = " ".join(capsys.readouterr().err.split())
    assert "holds no figure that can be taken out; the report has its picture" in said
