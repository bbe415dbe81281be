"""Which device, which precision, how many workers, where the user says ``auto``."""

import os
from typing import Literal

import torch

from grace_geom.errors import UserError

Precision = Literal["float32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype | None] = {
    "float32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def pick_device(name: str, local: int | None = None) -> torch.device:
    """``auto`` is a GPU where there is one, else the CPU.

    Args:
        name: auto, cpu, cuda, cuda:N.
        local: Number of this process among those of its machine, where there are several: its GPU.

    Raises:
        UserError: If the device is not here, or is neither a CPU nor a CUDA GPU: sums and geometry
            are in float64, which Apple's GPUs do not have.
    """
    if name != "auto" and name.partition(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: use auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local is not None:
        if local >= torch.cuda.device_count():
            raise UserError(
                f"--nproc-per-node asks for GPU {local}, this machine has "
                f"{torch.cuda.device_count()}"
            )
        torch.cuda.set_device(local)  # NCCL's messages go from there
        name = f"cuda:{local}"
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
    """Beside a GPU up to 8 processes decode; on the CPU they would only take cores from the
    model."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else min(8, max(1, (os.cpu_count() or 2) - 1))
