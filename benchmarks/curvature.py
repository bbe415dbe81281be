"""Curvature beside public tools, in one run: ``OMP_NUM_THREADS=1 python benchmarks/curvature.py``

Model "M": a ViT of 0.47 M random weights (width 96, 4 layers, 17 tokens), one batch of 32,
cross-entropy with 10 random labels; float32, and errors against float64. F is the CPU time of one
forward pass without gradient. All tools differentiate the same module. PyHessian, curvlinops
(``pip install curvlinops-for-pytorch``) and hessian-eigenthings are left out, and a line says so,
where they are not installed. Traces are compared on a net of the same kind that is small enough for
its dense Hessian.
"""

import argparse
import contextlib
import ctypes
import gc
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import grad, jvp

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # called by its path, only this folder is there

from benchmarks.curvature_net import M, in_double, loss_of, ours, sample, weights_of
from benchmarks.curvature_peers import (
    Answer,
    curvlinops_density,
    curvlinops_eigsh,
    eigenthings_density,
    eigenthings_lanczos,
    find_peers,
    pyhessian_density,
    pyhessian_eigenvalues,
)
from grace_geom.batch import Batch
from grace_geom.geometry.krylov import Krylov, leaning_start, random_start
from grace_geom.geometry.lanczos import eigenpairs
from grace_geom.geometry.operators import CurvatureOperator, twice_differentiable
from grace_geom.geometry.spectrum import spectrum
from grace_geom.geometry.trace import hutchinson, hutchpp, xtrace
from grace_geom.tables import Table
from grace_geom.weights import Weights

TABLES = ("cost", "eigen", "density", "trace")


# ---------------------------------------------------------------- one product in forward passes


def cost_table(model: nn.Module, batch: Batch, rounds: int) -> tuple[Table, float]:
    """Every part in turn in every round; the ratio of medians."""
    kept, rebuilt = ours(model, batch), ours(model, batch, graph_bytes=0)
    params, w, loss = list(model.parameters()), weights_of(model), loss_of(model)
    v = random_start(kept.dim, 0, kept.like)
    direction = dict(zip(w, v.split([x.numel() for x in w.values()]), strict=True))
    direction = {n: x.view_as(w[n]) for n, x in direction.items()}
    tail = ours(model, batch, pattern=tail_pattern(model), graph_bytes=2**30)

    def forward() -> None:
        with torch.no_grad():
            loss(w, batch)

    def gradient() -> object:
        return torch.autograd.grad(loss(dict(model.named_parameters()), batch), params)

    def forward_over_reverse() -> None:
        """A Hessian-vector product as the directional derivative of the gradient."""

        def here(weights: Weights) -> Tensor:
            return loss(weights, batch)

        with twice_differentiable():
            jvp(grad(here), (w,), (direction,))

    works: dict[str, tuple[Callable[[], object], str]] = {
        "forward": (forward, "1"),
        "gradient": (gradient, "3"),
        "HVP, kept graph": (lambda: kept.matvec(v), "6"),
        "HVP, rebuilt graph": (lambda: rebuilt.matvec(v), "9"),
        "jvp of grad": (forward_over_reverse, ""),
        "HVP, last block, kept": (lambda: tail.matvec(torch.ones(tail.dim)), ""),
    }
    seconds = timed({name: work for name, (work, _) in works.items()}, rounds)
    F_ = seconds["forward"]
    memory = {name: peak(work) for name, (work, _) in works.items()}
    base = memory["gradient"]
    lines = [
        [name, f"{1e3 * s:.1f}", f"{s / F_:.2f}", works[name][1] or "-", _mib(memory[name]),
         f"{memory[name] / base:.1f}" if memory[name] and base else "-"]
        for name, s in seconds.items()
    ]  # fmt: skip
    note = f"kept: the graph, {kept.graph_bytes * len(batch) / 2**20:.0f} MiB, is held between products and not counted"
    heads = ["part", "CPU ms", "in F", "floor", "peak MiB", "of gradient's"]
    return Table(heads, lines, 1, "One product in forward passes", [note]), F_


def tail_pattern(model: nn.Module) -> str:
    """The weights of the last block and what follows it, by their number in M."""
    names = model.names  # type: ignore[union-attr]
    last = max(int(n.split(".")[2]) for n in names if "resblocks" in n)  # type: ignore[union-attr]
    chosen = [
        i
        for i, n in enumerate(names)  # type: ignore[arg-type]
        if f"resblocks.{last}." in n or n.startswith(("ln_post", "proj"))
    ]
    return rf"^values\.({'|'.join(map(str, chosen))})$"


