"""Checkpoints and their exports, each made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from grace_geom.exporting import ExportRequest, export_model
from grace_geom.exporting.loaded import Loaded, opened
from tests.exporting import toy_checkpoints

Exported = Callable[[str, str], tuple[Loaded, Path, str]]
EXTRA = {"transformers": "transformers", "peft": "peft", "onnx": "onnxruntime"}


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    """``exported("full", "onnx")``: the opened checkpoint, its folder in that format, what was
    said. Skips where the library is not installed.
    """
    known: dict[tuple[str, str], tuple[Loaded, Path, str]] = {}

    def make(kind: str, format: str) -> tuple[Loaded, Path, str]:
        if format in EXTRA:
            extra = f"pip install 'grace_geom[{format}]'"
            pytest.importorskip(EXTRA[format], reason=f"needs {EXTRA[format]}: {extra}")
        if (kind, format) not in known:
            folder = tmp_path_factory.mktemp("exported")
            checkpoint = getattr(toy_checkpoints, f"{kind}_checkpoint")(folder)
            out = folder / "out"
            said = export_model(ExportRequest(checkpoint, out, format))  # type: ignore[arg-type]
            known[kind, format] = opened(checkpoint, verify=True), out, said
        return known[kind, format]

    return make
