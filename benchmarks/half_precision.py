"""What bf16 does to the Gram volume of GRACE: ``python benchmarks/half_precision.py [RUN]``

Features of clean, attacked and weight-perturbed images are made in float32 and in bf16 from the
same images, attacks and perturbation, all found in float32. bf16 is autocast on the CPU by CUDA's
rules, which keep LayerNorm and the residual stream in float32; the last column adds
--bf16-residual, which keeps the stream in bf16.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from grace_geom.batch import Batch, joined
from grace_geom.checkpoint import open_checkpoint
from grace_geom.data import ImageSet, loader, resolve
from grace_geom.geometry.gram_volume import volume
from grace_geom.methods import Run
from grace_geom.methods.adversary import Attacked
from grace_geom.methods.grace import Grace
from grace_geom.models import ClipClassifier, ModelSpec, build
from grace_geom.tables import Table
from grace_geom.terminal import door
from grace_geom.training.fake_pass import by_cuda_rules
from grace_geom.weights import detach

EPS = (8.0, 4.0, 2.0, 1.0, 0.25)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, help="a run; by default the shipped tiny-shapes"
    )
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--n", type=int, default=128, help="test images")
    parser.add_argument("--eps", type=float, nargs="+", default=EPS, help="in 255ths of a pixel")
    parser.add_argument("--rho", type=float, default=Grace().rho)
    return parser.parse_args()


def perturbed(run: Run, grace: Grace, batch: Batch) -> Attacked:
    """The images, attacked, and one weight perturbation: what a step in float32 finds."""
    fixed = detach(grace.weights(run.model, run.params))
    (found,) = grace.attacked(run, fixed, [batch])
    return found


@torch.no_grad()
def volumes(run: Run, grace: Grace, batch: Attacked, half: bool) -> Tensor:
    """``(B,)`` Gram volume of each image, in the precision that is asked for."""
    model, weights = run.model, grace.weights(run.model, run.params)
    model.autocast_dtype = torch.bfloat16 if half else None
    try:
        features = [
            model.features(batch.images, weights),
            model.features(batch.x_adv, weights),
            model.features(batch.x_adv, batch.perturb(weights)),
        ]
    finally:
        model.autocast_dtype = None
    return volume(features, grace.gv_eps)


def measured(
    model: ClipClassifier, batch: Batch, eps: Iterable[float], rho: float
) -> list[dict[str, float]]:
    """One row a radius: mean volume in float32, and the mean ratio of the volumes in bf16 to it,
    less 1, with its standard error over images (of a ratio of means).
    """
    rows = []
    for radius in eps:
        grace = Grace(eps=radius / 255, alpha=radius / 4 / 255, rho=rho)
        params, state = grace.setup(model, torch.Generator().manual_seed(0))
        run = Run(model, params, torch.Generator().manual_seed(1), 100, state)
        grace.refresh(run, [batch])
        attacked = perturbed(run, grace, batch)
        full = volumes(run, grace, attacked, half=False)
        row = {"eps": radius, "float32": float(full.mean())}
        for name, lean in (("cuda", False), ("residual", True)):
            model.keep_residual_low(lean)
            with by_cuda_rules():
                half = volumes(run, grace, attacked, half=True)
            model.keep_residual_low(False)
            share = half.mean() / full.mean()
            row[name] = float(share - 1)
            error = (half - share * full).std() / full.mean() / math.sqrt(len(full))
            row[f"{name}_se"] = float(error)
        rows.append(row)
    return rows


def opened(checkpoint: Path | None, images: ImageSet) -> ClipClassifier:
    """The run's model, or the shipped one."""
    if checkpoint is not None:
        return open_checkpoint(checkpoint)[0]
    return build(ModelSpec("tiny-shapes"), images.class_names, images.templates)


@door
def main() -> None:
    """Measure a checkpoint at each precision and print the table."""
    o = options()
    images = resolve(o.data, "test").subset(o.n, 0)
    model = opened(o.checkpoint, images)
    batch = joined(list(loader(images, o.n, model.preprocess, train=False)))
    rows = measured(model, batch, o.eps, o.rho)

    def cell(row: dict[str, float], name: str) -> str:
        return f"{100 * row[name]:+.1f} ± {100 * row[f'{name}_se']:.1f} %"

    lines = [
        [f"{row['eps']:g}/255", f"{row['float32']:.2e}", cell(row, "cuda"), cell(row, "residual")]
        for row in rows
    ]
    heads = ["eps", "Gram volume", "bf16", "bf16, --bf16-residual"]
    title = f"Gram volume of {len(images)} images, rho {o.rho:g}, {o.checkpoint or 'tiny-shapes'}"
    print(Table(heads, lines, title=title).text())


if __name__ == "__main__":
    main()
