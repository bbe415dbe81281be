"""Which device, which precision, how many workers, where the user says ``auto``; and the same bits
twice, where that is asked for.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any, Literal

import torch

from grace_geom.errors import UserError
from grace_geom.terminal import say
from grace_geom.world import World, world

Precision = Literal["float32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype | None] = {
    "float32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def pick_device(name: str, tf32: bool = False) -> torch.device:
    """``auto`` is a GPU where there is one, else the CPU. A GPU becomes the current one of this
    process, which libraries mean by "cuda".

    Of several processes each takes the GPU of its own number on its machine.

    Args:
        name: auto, cpu, cuda, cuda:N.
        tf32: Whether the process may compute in TF32 from here on (see :func:`tf32`).

    Raises:
        UserError: If the device is not here; if a GPU is named for several processes; if it is
            neither a CPU nor a CUDA GPU: sums and geometry are in float64, which Apple's GPUs do
            not have.
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda"):
        why = " (Apple's GPUs have no float64, which sums and geometry need)" * (kind == "mps")
        raise UserError(f"--device {name}: use auto, cpu, cuda or cuda:N{why}")
    if name == "auto":
        kind = name = "cuda" if torch.cuda.is_available() else "cpu"
    _set_tf32(tf32, tf32)
    here = world()
    if kind == "cuda" and here.size > 1:
        name = _own_gpu(name, number, here)
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"--device {name}: not available here; use --device auto, or cpu") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL's messages go from there, too
        if torch.version.hip is not None:
            _tell(
                f"warning: ROCm {torch.version.hip}: nothing was tested there, only on CUDA's rules"
            )
    return device


def _own_gpu(name: str, number: str, here: World) -> str:
    """The GPU of one process of several.

    Raises:
        UserError: If one is named for all of them, or there are fewer GPUs than processes.
    """
    if number:
        raise UserError(
            f"--device {name}: of several processes each takes a GPU of its own: use --device cuda, "
            "and CUDA_VISIBLE_DEVICES to choose the GPUs"
        )
    if here.local >= torch.cuda.device_count():
        raise UserError(
            f"--nproc-per-node asks for GPU {here.local}, this machine has "
            f"{torch.cuda.device_count()}"
        )
    return f"cuda:{here.local}"


@functools.cache  # once a process
def _tell(sentence: str) -> None:
    say(sentence)


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; none without
    CUDA.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return tuple(named[:count] if named[0] else map(str, range(count)))


@contextlib.contextmanager
def room_for(what: str, instead: str) -> Iterator[None]:
    """Within, a device that is full is a mistake that the user can mend.

    Args:
        what: What had no room.
        instead: Flags that would leave some.

    Raises:
        UserError: In the place of PyTorch's out-of-memory error.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(f"the device has no room for {what}: use {instead}") from None


def release_gpu() -> None:
    """Give back what this process keeps of a GPU's memory for later tensors: others want it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextlib.contextmanager
def deterministic(on: bool = True) -> Iterator[None]:
    """Within, the same program gives the same bits on the same GPU: operations that add up in any
    order are replaced by others, or refused where there is no other.

    On the CPU nothing changes: our results are the same bits there for a number of threads.

    Args:
        on: ``False`` leaves everything as it is.

    Raises:
        UserError: If the GPU's matrix library is in use already, without the workspace that keeps
            its order.
    """
    if not on:
        yield
        return
    cudnn = torch.backends.cudnn
    with _fixed_workspace():
        asked = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        usual = cudnn.deterministic, cudnn.benchmark
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(asked, warn_only=warn_only)
            cudnn.deterministic, cudnn.benchmark = usual


WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_workspace_read = False
"""Whether this process's GPU was first used under our :data:`WORKSPACE`, which it reads once."""


@contextlib.contextmanager
def _fixed_workspace() -> Iterator[None]:
    """The matrix library's workspace as :func:`deterministic` needs it; then as it was."""
    global _workspace_read
    usual = os.environ.get(WORKSPACE)
    if usual in (":4096:8", ":16:8"):
        yield
        return
    if torch.cuda.is_initialized() and not _workspace_read:
        raise UserError(
            f"--deterministic: a GPU is in use already in this process: set {WORKSPACE}=:4096:8 in "
            "the environment before it starts"
        )
    os.environ[WORKSPACE] = ":4096:8"
    try:
        yield
    finally:
        _workspace_read = torch.cuda.is_initialized()
        if usual is None:
            del os.environ[WORKSPACE]
        else:
            os.environ[WORKSPACE] = usual


def pick_precision(name: str, device: torch.device) -> Precision:
    """``auto`` is bf16 on a GPU that has it in hardware, else float32."""
    if name in DTYPES:
        return name  # type: ignore[return-value]
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "float32"


def pick_workers(workers: int | None, device: torch.device) -> int:
    """Beside a GPU up to 8 processes decode, within this process's share of the cores; on the CPU
    they would only take cores from the model.
    """
    if workers is not None:
        return workers
    beside = max(world().beside, _sharing)
    return 0 if device.type == "cpu" else min(8, max(1, cores() // beside - 1))


def cores() -> int:
    """CPU cores that this process may run on, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 2  # not Linux


_sharing = 1


def share_cores(processes: int) -> None:
    """Say that so many processes of this kind, which know nothing of each other, share the
    cores.
    """
    global _sharing
    _sharing = processes


def share_threads(workers: int) -> None:
    """Let each of ``workers`` processes use its part of the threads, and of the cores for decoding;
    one worker keeps what the user set.
    """
    share_cores(workers)
    if workers > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))


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
