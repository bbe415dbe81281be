"""The generators behind a run: seeded, saved, restored."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_global(seed: int) -> None:
    """Seed the global generators too: nothing here draws from them, a method of somebody else's
    may.
    """
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


def random_state(generator: torch.Generator, device: torch.device) -> dict[str, Any]:
    """State of every generator that a run could have drawn from: tensors and plain numbers."""
    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    numpy = {
        "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "rest": [float(x) for x in rest],
    }
    state: dict[str, Any] = {
        "run": generator.get_state(),
        "torch": torch.get_rng_state(),
        "numpy": numpy,
    }
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(
    state: dict[str, Any], generator: torch.Generator, device: torch.device
) -> None:
    """Set every generator as :func:`random_state` found it."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, cached = state["numpy"]["rest"]
    keys = state["numpy"]["keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))  # noqa: NPY002
    if (
        state["run"].shape == generator.get_state().shape
    ):  # else it was another kind of device: not bit for bit there
        generator.set_state(state["run"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def to_device(tree: Any, device: torch.device) -> Any:
    """The same tree of dictionaries and lists, its tensors on another device."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {name: to_device(item, device) for name, item in tree.items()}
    if isinstance(tree, list):
        return [to_device(item, device) for item in tree]
    return tree
