"""Feature geometry beside public tools, in one run: ``python benchmarks/features.py [--threads 2]``

CKA of 12 x 12 layers (torch_cka, ckatorch) and intrinsic dimension (scikit-dimension), on the same
features. CPU seconds, the best of several interleaved runs, and errors against float64 on all
images at once. Needs ``pip install torch_cka ckatorch scikit-dimension``; a tool that is absent is
left out.
"""

import argparse
import contextlib
import importlib
import io
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from grace_geom.geometry.cka import MinibatchCka, cka_matrix
from grace_geom.geometry.dimension import lid_mle, neighbours, two_nn
from grace_geom.geometry.streaming import StreamingCka
from grace_geom.tables import Table

LAYERS, TOKENS, WIDTH, OFFSET = 12, 5, 64, 1.0
"""A tower of 12 layers; the common offset stands for a mean that a real tower's features have."""


class Recorded(nn.Module):
    """A tower whose layers return recorded features of the images asked for: no tool pays for a
    forward pass.
    """

    def __init__(self, features: list[Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(f) for f in features])

    def forward(self, rows: Tensor) -> Tensor:
        """The last layer's features of some rows; hooks hear every layer."""
        for layer in self.layers:
            out = layer(rows)
        return out


class _Layer(nn.Module):
    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, rows: Tensor) -> Tensor:
        """The features of some rows."""
        return self.features[rows]


def towers(n: int) -> tuple[list[Tensor], list[Tensor]]:
    """Layers ``(n, tokens, width)`` of two related networks: a slow random walk of features, and a
    noisy rotation.
    """
    g = torch.Generator().manual_seed(0)
    d = TOKENS * WIDTH
    x = torch.randn(n, d, generator=g)
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    for _ in range(LAYERS):
        x = torch.tanh(0.8 * x + 0.6 * x @ torch.randn(d, d, generator=g) / d**0.5)
        Q = torch.linalg.qr(torch.randn(d, d, generator=g)).Q
        for side, y in zip(sides, (x, x @ Q + 0.3 * torch.randn(n, d, generator=g)), strict=True):
            side.append((y + OFFSET).view(n, TOKENS, WIDTH))
    return sides


def cpu_seconds(
    works: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Best CPU time of each, run in turn so that a busy machine disturbs all alike; and their last
    answers.
    """
    best, answers = dict.fromkeys(works, float("inf")), {}
    for _ in range(repeats):
        for name, work in works.items():
            began = time.process_time()
            with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answers[name] = work()
            best[name] = min(best[name], time.process_time() - began)
    return best, answers


def cka_table(n: int, batch: int, repeats: int) -> Table:
    """Minibatch and exact modes beside the tools; error: largest of the 144 cells."""
    Xs, Ys = towers(n)
    flat = [[f.flatten(1) for f in side] for side in (Xs, Ys)]
    truth = cka_matrix([f.double() for f in flat[0]], [f.double() for f in flat[1]])
    rows = [torch.arange(i, min(i + batch, n)) for i in range(0, n, batch)]

    def ours(form: type[MinibatchCka] | type[StreamingCka]) -> Tensor:
        found = form()
        for r in rows:
            found.update(*[[f[r] for f in side] for side in flat])
        return found.cka()

    loader = DataLoader(TensorDataset(torch.arange(n)), batch_size=batch)
    works: dict[str, Callable[[], Tensor]] = {
        "ours, minibatch": lambda: ours(MinibatchCka), "ours, exact": lambda: ours(StreamingCka)
    }  # fmt: skip
    names = [f"layers.{i}" for i in range(LAYERS)]
    if (torch_cka := _tool("torch_cka")) is not None:
        works["torch_cka"] = lambda: _torch_cka(
            torch_cka, Recorded(Xs), Recorded(Ys), names, loader
        )
    if (ckatorch := _tool("ckatorch.cka")) is not None:
        works["ckatorch"] = lambda: ckatorch.CKA(
            Recorded(Xs), Recorded(Ys), names, names, "x", "y"
        )(loader, epochs=1)
    seconds, found = cpu_seconds(works, repeats)
    base = seconds.get("torch_cka", seconds["ours, minibatch"])
    lines = [
        [
            name,
            f"{s:.2f}",
            f"{s / base:.3f}",
            f"{(found[name].double() - truth).abs().max().item():.1e}",
        ]
        for name, s in seconds.items()
    ]
    return Table(
        ["tool", "CPU s", "ratio", "error"],
        lines,
        1,
        f"CKA, {LAYERS} x {LAYERS} layers, n = {n}, batches of {batch}",
        ["ckatorch compares the tokens of one image, the last batch only: another quantity"],
    )


def _torch_cka(tool: Any, a: nn.Module, b: nn.Module, names: list[str], loader: Any) -> Tensor:
    cka = tool.CKA(a, b, "x", "y", names, names)
    try:
        with torch.no_grad():
            cka.compare(loader)
    except AssertionError:  # its own check: float32 sums of uncentred products left a negative HSIC
        return torch.full((len(names), len(names)), torch.nan)
    return cka.export()["CKA"]


def dimension_table(n: int, d: int, width: int, repeats: int) -> Table:
    """LID by maximum likelihood (k = 20) and TwoNN of a d-dimensional Gaussian in ``width``
    dimensions.
    """
    g = torch.Generator().manual_seed(0)
    X = (
        torch.randn(n, d, generator=g).double()
        @ torch.linalg.qr(torch.randn(width, d, generator=g).double()).Q.T
    )

    def ours() -> tuple[float, float]:
        near = neighbours(X, 20)
        return lid_mle(near, 20), two_nn(near)

    works: dict[str, Callable[[], tuple[float, float]]] = {"ours": ours}
    if (skdim := _tool("skdim")) is not None:
        works["scikit-dimension"] = lambda: (
            float(skdim.id.MLE().fit(X.numpy(), n_neighbors=20, comb="mle").dimension_),
            float(skdim.id.TwoNN().fit(X.numpy()).dimension_),
        )
    seconds, found = cpu_seconds(works, repeats)
    base = seconds.get("scikit-dimension", seconds["ours"])
    lines = [
        [name, f"{s:.2f}", f"{s / base:.3f}", *(f"{v:.6f}" for v in found[name])]
        for name, s in seconds.items()
    ]
    title = f"LID + TwoNN, n = {n}, a {d}-dimensional Gaussian in {width} dimensions"
    return Table(["tool", "CPU s", "ratio", "LID", "TwoNN"], lines, 1, title)


def _tool(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--n", type=int, default=2000, help="images of the CKA")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--points", type=int, default=10_000, help="points of the dimension")
    parser.add_argument("--width", type=int, default=64, help="their features")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, best of {options.repeats}")
    print(cka_table(options.n, options.batch, options.repeats).text())
    print()
    print(dimension_table(options.points, 8, options.width, options.repeats).text())


if __name__ == "__main__":
    main()
