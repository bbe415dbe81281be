"""Our AutoAttack beside its authors' own, part by part and image by image, in three norms:
``python benchmarks/autoattack_parity.py TRAIN.npz TEST.npz``

Trains a small network adversarially on ``TRAIN``, then gives each part of AutoAttack's standard
version the same images of ``TEST``, those that the network has right, in both programs; each
program draws its own random numbers. Prints how many images each leaves, on how many they differ,
and the CPU seconds of each; with ``--seeds``, on how many images of Square Attack seeds of one
program differ, which is what chance alone does. Needs
``pip install git+https://github.com/fra31/auto-attack``.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.attack_parity import read, small_network
from grace_geom.attacks import AttackSpec
from grace_geom.attacks.suite import run_part

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
PARTS = {"apgd-ce": "apgd", "apgd-t": "apgd_targeted", "fab-t": "fab", "square": "square"}
"""Our names of the parts and theirs."""
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


def ours(spec: AttackSpec, part: str, model: nn.Module, seed: int = 0) -> Attacker:
    """One part of our program."""
    about = spec.part(part, 10)
    return lambda x, y: run_part(spec, about, model, x, y, seed, torch.arange(len(y))).x_adv


def rows(
    package: Any, model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: float, queries: int,
    parts: Sequence[str] = tuple(PARTS),
) -> list[str]:  # fmt: skip
    """A line for each part."""
    peer = theirs(package, model, norm, eps, queries)
    spec = AttackSpec("autoattack", eps, norm, queries=queries)
    found = []
    for part in parts:
        other = getattr(peer, PARTS[part])
        stand, seconds = measure(ours(spec, part, model), model, x, y)
        other_stand, other_seconds = measure(other.perturb, model, x, y)
        counts = (
            f"{int(stand.sum())} | {int(other_stand.sum())} | {int((stand != other_stand).sum())}"
        )
        times = f"{seconds:.1f} | {other_seconds:.1f} | {seconds / other_seconds:.2f}"
        found.append(f"| {norm}, {eps:g} | `{part}` | {counts} | {times} |")
        print(found[-1], flush=True)
    return found


def seeds_line(
    package: Any, model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: float, queries: int,
    seeds: int,
) -> str:  # fmt: skip
    """On how many images two runs of Square Attack differ: seeds of ours, seeds of theirs, and ours
    and theirs of one seed; a number for each pair.
    """
    spec = AttackSpec("autoattack", eps, norm, queries=queries)
    mine: list[Tensor] = []
    other: list[Tensor] = []
    for seed in range(seeds):
        mine.append(measure(ours(spec, "square", model, seed), model, x, y)[0])
        peer = theirs(package, model, norm, eps, queries)
        peer.square.seed = seed
        other.append(measure(peer.square.perturb, model, x, y)[0])
    pairs = list(itertools.combinations(range(seeds), 2))
    apart = [
        [int((one[a] != one[b]).sum()) for a, b in pairs] for one in (mine, other)
    ]  # fmt: skip
    apart.append([int((a != b).sum()) for a, b in zip(mine, other, strict=True)])
    texts = [", ".join(map(str, numbers)) for numbers in apart]
    return f"| {norm}, {eps:g} | {' | '.join(texts)} |"


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
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=0, help="of Square Attack, at least 2")
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
        some = package, model, x[right], y[right], norm, getattr(args, norm), args.queries
        rows(*some, args.parts)
    if args.seeds > 1:
        print("\n| norm, ε | seeds of ours differ | of theirs | ours from theirs |")
        print("| --- | --- | --- | --- |")
        for norm in args.norms:
            some = package, model, x[right], y[right], norm, getattr(args, norm), args.queries
            print(seeds_line(*some, args.seeds), flush=True)


if __name__ == "__main__":
    main()
