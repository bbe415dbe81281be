"""Which device, which precision, how many workers, where the user says ``auto``."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal

import torch

from grace_geom.errors import UserError

Precision = Literal["float32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype | None] = {
    "float32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def pick_device(name: str, local: int | None = None, tf32: bool = False) -> torch.device:
    """``auto`` is a GPU where there is one, else the CPU.

    Args:
        name: auto, cpu, cuda, cuda:N.
        local: Number of this process among those of its machine, where there are several: its GPU.
        tf32: Whether the process may compute in TF32 from here on (see :func:`tf32`).

    Raises:
        UserError: If the device is not here, or is neither a CPU nor a CUDA GPU: sums and geometry
            are in float64, which Apple's GPUs do not have.
    """
    if name != "auto" and name.partition(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: use auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    _set_tf32(tf32, tf32)
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


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA may read only 10 of float32's 23 bits in matrix products and convolutions, until
    the end of the block; the state before it is restored.

    PyTorch allows it for convolutions by default. On an RN50 that changes the sign of 0.7 % of an
    attack's gradient and a Hessian product by 5e-3, so numbers are measured without it.

    Args:
        allowed: For both.
    """
    before = tf32_allowed()
    _set_tf32(allowed, allowed)
    try:
        yield
    finally:
        _set_tf32(**before)


def tf32_allowed() -> dict[str, bool]:
    """Whether ``convolutions`` and ``products`` (of matrices) in float32 may be computed in TF32
    now.
    """
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
        return {
            "convolutions": backends.cudnn.allow_tf32,
            "products": backends.cuda.matmul.allow_tf32,
        }
    return {
        "convolutions": backends.cudnn.conv.fp32_precision == "tf32",
        "products": backends.cuda.matmul.fp32_precision == "tf32",
    }


def _set_tf32(convolutions: bool, products: bool) -> None:
    """By the older switches, which every torch has; the newer ones raise where both are mixed."""
    backends: Any = torch.backends
    backends.cudnn.allow_tf32 = convolutions
    backends.cuda.matmul.allow_tf32 = products
    for part, allowed in (("convolutions", convolutions), ("products", products)):
        if tf32_allowed()[part] and not allowed:  # torch.backends.fp32_precision asks for it
            owner = backends.cudnn.conv if part == "convolutions" else backends.cuda.matmul
            owner.fp32_precision = "ieee"
