"""Which device, which precision, how many workers, where the user says ``auto``."""

import os
from typing import Literal

import torch

from grace_geom.errors import UserError

Precision = Literal["float32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU, else the CPU.

    Raises:
        UserError: If the device is not here, or is neither a CPU nor a CUDA GPU: sums and geometry are in float64,
            which Apple's GPUs do not have.
    """
    if name != "auto" and name.partition(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: use auto, cpu, cuda or cuda:N")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"--device {name}: not available here; use --device auto, or cpu") from None


def pick_precision(name: str, device: torch.device) -> Precision:
    """``auto`` is bf16 on a GPU that has it in hardware, else float32."""
    if name in DTYPES:
        return name  # type: ignore[return-value]
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "float32"


def pick_workers(workers: int | None, device: torch.device) -> int:
    """Beside a GPU up to 8 processes decode; on the CPU they would only take cores from the model."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else min(8, max(1, (os.cpu_count() or 2) - 1))