def timed(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds, run in turn so that a busy machine disturbs all alike; one round is not
    counted.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    for i in range(-1, rounds):
        for name, work in works.items():
            began = time.process_time()
            work()
            if i >= 0:
                found[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in found.items()}


def peak(work: Callable[[], object]) -> int:
    """Bytes by which the resident set rose above its start; 0 where the system does not tell (Linux
    does).
    """
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        clear.write_text("5")
    except OSError:
        return 0
    before = _kib(status, "VmRSS")
    work()
    return 1024 * max(_kib(status, "VmHWM") - before, 0)


def _kib(status: Path, key: str) -> int:
    return next(
        int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key)
    )


def _mib(b: int) -> str:
    return f"{b / 2**20:.0f}" if b else "-"


# ---------------------------------------------------------------- whole jobs beside peers


def job_table(
    title: str, works: dict[str, Callable[[], Answer]], error: Callable[[Any], str], F_: float
) -> Table:
    """Each tool once: products, CPU seconds, in products of 6 F, peak memory, error."""
    lines, first = [], 0.0
    for name, work in works.items():
        found: list[Answer] = []

        def run(work: Callable[[], Answer] = work, found: list[Answer] = found) -> None:
            """Do the work once, whatever it prints."""
            with (
                contextlib.redirect_stderr(io.StringIO()),
                contextlib.redirect_stdout(io.StringIO()),
            ):
                found.append(work())

        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            memory = peak(run)
        seconds = time.process_time() - began
        first = first or seconds
        answer, products = found[0]
        times = [f"{seconds:.2f}", f"{seconds / F_:.0f}", f"{seconds / first:.1f}"]
        lines.append([name, str(products), *times, _mib(memory), error(answer)])
        print(f"  {'  '.join(lines[-1])}", file=sys.stderr, flush=True)
    return Table(
        ["tool", "products", "CPU s", "in F", "of ours", "peak MiB", "error"], lines, 1, title
    )


def eigen_table(model: M, batch: Batch, peers: dict[str, Any], F_: float) -> Table:
    """The five largest eigenvalues; the error is the largest of the five, relative to eigsh in
    float64.
    """
    truth = eigsh(as_scipy(ours(*in_double(model)), "f8"), k=5, which="LA", tol=1e-7)[0][::-1]

    def error(lams: Any) -> str:
        lams = np.sort(np.asarray([float(x) for x in lams]))[::-1][:5]
        return f"{np.abs(lams / truth - 1).max():.1e}"

    def mine(basis: torch.dtype | None = None) -> Answer:
        """Five largest eigenvalues by our Krylov method, and its products."""
        A = ours(model, batch)
        pairs = eigenpairs(
            A.matvec, Krylov(leaning_start(A.gradient(), 0), basis_dtype=basis), top=5, rtol=1e-4
        )
        return pairs.values, A.products

    def scipy() -> Answer:
        A = ours(model, batch)
        return eigsh(
            as_scipy(A, "f4"), k=5, which="LA", tol=1e-4, return_eigenvectors=False
        ), A.products

    works: dict[str, Callable[[], Answer]] = {
        "ours": mine,
        "ours, basis in float16": lambda: mine(torch.float16),
        "scipy eigsh on our product": scipy,
    }
    if "curvlinops" in peers:
        works["curvlinops + eigsh"] = lambda: curvlinops_eigsh(peers["curvlinops"], model, batch)
    if "pyhessian" in peers:
        works["PyHessian, tol 1e-3"] = lambda: pyhessian_eigenvalues(
            peers["pyhessian"], model, batch, 1e-3
        )
        works["PyHessian, tol 2e-5"] = lambda: pyhessian_eigenvalues(
            peers["pyhessian"], model, batch, 2e-5
        )
    if "hessian_eigenthings" in peers:
        works["hessian-eigenthings"] = lambda: eigenthings_lanczos(
            peers["hessian_eigenthings"], model, batch
        )
    return job_table("Five largest eigenvalues", works, error, F_)


def as_scipy(A: CurvatureOperator, dtype: str) -> LinearOperator:
    """The operator as scipy wants it."""
    return LinearOperator(
        (A.dim, A.dim), lambda v: A.matvec(torch.from_numpy(v.ravel())).numpy(), dtype=dtype
    )


