"""The calculated figures of docs/scale.md, from stated inputs:
``python benchmarks/scale_estimate.py``

Nothing is run or measured: operations are counted over shapes (a multiplication and an addition are
two), hours follow from a peak rate and the share of it that is reached, bytes from float32 tensors.
"""

import argparse
from dataclasses import dataclass

import open_clip
import torch

from grace_geom.tables import Table

MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
TRAIN_IMAGES = 1_281_167 - 128_116
"""ImageNet's training images, less the tenth that is held out."""
R_AWP = 4
"""Rank of the perturbation of a matrix."""
GRACE, FINE_TUNING, APGD = 32, 3, 300
"""Forward passes an image: the floor of a GRACE step, of a plain step, the most of APGD-CE at 100
steps.
"""


@dataclass(frozen=True)
class Tower:
    """The sizes of an image tower.

    Attributes:
        width: d.
        layers: L.
        patch: Side of a patch, pixels.
        side: Of the image, pixels.
        out: Width of the embedding.
        parameters: Of both towers together.
    """

    width: int
    layers: int
    patch: int
    side: int
    out: int
    parameters: int

    def forward(self) -> int:
        """Operations of one image; of the last block only keys and values are made for all
        tokens."""
        d, patches = self.width, (self.side // self.patch) ** 2
        N = patches + 1
        whole = 24 * N * d**2 + 4 * N**2 * d
        last = 4 * N * d**2 + 20 * d**2 + 4 * N * d
        return (
            2 * patches * 3 * self.patch**2 * d
            + (self.layers - 1) * whole
            + last
            + 2 * d * self.out
        )

    def matrices(self) -> int:
        """Entries of the attention and MLP matrices."""
        return 12 * self.width**2 * self.layers

    def factors(self, r: int) -> int:
        """Entries of the low-rank factors of all of them: ``r (n1 + n2)`` each."""
        return 16 * r * self.width * self.layers


def tower(name: str) -> Tower:
    """From open_clip's own configuration; the parameters are counted without memory for them."""
    config = open_clip.get_model_config(name)
    vision = config["vision_cfg"]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in open_clip.CLIP(**config).parameters())
    return Tower(
        vision["width"],
        vision["layers"],
        vision["patch_size"],
        vision["image_size"],
        config["embed_dim"],
        parameters,
    )


def rows(
    t: Tower, peak: float, batch: int, epochs: int, r: int, perturbed: float
) -> dict[str, float]:
    """What the document says of one model: a row a figure, the unit in its name."""
    F = t.forward()

    def hours(passes: int, share: float, gpus: int = 1) -> float:
        return epochs * TRAIN_IMAGES * passes * F / (share * peak * gpus) / 3600

    step = batch * GRACE * F / (0.45 * peak)
    return {
        "F, GFLOP an image": F / 1e9,
        f"GRACE ({GRACE} F), GFLOP an image": GRACE * F / 1e9,
        "1 GPU at 45 %, hours": hours(GRACE, 0.45),
        "1 GPU at 30 %, hours": hours(GRACE, 0.3),
        "8 GPUs at 45 %, hours": hours(GRACE, 0.45, 8),
        "64 GPUs at 45 %, hours": hours(GRACE, 0.45, 64),
        f"fine-tuning ({FINE_TUNING} F), 1 GPU at 45 %, hours": hours(FINE_TUNING, 0.45),
        f"adapter r = {r}, MB": 4 * t.factors(r) / 1e6,
        f"factors' gradients of the perturbation, r = {R_AWP}, MB": 4
        * perturbed
        * t.factors(R_AWP)
        / 1e6,
        f"gradient of {perturbed:.0%} of the matrices, MB": 4 * perturbed * t.matrices() / 1e6,
        "checkpoint, GB": 4 * (t.parameters + 4 * t.factors(r) + t.matrices()) / 1e9,
        f"a step of {batch}, s": step,
        "500 steps, minutes": 500 * step / 60,
        "images a second": batch / step,
        "products of 32 images, ms": 1e3 * step * 32 / batch,
        "products of 4 images, ms": 1e3 * step * 4 / batch,
        f"APGD-CE on 5,000 images ({APGD} F), minutes": 5000 * APGD * F / (0.45 * peak) / 60,
    }


def main() -> None:
    """Calculate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peak",
        type=float,
        default=989e12,
        help="operations a second of one GPU: H100, dense bf16",
    )
    parser.add_argument("--batch", type=int, default=256, help="images a step")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--r", type=int, default=64, help="rank of the adapter")
    parser.add_argument(
        "--perturbed", type=float, default=0.8, help="share of the matrices of a rank above 0"
    )
    o = parser.parse_args()
    columns = [rows(tower(name), o.peak, o.batch, o.epochs, o.r, o.perturbed) for name in MODELS]
    lines = [
        [
            key,
            *(
                f"{column[key]:.3g}" if column[key] < 100 else f"{column[key]:,.0f}"
                for column in columns
            ),
        ]
        for key in columns[0]
    ]
    images = o.epochs * TRAIN_IMAGES
    note = f"{TRAIN_IMAGES:,} images, {o.epochs} epochs: {images / 1e6:.1f} million, {images // o.batch:,} steps. A "
    note += "checkpoint: both towers, the adapter twice (from a GPU) with two moments, the curvature of every matrix"
    print(Table(["calculated, not measured", *MODELS], lines, 1, notes=[note]).text())


if __name__ == "__main__":
    main()
