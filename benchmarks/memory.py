"""Does it fit? ``python benchmarks/memory.py --estimate --model ViT-L-14 --batch 256 --gib 80``:
the memory of a step

What autograd keeps of an image is counted while the method makes its own passes over one image and
over two: real passes with random weights on whatever device there is, or with --estimate passes
over shapes alone, by CUDA's rules, which compute nothing and take seconds for any model. --table
prints what one pass keeps of a 224 px image, as docs/scale.md has it.
"""

import argparse
import contextlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from grace_geom.devices import Precision
from grace_geom.errors import UserError
from grace_geom.methods import Run, method_class
from grace_geom.models import ClipClassifier, ModelSpec, build
from grace_geom.tables import Table
from grace_geom.terminal import door
from grace_geom.training import Plan, Trainer, choose_micro_batch, measure
from grace_geom.training.fake_pass import by_cuda_rules, shapes_only
from grace_geom.training.memory import Memory


class Way(NamedTuple):
    """What saves memory: ``--grad-checkpoint``, ``--bf16-residual``."""

    recompute: bool = False
    lean: bool = False


MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
WAYS = {
    "plain": Way(),
    "--grad-checkpoint": Way(recompute=True),
    "--bf16-residual": Way(lean=True),
    "both": Way(recompute=True, lean=True),
}
TEMPLATES = ["a photo of a {}"]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ViT-L-14", help="open_clip name")
    parser.add_argument("--method", default="grace")
    parser.add_argument(
        "--batch", type=int, default=256, help="images an optimiser step on this GPU"
    )
    parser.add_argument(
        "--gib", type=float, default=80, help="memory of the GPU, of which 92 %% is used"
    )
    parser.add_argument("--precision", choices=["float32", "bf16"], default="bf16")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="cpu", help="of real passes")
    parser.add_argument("--estimate", action="store_true", help="passes over shapes alone")
    parser.add_argument(
        "--table", action="store_true", help="what one pass keeps, for the three models of the page"
    )
    return parser.parse_args()


def names(classes: int) -> list[str]:
    """Of so many classes."""
    return [f"class {i}" for i in range(classes)]


def real(
    model: str, method: str, way: Way, precision: Precision, classes: int, device: str
) -> Memory:
    """From real passes with random weights."""
    built = build(ModelSpec(model, "random"), names(classes), TEMPLATES).to(device)
    return _measured(built, method, way, precision)


def estimate(
    model: str,
    method: str,
    way: Way,
    precision: Precision,
    classes: int = 10,
    rules: Literal["cuda", "cpu"] = "cuda",
) -> Memory:
    """From passes over shapes, by the rules of autocast and attention of a GPU or of a CPU."""
    of_device = by_cuda_rules() if rules == "cuda" else contextlib.nullcontext()
    with shapes_only(model, names(classes), TEMPLATES) as hollow, of_device:
        return _measured(hollow, method, way, precision)


def _measured(model: ClipClassifier, name: str, way: Way, precision: Precision) -> Memory:
    """Of a run of the method at step 0, with one PGD step: more of them keep no more."""
    model.checkpoint_activations(way.recompute)
    model.keep_residual_low(way.lean)
    method = method_class(name)()
    if hasattr(method, "attack_steps"):
        method.attack_steps = 1
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    run = Run(
        model, params, torch.Generator(model.device).manual_seed(0), total_steps=10, state=state
    )
    return measure(Trainer(method, run, Plan(10, 10, precision=precision)), model.image_size)


def kept_by_a_pass(models: Sequence[str] = MODELS) -> dict[str, dict[str, float]]:
    """MiB an image that one pass keeps, by way and model: gradients of all weights of the image
    tower.
    """
    cases: list[tuple[str, Precision, Way]] = [
        (f"{precision}, {name}", precision, way)
        for precision in ("float32", "bf16")
        for name, way in WAYS.items()
        if precision == "bf16" or not way.lean
    ]
    return {
        name: {model: estimate(model, "ft", way, precision).image / 2**20 for model in models}
        for name, precision, way in cases
    }


def answers(memory: Memory, batch: int, gib: float) -> list[str]:
    """Fixed GiB, MiB an image, GiB of the whole batch, images that fit, the value of
    ``--micro-batch``.
    """
    budget = int(0.92 * gib * 2**30)
    try:
        pieces = str(choose_micro_batch(memory, batch, budget))
    except UserError:
        pieces = "does not fit"
    whole = memory.of(batch) / 2**30
    return [
        f"{memory.fixed / 2**30:.1f}",
        f"{memory.image / 2**20:.1f}",
        f"{whole:.1f}",
        f"{memory.largest(budget)}",
        pieces,
    ]


@door
def main() -> None:
    """Print what a step needs, or what a pass keeps."""
    o = options()
    if o.table:
        rows = [
            [way, *(f"{mib:.0f}" for mib in found.values())]
            for way, found in kept_by_a_pass().items()
        ]
        print(Table(["MiB an image and pass", *MODELS], rows).text())
        return
    rows = []
    for name, way in WAYS.items():
        if way.lean and o.precision == "float32":
            continue
        if o.estimate:
            memory = estimate(o.model, o.method, way, o.precision, o.classes)
        else:
            memory = real(o.model, o.method, way, o.precision, o.classes, o.device)
        rows.append([name, *answers(memory, o.batch, o.gib)])
    how = "estimated over shapes" if o.estimate else f"real passes on {o.device}"
    title = f"{o.method} on {o.model}, {o.precision}, {o.batch} images a step, {o.gib:g} GiB: {how}"
    heads = [
        "",
        "fixed, GiB",
        "an image, MiB",
        "whole batch, GiB",
        "images that fit",
        "--micro-batch",
    ]
    print(Table(heads, rows, title=title).text())


if __name__ == "__main__":
    main()
