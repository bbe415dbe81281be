"""One GRACE step in forward passes, part by part, against its floor:
``python benchmarks/grace_step.py``

F is one forward pass of the image tower without gradient at the same batch. A forward and backward
pass with weight gradients has a floor of 3 F; one to the input alone, 2 F. Every figure is the
median of ``--repeats`` rounds in which all parts are timed in turn, so that a machine that drifts
drifts for all of them. On the CPU it is the time that this process spent computing, not the clock
on the wall: other work on the machine counts less.

The peer is a straightforward implementation of the same step (``benchmarks/peer.py``), timed in the
same rounds where transformers and peft are installed. On a GPU the share of ``--peak`` (bf16 matrix
rate) is printed too.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from grace_geom.attacks import pgd
from grace_geom.batch import Batch
from grace_geom.methods import METHODS, Method, Run
from grace_geom.methods.grace import Grace
from grace_geom.models import ClipClassifier, ModelSpec, build
from grace_geom.terminal import door
from grace_geom.weights import detach

Part = Callable[[], object]
PEER = "peer (transformers + peft)"


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny-shapes", help="open_clip name (random weights)")
    parser.add_argument("--batch", type=int, default=128, help="images a step")
    parser.add_argument("--steps", type=int, default=10, help="PGD steps")
    parser.add_argument("--repeats", type=int, default=7, help="rounds; medians are printed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument(
        "--peak", type=float, default=989, help="dense bf16 TFLOP/s of the GPU (H100 SXM: 989)"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    return parser.parse_args()


def stepper(method: Method, model: ClipClassifier, batch: Batch) -> Part:
    """One whole optimiser step of a method, outside its curvature refreshes."""
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    run = Run(
        model, params, torch.Generator(model.device).manual_seed(0), total_steps=10**9, state=state
    )
    optimizer = method.make_optimizer(params)
    method.gradients(run, [batch])  # the refresh that comes first

    def step() -> None:
        run.step += 1
        optimizer.zero_grad(set_to_none=True)
        method.gradients(run, [batch])
        optimizer.step()

    return step


def parts(model: ClipClassifier, batch: Batch, steps: int) -> dict[str, tuple[Part, float]]:
    """``name -> (what is timed, its floor in F)``."""
    grace = Grace(attack_steps=steps)
    params, state = grace.setup(model, torch.Generator().manual_seed(0))
    generator = torch.Generator(model.device).manual_seed(0)
    run = Run(model, params, generator, total_steps=10**9, state=state)
    grace.refresh(run, [batch])
    fixed = detach(grace.weights(model, params))
    x, y = batch.images, batch.labels

    def forward() -> Tensor:
        with torch.no_grad():
            return model(x, fixed)

    def loss(x: Tensor) -> Tensor:
        return F.cross_entropy(model(x, fixed), y, reduction="sum")

    def with_gradient() -> object:
        total = F.cross_entropy(model(x, grace.weights(model, params)), y)
        return torch.autograd.grad(total, list(params.values()))

    def attack() -> Tensor:
        return pgd(loss, x, eps=grace.eps, alpha=grace.alpha, steps=steps, generator=generator)

    return {
        "forward": (forward, 1.0),
        "clean pass with LoRA gradient": (with_gradient, 3.0),
        f"PGD, {steps} steps": (attack, 2.0 * steps),
        "ascent on the perturbation": (lambda: grace.perturbation(run, fixed, [batch]), 3.0),
        "ft step": (stepper(METHODS["ft"](), model, batch), 3.0),
        "lora step": (stepper(METHODS["lora"](), model, batch), 3.0),
        "at step": (stepper(METHODS["at"](attack_steps=steps), model, batch), 3.0 + 2.0 * steps),  # type: ignore[call-arg]
        "grace step": (stepper(grace, model, batch), 3.0 + 3.0 + 3.0 + 3.0 + 2.0 * steps),
    }


def peer(model: ClipClassifier, batch: Batch, steps: int) -> dict[str, tuple[Part, float]]:
    """The peer's step, where its libraries are installed; it has our floor."""
    from peer import Peer  # beside this file

    try:
        other = Peer(model, batch, Grace(attack_steps=steps))
    except ImportError as error:
        print(f"no peer ({error}): pip install transformers peft")
        return {}

    def step() -> None:
        with torch.autocast(
            batch.images.device.type, model.autocast_dtype, enabled=model.autocast_dtype is not None
        ):
            other.step()

    return {PEER: (step, 12.0 + 2.0 * steps)}


