"""Our AutoAttack beside its authors' own, part by part and image by image, in three norms:
``python benchmarks/autoattack_parity.py TRAIN.npz TEST.npz``

Trains a small network adversarially on ``TRAIN``, then gives each part of AutoAttack's standard
version the same images of ``TEST``, those that the network has right, in both programs; each
program draws its own random numbers. Prints how many images each leaves, on how many they differ,
and the CPU seconds of each. Needs
``pip install git+https://github.com/fra31/auto-attack``.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.attack_parity import read, small_network
from grace_geom.attacks import AttackSpec
from grace_geom.attacks.suite import run_part

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
Attacker = Callable[[Tensor, Tensor], Tensor]
"""Images and labels to perturbed images."""


def theirs(package: Any, model: nn.Module, norm: str, eps: float, queries: int) -> Any:
    """The authors' program, set to the parts of its standard version."""
    made = package.AutoAttack(
        model, norm=NORMS[norm], eps=eps, device="cpu", verbose=False, seed=0, version="standard"
    )
    made.square.n_queries, made.fab.targeted = queries, True
    return made


def measure(attack: Attacker, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Which images stand, and the CPU seconds of the attack."""
    began = time.process_time()
    x_adv = attack(x, y)
    seconds = time.process_time() - began
    return model(x_adv).argmax(1) == y, seconds


def rows(
    package: Any, model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: float, queries: int
) -> list[str]:
    """A line for each part."""
    peer = theirs(package, model, norm, eps, queries)
    spec = AttackSpec("autoattack", eps, norm, queries=queries)
    found = []
    for part, other in (
        ("apgd-ce", peer.apgd),
        ("apgd-t", peer.apgd_targeted),
        ("fab-t", peer.fab),
        ("square", peer.square),
    ):
        about = spec.part(part, 10)

        def ours(images: Tensor, labels: Tensor, about: dict[str, Any] = about) -> Tensor:
            return run_part(spec, about, model, images, labels, 0, torch.arange(len(y))).x_adv

        stand, seconds = measure(ours, model, x, y)
        other_stand, other_seconds = measure(other.perturb, model, x, y)
        counts = (
            f"{int(stand.sum())} | {int(other_stand.sum())} | {int((stand != other_stand).sum())}"
        )
        times = f"{seconds:.1f} | {other_seconds:.1f} | {seconds / other_seconds:.2f}"
        found.append(f"| {norm}, {eps:g} | `{part}` | {counts} | {times} |")
        print(found[-1], flush=True)
    return found


def main() -> None:
    """Parse, train, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path, help="npz: images uint8, labels of 10 classes")
    parser.add_argument("test", type=Path, help="npz: images uint8, labels")
    parser.add_argument("--linf", type=float, default=4 / 255)
    parser.add_argument("--l2", type=float, default=0.5)
    parser.add_argument("--l1", type=float, default=12.0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--n", type=int, default=100, help="images attacked, all right without")
    parser.add_argument("--queries", type=int, default=1000, help="of Square Attack")
    parser.add_argument("--norms", nargs="+", choices=NORMS, default=list(NORMS))
    args = parser.parse_args()
    try:
        import autoattack as package
    except ImportError:
        print(
            "error: the peer is not installed: pip install "
            "git+https://github.com/fra31/auto-attack",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    torch.set_num_threads(1)
    model = small_network(*read(args.train), args.linf, args.epochs)
    x, y = read(args.test)
    right = (model(x).argmax(1) == y).nonzero()[: args.n, 0]
    print(f"clean accuracy {(model(x).argmax(1) == y).float().mean():.1%} of {len(y)}\n")
    print("| norm, ε | part | ours leaves | theirs | differ | ours, CPU s | theirs | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for norm in args.norms:
        rows(package, model, x[right], y[right], norm, getattr(args, norm), args.queries)


if __name__ == "__main__":
    main()
