"""Every figure that these tests draw is held against plotly's checks."""

import pytest

from grace_geom.plots import style
from tests.figures import checked


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "made", checked(style.made))
