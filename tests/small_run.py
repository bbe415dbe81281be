"""A whole training run that takes a second: 60 images of 16 pixels, a CLIP of a few thousand
weights.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from grace_geom.config import TrainConfig, make_config
from grace_geom.methods import METHODS
from grace_geom.training import train_run
from tests.toys import CLASSES, register_toy, toy_batch

QUICK = {
    "grace": {"r": 2}, "lora": {"r": 2}, "lora-spd": {"r": 2}, "lora-tecoa": {"r": 2},
    "vpt-pmg-aft": {"prompt_tokens": 2},
    "lp-ft": {"c_values": 3}, "linear-probe": {"c_values": 3}, "tpgm": {"radius_steps": 3},
}  # fmt: skip


def write_npz(folder: Path, n: int = 60) -> str:
    """A file whose classes differ in mean colour; returns its SPEC."""
    batch = toy_batch(n, seed=1)
    images = (batch.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    np.savez(folder / "toy.npz", images=images, labels=batch.labels.numpy())
    (folder / "toy.classes.json").write_text(json.dumps({"class_names": list(CLASSES)}))
    return f"npz:{folder / 'toy.npz'}"


def small_config(folder: Path, method: str = "lora", **values: Any) -> TrainConfig:
    """Two epochs of five steps, by default into ``folder/run``."""
    if not (folder / "toy.npz").exists():
        write_npz(folder)
    plan = {
        "epochs": 2,
        "batch_size": 8,
        "lr": 1e-2,
        "log_every": 1,
        "device": "cpu",
        "out": str(folder / "run"),
    }
    model = {"model": register_toy(), "pretrained": "random", "data": f"npz:{folder / 'toy.npz'}"}
    if method == "zero-shot":
        del plan["lr"]
    attack = {"attack_steps": 2} if "eps" in {f.name for f in fields(METHODS[method])} else {}
    return make_config(
        {"method": method, **model, **plan, **attack, **QUICK.get(method, {}), **values}
    )


def flags(folder: Path, **values: Any) -> list[str]:
    """A command line for a small run, made from flat settings."""
    config = small_config(folder, **values)
    given: dict[str, Any] = {
        "model": config.model,
        "pretrained": "random",
        "data": config.data,
        "device": "cpu",
        "out": config.out,
    }
    given |= {"epochs": 2, "batch_size": 8, "method": config.method} | values
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def small_run(folder: Path, method: str = "lora", **values: Any) -> Path:
    """The run directory of a finished small run."""
    return train_run(small_config(folder, method, **values), quiet=True)


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
