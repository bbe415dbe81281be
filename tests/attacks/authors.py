"""The authors' package in double precision: its own code rounds images to float32 on the way."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

ROUNDING = ("fab_projections", "fab_base", "fab_pt", "autopgd_base", "square")  # in import order


@contextlib.contextmanager
def double() -> Iterator[dict[str, ModuleType]]:
    """Its modules with every ``.float()`` a ``.double()``, and float64 the default; or skip."""
    package = pytest.importorskip("autoattack", reason="the authors' code is not installed")
    folder, usual = Path(str(package.__file__)).parent, dict(sys.modules)
    torch.set_default_dtype(torch.float64)
    try:
        yield {name: _mended(folder / f"{name}.py", f"autoattack.{name}") for name in ROUNDING}
    finally:
        torch.set_default_dtype(torch.float32)
        for name in ROUNDING:
            sys.modules.pop(f"autoattack.{name}", None)
        sys.modules.update(usual)


def _mended(file: Path, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__package__ = "autoattack"
    sys.modules[name] = module
    exec(
        compile(file.read_text().replace(".float()", ".double()"), str(file), "exec"), vars(module)
    )
    return module


def gaps(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """``(points, images)`` largest difference of a pixel."""
    return torch.stack(
        [(a - b).abs().flatten(1).amax(1) for a, b in zip(ours, theirs, strict=True)]
    )
