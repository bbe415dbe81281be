"""Effective weights are data: a dictionary name -> tensor, and the few operations every part of the
house needs on it.

A method, a perturbation, an interpolation and a Hessian differ only in which dictionary they hand
to ``torch.func.functional_call``; nothing is patched into a module and nothing must be restored.
"""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from grace_geom.errors import UserError

Weights = dict[str, Tensor]


def select(weights: Weights, pattern: str) -> Weights:
    """The entries whose name matches a regular expression (``re.search``).

    Raises:
        UserError: If the pattern is not a regular expression, or matches no name.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"the weight pattern {pattern!r} is not a regular expression: {error}"
        ) from None
    chosen = {name: w for name, w in weights.items() if wanted.search(name)}
    if not chosen:
        some = ", ".join(list(weights)[:4])
        raise UserError(
            f"the weight pattern {pattern!r} matches none of the {len(weights)} weights ({some}, "
            "...)"
        )
    return chosen


def detach(weights: Weights) -> Weights:
    """The same values, cut from any graph (memory is shared)."""
    return {name: w.detach() for name, w in weights.items()}


def leaves(weights: Weights) -> Weights:
    """Fresh copies that require gradients."""
    return {name: w.detach().clone().requires_grad_() for name, w in weights.items()}


def interpolate(a: Weights, b: Weights, t: float) -> Weights:
    """``(1 - t) a + t b``; exact at both ends, and ``t`` may lie outside [0, 1].

    Names that only one of the two has keep their value.
    """
    if t == 0.0:
        return {**b, **a}
    if t == 1.0:
        return {**a, **b}
    both = {name: a[name] + t * (b[name] - a[name]) for name in a.keys() & b.keys()}
    return {**a, **b, **both}


def norm(weights: Weights | Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all entries together, a float64 scalar (float32 sums lose digits at 1e8
    weights).
    """
    tensors = weights.values() if isinstance(weights, dict) else weights
    squares = [torch.linalg.vector_norm(w.detach(), dtype=torch.float64).square() for w in tensors]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), dtype=torch.float64)


def flatten(weights: Weights) -> Tensor:
    """All entries as one vector ``(p,)``, in the dictionary's order."""
    return torch.cat([w.reshape(-1) for w in weights.values()])


def unflatten(vector: Tensor, like: Weights) -> Weights:
    """The inverse of :func:`flatten`: views of ``vector`` with the names and shapes of ``like``.

    Raises:
        ValueError: If the vector has another number of entries.
    """
    sizes = [w.numel() for w in like.values()]
    if sum(sizes) != vector.numel():
        raise ValueError(
            f"a vector of {vector.numel()} entries cannot fill weights of {sum(sizes)} entries"
        )
    parts = vector.split(sizes)
    return {name: part.view_as(w) for (name, w), part in zip(like.items(), parts, strict=True)}


def plus_product(W: Tensor, B: Tensor, A: Tensor, scale: float = 1.0) -> Tensor:
    """``W + scale B A`` in one kernel and in the weights' own precision, for B ``(n1, r)`` and A
    ``(r, n2)``; W is ``(n1, n2)``, or a kernel ``(n1, in, k, k)`` with ``n2 = in k k``.
    """
    # beta * W + alpha * B A; flat views of matrices are the matrices
    return torch.addmm(W.flatten(1), B, A, alpha=scale).view_as(W)


def low_rank_norm(B: Tensor, A: Tensor) -> Tensor:
    """``||B A||_F`` without forming the product: ``tr((B'B)(AA'))``, for B ``(n1, r)`` and A
    ``(r, n2)``."""
    return ((B.mT @ B) * (A @ A.mT)).sum().clamp_min(0).sqrt()
