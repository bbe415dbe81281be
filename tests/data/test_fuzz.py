"""Whatever a data file holds: a right value or a message, never a traceback or a long wait."""

from pathlib import Path

import pytest

from tests.data.fuzz import KINDS, count


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_input_is_read_rightly_or_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # some patterns are relative
    counts = count(kind, 0, 60)
    assert counts["fault"] == 0 and counts["clear"] > 5 and counts["right"] > 5
