"""Where and with what something was computed, as a plain dictionary."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from grace_geom.devices import tf32_allowed

PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "safetensors")


def provenance(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Versions, code commit, machine kind and thread counts; never fails, and says nothing about
    time or user.

    Args:
        device: The device that computes.
    """
    device = torch.device(device)
    return {
        "grace_geom": installed("grace_geom"),
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "device_name": device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "tf32": any(tf32_allowed().values()),
    } | ({"deterministic": True} if torch.are_deterministic_algorithms_enabled() else {})


def installed(package: str) -> str | None:
    """Version of an installed package, ``None`` where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """Commit of the checkout this code runs from (``+`` appended where tracked files differ), else
    ``None``.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    revision = _git(root, "rev-parse", "HEAD")
    if revision is None:
        return None
    return revision + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def device_name(device: torch.device) -> str:
    """Model of a GPU, or of the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def processor() -> str:
    """Model of the CPU, as well as the system tells."""
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
