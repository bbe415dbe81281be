"""The scripts of ``analyses/`` as functions, small settings for them, and what they shall find."""

import importlib.util
import re
from pathlib import Path

import torch
from torch.nn import functional as F

from grace_geom.checkpoint import open_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.geometry.operators import hessian

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--n", "10", "--batch", "6", "--dtype", "float64", "--params", "ln_|proj$"]


def script(name: str):
    spec = importlib.util.spec_from_file_location(
        f"analysis_{name}", ROOT / "analyses" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def dense(run: Path, n: int = 10) -> torch.Tensor:
    """The Hessian that the script is about, column by column on the whole sample as one batch."""
    model, _ = open_checkpoint(run / "ckpt.pt")
    model = model.double()
    images = resolve("shapes", "test").subset(n, 0)
    (batch,) = loader(images, n, model.image_size, train=False)
    x = batch.images.double()
    A = hessian(
        lambda w, b: F.cross_entropy(model(x, w), batch.labels),
        model.weights(),
        [batch],
        "ln_|proj$",
    )
    return torch.stack([A.matvec(e) for e in torch.eye(A.dim, dtype=torch.float64)])


def needs_no_network(page: Path) -> bool:
    """Whether an HTML file has a figure, and beside it every script that it does not hold."""
    text = page.read_text()
    scripts = re.findall(r'<script[^>]* src="([^"]*)"', text)
    return "Plotly.newPlot" in text and all((page.parent / name).is_file() for name in scripts)
