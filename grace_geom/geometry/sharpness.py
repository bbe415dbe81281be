"""Sharpness: how much the loss rises within a ball around the weights, at worst and on average.

Worst case as in SAM (Foret et al. 2021), its |theta|-scaled form as in ASAM (Kwon et al. 2021),
relative per matrix as in AWP (Wu et al. 2020). A value is a lower bound of the maximum: the best
point that projected ascent found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor

from grace_geom.distributed import everyones
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.trace import StochasticEstimate, mean_of
from grace_geom.weights import Weights, norm

Shape = Literal["ball", "adaptive", "relative"]

_TINY = 1e-12


@dataclass(frozen=True)
class Sharpness:
    """The rise of the loss within one ball.

    Attributes:
        rho: Radius.
        rise: ``max L(theta + eps) - L(theta)`` over the points that were visited, at least 0 (eps =
            0 is in the ball).
        gradients: Gradients that were spent.
    """

    rho: float
    rise: float
    gradients: int


@dataclass(frozen=True)
class Region:
    """The set of perturbations; see :func:`region` for its shapes.

    Attributes:
        scale: Elementwise ``s``: the perturbation is ``s * u``.
        radii: Bound on ``|u|`` of each weight, for a ball of radius 1; ``None`` bounds the norm of
            all together.
    """

    scale: Weights
    radii: dict[str, float] | None = None

    def project(self, u: Weights, rho: float) -> Weights:
        """The nearest point of the region of radius ``rho``."""
        if self.radii is None:
            factor = min(1.0, rho / max(norm(u).item(), _TINY))
            return {name: factor * x for name, x in u.items()}
        return {
            n: min(1.0, rho * self.radii[n] / max(x.norm().item(), _TINY)) * x for n, x in u.items()
        }

    def onto_boundary(self, direction: Weights, rho: float) -> Weights:
        """The point of the region of radius ``rho`` that is farthest in a direction."""
        if self.radii is None:
            factor = rho / max(norm(direction).item(), _TINY)
            return {name: factor * x for name, x in direction.items()}
        return {
            n: rho * self.radii[n] / max(x.norm().item(), _TINY) * x for n, x in direction.items()
        }


def region(weights: Weights, shape: Shape = "ball") -> Region:
    """Perturbations of norm at most rho.

    Args:
        weights: The centre.
        shape: ``ball``: ``|eps| <= rho``. ``adaptive``: ``|eps / |theta|| <= rho``, elementwise
            division: invariant where weights of two layers are rescaled against each other.
            ``relative``: ``|eps_l|_F <= rho |W_l|_F`` for every weight by itself.
    """
    if shape == "adaptive":
        return Region({name: w.abs() for name, w in weights.items()})
    ones = {name: torch.ones_like(w) for name, w in weights.items()}
    return Region(
        ones,
        {name: w.norm().item() for name, w in weights.items()} if shape == "relative" else None,
    )


def worst_case(
    objective: MeanLoss,
    weights: Weights,
    rhos: Sequence[float],
    shape: Shape = "ball",
    steps: int = 10,
    after_step: Callable[[], None] = lambda: None,
) -> list[Sharpness]:
    """Projected gradient ascent for each radius of an ascending grid.

    The first step goes to the boundary along the gradient (SAM's point); each further step moves by
    ``eta rho`` along the gradient there and is projected. eta starts at 2 and is halved, going back
    to the best point, whenever the loss did not rise. A larger ball starts from the best point of
    the smaller one if that is better, so the curve never falls.

    Args:
        objective: The loss.
        weights: The centre.
        rhos: Radii, ascending.
        shape: See :func:`region`.
        steps: Gradients a radius.
        after_step: Called after each gradient.

    Raises:
        ValueError: If the radii do not ascend from 0.
    """
    if any(b <= a for a, b in zip([0.0, *rhos], rhos, strict=False)):
        raise ValueError(f"radii must ascend from above 0, not {list(rhos)}")
    set_ = region(weights, shape)
    start, slope = objective.gradient(weights)
    slope = {name: set_.scale[name] * g for name, g in slope.items()}
    found: list[Sharpness] = []
    best: tuple[float, Weights] | None = None
    for rho in rhos:
        u = set_.onto_boundary(slope, rho)
        if best is not None and best[0] > objective.value(_moved(weights, set_, u)):
            u = best[1]
        best, used = _ascend(objective, weights, set_, u, rho, steps, after_step)
        rise = max(best[0] - start, found[-1].rise if found else 0.0, 0.0)
        found.append(Sharpness(rho, rise, used))
    return found


def average_case(
    objective: MeanLoss,
    weights: Weights,
    rho: float,
    samples: int = 20,
    seed: int = 0,
    adaptive: bool = False,
) -> StochasticEstimate:
    """``E L(theta + eps) - L(theta)`` over Gaussian eps with ``E |eps|^2 = rho^2``.

    Each sample is the mean of eps and -eps, which takes the gradient out of the variance; two
    forward passes. For a quadratic it is ``rho^2 tr(H) / 2d``.

    Args:
        rho: Root mean square length of the perturbation (of ``eps / |theta|`` where adaptive).
        samples: Pairs.
        adaptive: Scale eps by |theta|, elementwise.
    """
    dim = sum(w.numel() for w in weights.values())
    start, rises = objective.value(weights), []
    for i in range(samples):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        eps = {
            n: rho / dim**0.5 * _normal(w, generator) * (w.abs() if adaptive else 1)
            for n, w in weights.items()
        }
        plus = objective.value({n: w + eps[n] for n, w in weights.items()})
        minus = objective.value({n: w - eps[n] for n, w in weights.items()})
        rises.append((plus + minus) / 2 - start)
    return mean_of(rises, f"{samples} antithetic pairs of Gaussian perturbations", 0)


def m_sharpness(
    objective: MeanLoss,
    weights: Weights,
    rho: float,
    shape: Shape = "ball",
    steps: int = 10,
    groups: Sequence[Sequence[Any]] | None = None,
) -> StochasticEstimate:
    """Worst case of each group of images by itself, averaged over groups by their size (Foret et
    al. 2021): m is their size.

    Of several processes each does its own groups, which are taken to have been shared out in turn.

    Args:
        objective: The loss.
        weights: The centre.
        rho: Radius.
        shape: See :func:`region`.
        steps: Gradients a group.
        groups: The batches of each group, which share one perturbation; by default each batch of
            ``objective`` is a group.
    """
    groups = [[batch] for batch in objective.batches] if groups is None else groups
    mine = [
        (
            sum(map(len, group)),
            worst_case(MeanLoss(objective.loss, group), weights, [rho], shape, steps)[0].rise,
        )
        for group in groups
    ]
    shares = everyones(mine) if objective.distributed else [mine]
    found = [row for turn in zip_longest(*shares) for row in turn if row is not None]
    m, n = [size for size, _ in found], len(found)
    weighted = [n * size / sum(m) * rise for size, rise in found]
    return mean_of(weighted, f"m-sharpness, m = {max(m)}, {n} groups", 0)


def _ascend(
    objective: MeanLoss,
    weights: Weights,
    set_: Region,
    u: Weights,
    rho: float,
    steps: int,
    after_step: Callable[[], None],
) -> tuple[tuple[float, Weights], int]:
    eta, best_value, best, best_slope = 2.0, -float("inf"), u, u
    for _ in range(steps):
        value, gradient = objective.gradient(_moved(weights, set_, u))
        after_step()
        if value > best_value:
            best_value, best = value, u
            best_slope = {name: set_.scale[name] * g for name, g in gradient.items()}
        else:
            eta /= 2
        step = set_.onto_boundary(best_slope, eta * rho)
        u = set_.project({name: x + step[name] for name, x in best.items()}, rho)
    value = objective.value(_moved(weights, set_, u))
    return ((value, u) if value > best_value else (best_value, best)), steps


def _moved(weights: Weights, set_: Region, u: Weights) -> Weights:
    return {name: w + set_.scale[name] * u[name] for name, w in weights.items()}


def _normal(w: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(w.shape, generator=generator, dtype=torch.float32).to(w)