def density_table(model: M, batch: Batch, peers: dict[str, Any], F_: float, steps: int) -> Table:
    """One start vector, ``steps`` Lanczos steps; the error is that of the mass where weights come
    back.
    """

    def mine() -> Answer:
        A = ours(model, batch)
        found = spectrum(A.matvec, A.like, A.dim, steps=steps, probes=1)
        return abs(found.weights.sum() - 1), A.products

    works = {"ours": mine}
    if "pyhessian" in peers:
        works["PyHessian"] = lambda: pyhessian_density(peers["pyhessian"], model, batch, steps)
    if "curvlinops" in peers:
        works["curvlinops"] = lambda: curvlinops_density(peers["curvlinops"], model, batch, steps)
    if "hessian_eigenthings" in peers:
        works["hessian-eigenthings"] = lambda: eigenthings_density(
            peers["hessian_eigenthings"], model, batch, steps
        )
    return job_table(
        f"Spectral density, one start vector, {steps} steps (error: of the mass)", works,
        lambda mass: mass if isinstance(mass, str) else f"{mass:.0e}", F_,
    )  # fmt: skip


# ---------------------------------------------------------------- accuracy of traces


def trace_table(
    seeds: int, budgets: tuple[int, int] = (12, 60), net: M | None = None, images: int = 16
) -> Table:
    """Root mean square relative error over seeds at equal products, on a net whose dense Hessian is
    known: by default one of width 4.
    """
    model, batch = (net or M(width=4, layers=2, patch=8)).double(), sample(images)
    batch = Batch(batch.images.double(), batch.labels, batch.index)
    A = ours(model, batch)
    H = torch.stack([A.matvec(e) for e in torch.eye(A.dim, dtype=torch.float64)])
    like, truth, parts = A.like, H.trace().item(), {"all": A.dim}

    def product(v: Tensor) -> Tensor:
        return H @ v

    def deflated(budget: int, seed: int) -> float:
        """Our trace with the space of an eigenvalue run taken out."""
        krylov = Krylov(
            random_start(A.dim, 1, like)
        )  # of an eigenvalue run, whose products are not counted here
        eigenpairs(product, krylov, top=5, rtol=1e-4)
        return hutchinson(product, like, parts, budget, seed, krylov).trace.value

    estimators: dict[str, Callable[[int, int], float]] = {
        "Hutchinson": lambda m, s: hutchinson(product, like, parts, m, s).trace.value,
        "Hutch++": lambda m, s: hutchpp(product, like, A.dim, m, s).value,
        "XTrace": lambda m, s: xtrace(product, like, A.dim, m, s).value,
        "Hutchinson, top-5 run deflated": deflated,
    }
    lines = []
    for name, run in estimators.items():
        errors = [[(run(m, s) / truth - 1) ** 2 for s in range(seeds)] for m in budgets]
        lines.append([name, *(f"{np.sqrt(np.mean(e)):.3f}" for e in errors)])
    title = f"Trace, relative error over {seeds} seeds (dense Hessian of {A.dim} weights)"
    return Table(["estimator", *(f"{m} products" for m in budgets)], lines, 1, title)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", default=",".join(TABLES), help="which, with commas between")
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of the first table; medians are printed"
    )
    parser.add_argument("--steps", type=int, default=60, help="Lanczos steps of the density")
    parser.add_argument("--seeds", type=int, default=20, help="of the traces")
    parser.add_argument("--model-seed", type=int, default=0, help="of the random weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    peers, model, batch = find_peers(), M(seed=options.model_seed), sample()
    dim = sum(p.numel() for p in model.parameters())
    print(f"torch {torch.__version__}, 1 thread, {dim:,} weights, batch {len(batch)}")
    wanted = options.tables.split(",")
    table, F_ = cost_table(model, batch, options.rounds if "cost" in wanted else 3)
    print(f"F = {1e3 * F_:.1f} ms\n")
    if "cost" in wanted:
        print(table.text() + "\n")
    if "eigen" in wanted:
        print(eigen_table(model, batch, peers, F_).text() + "\n", flush=True)
    if "density" in wanted:
        print(density_table(model, batch, peers, F_, options.steps).text() + "\n", flush=True)
    if "trace" in wanted:
        print(trace_table(options.seeds).text())


if __name__ == "__main__":
    main()
