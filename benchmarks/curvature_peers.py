"""What public tools answer in ``benchmarks/curvature.py``, with the Hessian-vector products that
each spends.
"""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from grace_geom.batch import Batch

Answer = tuple[Any, int]
"""What a tool found, and the products it spent."""


def find_peers() -> dict[str, Any]:
    """What is installed; a printed line for what is not."""
    found = {}
    for name in ("pyhessian", "curvlinops", "hessian_eigenthings"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = importlib.import_module(name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


@contextlib.contextmanager
def _pyhessian(tool: Any, model: nn.Module, batch: Batch) -> Iterator[tuple[Any, list[int]]]:
    """PyHessian's Hessian of the mean loss, and the number of products so far."""
    torch.manual_seed(0)
    module = importlib.import_module("pyhessian.hessian")
    with _counting(module, "hessian_vector_product") as count:
        data = (batch.images, batch.labels)
        yield tool.hessian(copy_of(model), nn.CrossEntropyLoss(), data=data, cuda=False), count


def pyhessian_eigenvalues(tool: Any, model: nn.Module, batch: Batch, tol: float) -> Answer:
    """Five largest eigenvalues by PyHessian, and its products."""
    with _pyhessian(tool, model, batch) as (peer, count):
        return peer.eigenvalues(tol=tol, top_n=5)[0], count[0]


def curvlinops_operator(tool: Any, model: nn.Module, batch: Batch) -> Any:
    """The Hessian of one batch as curvlinops has it, of a copy of the model."""
    twin = copy_of(model)
    return tool.HessianLinearOperator(
        twin,
        nn.CrossEntropyLoss(),
        list(twin.parameters()),
        [(batch.images, batch.labels)],
        check_deterministic=False,
    )


def curvlinops_eigsh(tool: Any, model: nn.Module, batch: Batch) -> Answer:
    """Five largest eigenvalues by curvlinops in scipy's ``eigsh``, and the products."""
    A, count = curvlinops_operator(tool, model, batch), [0]
    inner = A.to_scipy(dtype=np.float32)

    def product(v: np.ndarray) -> np.ndarray:
        count[0] += 1
        return inner @ v.ravel()

    op = LinearOperator(inner.shape, product, dtype="f4")
    return eigsh(op, k=5, which="LA", tol=1e-4, return_eigenvectors=False), count[0]


def eigenthings_operator(tool: Any, model: nn.Module, batch: Batch) -> Any:
    """The Hessian of one batch as hessian-eigenthings has it, of a copy of the model."""
    loss = tool.supervised_loss(nn.CrossEntropyLoss())
    return tool.HessianOperator(copy_of(model), [(batch.images, batch.labels)], loss)


def eigenthings_lanczos(tool: Any, model: nn.Module, batch: Batch) -> Answer:
    """Five largest eigenvalues by hessian-eigenthings, and its products."""
    A, count = eigenthings_operator(tool, model, batch), [0]
    found = tool.lanczos(_counted(A, count), k=5, tol=1e-4, which="LA", seed=0)
    return found.eigenvalues, count[0]


def pyhessian_density(tool: Any, model: nn.Module, batch: Batch, steps: int) -> Answer:
    """How far PyHessian's density is from a mass of 1, or why it fails, and its products."""
    with _pyhessian(tool, model, batch) as (peer, count):
        try:
            _, weights = peer.density(iter=steps, n_v=1)
        except (
            RuntimeError,
            AttributeError,
        ) as error:  # torch.eig is gone: the products are spent, the answer lost
            return f"fails: {str(error).split('.')[0][:40]}", count[0]
        return abs(sum(weights[0]) - 1), count[0]


def curvlinops_density(tool: Any, model: nn.Module, batch: Batch, steps: int) -> Answer:
    """How far the mass of curvlinops' density is from 1, and its products."""
    torch.manual_seed(0)
    A, count = curvlinops_operator(tool, model, batch), [0]
    inner = A._matmat

    def product(X: Any) -> Any:
        count[0] += X[0].shape[-1]
        return inner(X)

    A._matmat = product
    grid, density = tool.lanczos_approximate_spectrum(A, ncv=steps)
    return float(abs(np.trapezoid(np.asarray(density), np.asarray(grid)) - 1)), count[0]


def eigenthings_density(tool: Any, model: nn.Module, batch: Batch, steps: int) -> Answer:
    """How far the mass of hessian-eigenthings' density is from 1, and its products."""
    A, count = eigenthings_operator(tool, model, batch), [0]
    found = tool.spectral_density(_counted(A, count), num_runs=1, lanczos_steps=steps, seed=0)
    grid, density = (np.asarray(getattr(found, name)) for name in ("grid", "density"))
    return float(abs(np.trapezoid(density, grid) - 1)), count[0]


def _counted(A: Any, count: list[int]) -> Any:
    inner = A.matvec

    def matvec(v: Tensor) -> Tensor:
        count[0] += 1
        return inner(v)

    A.matvec = matvec
    return A


@contextlib.contextmanager
def _counting(module: Any, name: str) -> Iterator[list[int]]:
    """How often a module's function is called while the context lasts."""
    real, count = getattr(module, name), [0]

    def call(*args: Any) -> Any:
        count[0] += 1
        return real(*args)

    setattr(module, name, call)
    try:
        yield count
    finally:
        setattr(module, name, real)


def copy_of(model: nn.Module) -> nn.Module:
    """A fresh module: some tools write into ``.grad``."""
    twin: nn.Module = type(model)(*model.arguments)  # type: ignore[misc]
    twin.load_state_dict(model.state_dict())
    return twin
