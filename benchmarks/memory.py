"""Does it fit? ``python benchmarks/memory.py --model ViT-L-14 --batch 256 --gib 80``: the memory of a step, by estimate

What autograd keeps of an image is counted while the method makes its own passes over one image and over two, on
whatever device there is; nothing is multiplied out by hand. Weights are random.
"""

import argparse

import torch

from grace_geom.devices import Precision
from grace_geom.errors import UserError, door
from grace_geom.loop import Plan, Trainer, choose_micro_batch, measure
from grace_geom.methods import Run, method_class
from grace_geom.models import ModelSpec, build


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-L-14", help="open_clip name")
    parser.add_argument("--method", default="grace")
    parser.add_argument("--batch", type=int, default=256, help="images an optimiser step on this GPU")
    parser.add_argument("--gib", type=float, default=80, help="memory of the GPU, of which 92 %% is used")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="bf16")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def trainer(o: argparse.Namespace, recompute: bool, precision: Precision) -> Trainer:
    """A run of the method at step 0, with one PGD step: more of them keep no more."""
    spec = ModelSpec(o.model, "random")
    model = build(spec, [f"class {i}" for i in range(o.classes)], ["a photo of a {}"]).to(o.device)
    model.checkpoint_activations(recompute)
    cls = method_class(o.method)
    method = cls()
    if hasattr(method, "attack_steps"):
        method.attack_steps = 1
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    run = Run(model, params, torch.Generator(model.device).manual_seed(0), total_steps=10, state=state)
    return Trainer(method, run, Plan(10, 10, precision=precision))


@door
def main() -> None:
    o = options()
    budget = int(0.92 * o.gib * 2**30)
    print(f"{o.method} on {o.model}, {o.precision}, {o.batch} images a step, {o.gib:g} GiB")
    print(f"{'':18} {'fixed, GiB':>11} {'an image, MiB':>14} {'whole batch, GiB':>17} {'images that fit':>16}  "
          "--micro-batch")  # fmt: skip
    for recompute in (False, True):
        t = trainer(o, recompute, o.precision)
        memory = measure(t, t.run.model.image_size)
        try:
            size = str(choose_micro_batch(memory, o.batch, budget))
        except UserError:
            size = "does not fit"
        name = "--grad-checkpoint" if recompute else "plain"
        print(f"{name:18} {memory.fixed / 2**30:11.1f} {memory.image / 2**20:14.1f} {memory.of(o.batch) / 2**30:17.1f} "
              f"{memory.largest(budget):16d}  {size}")  # fmt: skip


if __name__ == "__main__":
    main()
