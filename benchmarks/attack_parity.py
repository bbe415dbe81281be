"""Our Auto-PGD beside its authors' own code:
``python benchmarks/attack_parity.py TRAIN.npz TEST.npz``

Trains a small network adversarially on ``TRAIN``, then attacks the first images of ``TEST`` with
both programs: in float64 from the same start, comparing every point that either of them hands to
the network; and in float32 as they come, each with its own random starts, comparing robust
accuracies. Needs ``pip install pyautoattack``.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace_geom.attacks import AttackSpec, Linf, pgd, run
from grace_geom.attacks.apgd import ascend
from grace_geom.attacks.losses import Criterion, cross_entropy, dlr_targeted
from grace_geom.attacks.tracker import Hunt


def read(path: Path, n: int | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) float32 in [0, 1] and labels of an npz file."""
    with np.load(path, allow_pickle=False) as pack:
        images, labels = pack["images"][:n], pack["labels"][:n]
    images = images[..., None] if images.ndim == 3 else images
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(
        255
    ).contiguous(), torch.from_numpy(labels).long()


def small_network(x: Tensor, y: Tensor, eps: float, epochs: int) -> nn.Module:
    """Two convolutions and two linear layers, trained on PGD examples; the radius grows over the
    first half.
    """
    torch.manual_seed(0)
    flat = 32 * (x.shape[2] // 4) * (x.shape[3] // 4)
    body = [
        nn.Conv2d(x.shape[1], 16, 4, 2, 1),
        nn.GELU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.GELU(),
        nn.Flatten(),
    ]
    model = nn.Sequential(*body, nn.Linear(flat, 100), nn.GELU(), nn.Linear(100, int(y.max()) + 1))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)

    def loss(labels: Tensor, images: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels, reduction="sum")

    for epoch in range(epochs):
        radius = eps * min(1.0, 2 * (epoch + 1) / epochs)
        for rows in torch.randperm(len(x), generator=generator).split(128):
            x_adv = pgd(partial(loss, y[rows]), x[rows], radius, radius / 4, 7, generator)
            optimizer.zero_grad()
            (loss(y[rows], x_adv) / len(rows)).backward()
            optimizer.step()
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """The peer keeps its losses in the default dtype."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def listening(model: nn.Module) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """The model, and the list of the points it will have been asked about."""
    heard: list[Tensor] = []

    def logits(x: Tensor) -> Tensor:
        heard.append(x.detach().clone())
        return model(x)

    return logits, heard


def mended(kind: Any, start_loss: Tensor) -> Any:
    """The peer's class, made to count its first step as a rise over the loss of the start.

    As published, it compares the first loss with an entry of its table that is still zero.
    """

    class Mended(kind):
        """Their attack with the loss of the start in the history that its step size looks at."""

        def check_oscillation(
            self, x: Tensor, j: int, k: int, y5: Tensor, k3: float = 0.75
        ) -> Tensor:
            """Theirs, with the loss of the start where it looks for the one before the first."""
            if j == k - 1:
                x = x.clone()
                x[-1] = start_loss
            return super().check_oscillation(x, j, k, y5, k3)

    return Mended


def lockstep(
    peer: Any, model: nn.Module, x: Tensor, y: Tensor, eps: float, criterion: str, mend: bool
) -> str:
    """Both programs from one start: for how many images they see the same points."""
    target = model(x).scatter(1, y[:, None], -torch.inf).argmax(1)
    start = Linf(x, eps).start(torch.rand(x.shape, generator=torch.Generator().manual_seed(1)))
    losses: dict[str, Criterion] = {
        "softplus CE": cross_entropy,
        "torch's CE": partial(F.cross_entropy, reduction="none"),
        "targeted DLR": partial(dlr_targeted, target=target),
    }
    loss = losses[criterion]
    ours, our_points = listening(model)
    hunt = Hunt(ours, x, y, until_fooled=False)
    ascend(hunt, hunt.rows(), start, Linf(x, eps), lambda rows: loss, steps=100)
    theirs, their_points = listening(model)
    kind = (
        peer.APGDAttack_targeted if criterion == "targeted DLR" else peer.APGDAttack
    )  # its default loss is CE
    attack = (mended(kind, loss(model(start), y)) if mend else kind)(
        theirs, n_iter=100, eps=eps, device="cpu"
    )
    attack.init_hyperparam(x)
    attack.y_target = target
    attack.attack_single_run(x, y, x_init=start)
    gaps = torch.stack(
        [(a - b).abs().flatten(1).amax(1) for a, b in zip(our_points, their_points, strict=True)]
    )
    apart = (gaps >= 1e-9).any(1).nonzero()
    where = f"; the others part from evaluation {int(apart[0])} on" if len(apart) else ""
    return f"all {len(gaps)} points equal to 1e-9 for {int((gaps < 1e-9).all(0).sum())} of {len(x)} images{where}"


def their_robust(
    peer: Any, model: nn.Module, x: Tensor, y: Tensor, eps: float, seed: int
) -> dict[str, tuple[Tensor, float]]:
    """The peer's masks and CPU seconds: Auto-PGD on the cross-entropy, and then its targeted one on
    what was left.
    """
    robust, found, began = model(x).argmax(1) == y, {}, time.process_time()
    common = {"n_iter": 100, "eps": eps, "seed": seed, "device": "cpu", "n_restarts": 1}
    for name, attack in (
        ("apgd-ce", peer.APGDAttack(model, loss="ce", **common)),
        ("apgd", peer.APGDAttack_targeted(model, n_target_classes=9, **common)),
    ):
        rows = robust.nonzero()[:, 0]
        robust[rows] &= model(attack.perturb(x[rows], y[rows])).argmax(1) == y[rows]
        found[name] = robust.clone(), time.process_time() - began
    return found


def main() -> None:
    """Parse, train, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path, help="npz: images uint8, labels of 10 classes")
    parser.add_argument("test", type=Path, help="npz: images uint8, labels")
    parser.add_argument("--eps", type=float, default=0.1, help="radius in pixels of [0, 1]")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--n", type=int, default=300, help="images attacked")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    try:
        from pyautoattack import autopgd_base as peer
    except ImportError:
        print(
            "error: the peer is not installed: pip install --no-deps pyautoattack", file=sys.stderr
        )
        raise SystemExit(2) from None
    x, y = read(args.test, args.n)
    model = small_network(*read(args.train), args.eps, args.epochs)
    with float64():
        double, xd = model.double(), x[:200].double()
        for criterion in ("softplus CE", "torch's CE", "targeted DLR"):
            for mend in (False, True):
                found = lockstep(peer, double, xd, y[:200], args.eps, criterion, mend)
                print(
                    f"float64, one start, ours with {criterion}, peer "
                    f"{'mended' if mend else 'as it is'}: {found}"
                )
    model.float()
    print(f"clean accuracy {(model(x).argmax(1) == y).float().mean():.1%} of {len(y)}\n")
    print(
        "| attack | seed | ours, robust | theirs, robust | differ | ours, CPU s | theirs, CPU s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seed in range(args.seeds):
        for name, (other, seconds) in their_robust(peer, model, x, y, args.eps, seed).items():
            began = time.process_time()
            robust = run(AttackSpec(name, args.eps), model, x, y, seed).robust
            times = f"{time.process_time() - began:.1f} | {seconds:.1f}"
            counts = f"{robust.sum()} ({robust.float().mean():.1%}) | {other.sum()} ({other.float().mean():.1%})"
            print(f"| {name} | {seed} | {counts} | {(robust != other).sum()} | {times} |")


if __name__ == "__main__":
    main()