def measure(
    timed: dict[str, tuple[Part, float]], repeats: int, device: str
) -> dict[str, list[float]]:
    """Seconds of every part in every round, after one round that is not counted."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for counted in range(-1, repeats):
        for name, (part, _) in timed.items():
            _wait(device)
            start = clock()
            part()
            _wait(device)
            if counted >= 0:
                seconds[name].append(clock() - start)
    return seconds


def flops(part: Part) -> int:
    """Floating-point operations of the matrix products and attention of one call, as torch counts
    them.
    """
    with FlopCounterMode(display=False) as counter:
        part()
    return counter.get_total_flops()


def seconds_of(rows: list[dict[str, Any]], start: str) -> float:
    """Of the part whose name begins so."""
    return float(next(r["ms"] for r in rows if r["part"].startswith(start))) / 1e3


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


@door
def main() -> None:
    """Time the parts in turn and print the table."""
    o = options()
    model = build(
        ModelSpec(o.model, "random"), [f"class {i}" for i in range(12)], ["a photo of a {}"]
    ).to(o.device)
    model.autocast_dtype = torch.bfloat16 if o.precision == "bf16" else None
    g = torch.Generator().manual_seed(0)
    images = torch.rand(o.batch, 3, model.image_size, model.image_size, generator=g)
    batch = Batch(images, torch.randint(0, 12, (o.batch,), generator=g), torch.arange(o.batch)).to(
        o.device
    )
    timed = parts(model, batch, o.steps) | peer(model, batch, o.steps)
    seconds = measure(timed, o.repeats, o.device)
    forward = statistics.median(seconds["forward"])
    print(
        f"{o.model}, batch {o.batch}, {o.precision}, {o.device}, {torch.get_num_threads()} "
        f"threads, torch {torch.__version__}: F = {1e3 * forward:.2f} ms"
    )
    print(f"{'part':32} {'ms':>9} {'in F':>8} {'floor':>7} {'ratio':>6}")
    rows: list[dict[str, Any]] = []
    for name, (_, floor) in timed.items():
        median = statistics.median(seconds[name])
        in_f = statistics.median(
            [t / f for t, f in zip(seconds[name], seconds["forward"], strict=True)]
        )
        rows.append(
            {
                "part": name,
                "ms": 1e3 * median,
                "forwards": in_f,
                "floor": floor,
                "ratio": in_f / floor,
            }
        )
        print(f"{name:32} {1e3 * median:9.2f} {in_f:8.2f} {floor:7.1f} {in_f / floor:6.2f}")
    pgd_step = next(r["forwards"] for r in rows if str(r["part"]).startswith("PGD")) / o.steps
    ours = next(r for r in rows if r["part"] == "grace step")
    print(f"one PGD step costs {pgd_step:.2f} forwards (goal 2.05)")
    print(f"a GRACE step costs {ours['ratio']:.2f} of its floor (goal 1.15)")
    for other in (r for r in rows if r["part"] == PEER):
        by_round = [a / b for a, b in zip(seconds["grace step"], seconds[PEER], strict=True)]
        print(
            f"a GRACE step costs {statistics.median(by_round):.2f} of the peer's {other['ms']:.0f} "
            "ms (goal 0.5)"
        )
    if o.device.startswith("cuda"):
        rate = 2 * o.steps * flops(timed["forward"][0]) / seconds_of(rows, "PGD") / 1e12
        print(
            f"PGD runs at {rate:.0f} TFLOP/s, {100 * rate / o.peak:.0f} % of {o.peak:.0f} (goal 45 "
            "%)"
        )
    if o.out:
        o.out.write_text(
            json.dumps({"options": {k: str(v) for k, v in vars(o).items()}, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
