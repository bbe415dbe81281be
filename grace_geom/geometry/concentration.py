"""How unevenly curvature is spread: over directions (eigenvalues) and over matrices (block
traces)."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.geometry.trace import Probed, StochasticEstimate


def gini(x: Float[Tensor, " l"]) -> float:
    """``sum_i (2 i - l - 1) x_i / (l sum x)`` for ascending x >= 0: 0 if all are equal,
    ``(l - 1) / l`` if one has all.

    Negative entries count as 0; NaN where none is positive.
    """
    x = x.double().clamp_min(0).sort().values
    n = len(x)
    rank = 2 * torch.arange(1, n + 1, dtype=x.dtype) - n - 1
    return ((rank @ x) / (n * x.sum())).item() if x.sum() > 0 else math.nan


def entropy_rank(x: Float[Tensor, " l"]) -> float:
    """``exp(-sum p ln p)``, ``p = x / sum x``: how many of the l matrices share the curvature
    evenly, in [1, l].

    Negative entries count as 0; NaN where none is positive.
    """
    x = x.double().clamp_min(0)
    return torch.exp(torch.special.entr(x / x.sum()).sum()).item() if x.sum() > 0 else math.nan


def jackknife(
    statistic: Callable[[Tensor], float], samples: Float[Tensor, " probes l"], name: str
) -> StochasticEstimate:
    """``statistic`` of the mean over rows, with the error that leaving out one row at a time gives
    (Tukey 1958).
    """
    m, total = len(samples), samples.sum(dim=0)
    value = statistic(total / m)
    if m < 2:
        return StochasticEstimate(value, math.nan, name, m)
    without = np.array([statistic((total - row) / (m - 1)) for row in samples])
    error = math.sqrt((m - 1) / m * ((without - without.mean()) ** 2).sum())
    return StochasticEstimate(value, error, name, m)


def over_directions(
    lams: Sequence[float], probed: Probed, dim: int
) -> dict[str, StochasticEstimate]:
    """``lambda_1 / mean``, ``lambda_1 / lambda_5`` and the largest eigenvalues' share of the
    squared Frobenius norm.

    Args:
        lams: The k largest eigenvalues, largest first; fewer than 5 leave the second number out.
        probed: Trace and Frobenius norm of the same matrix.
        dim: Its size d; the mean eigenvalue is ``tr / d``, and may be negative.
    """
    lead, trace, norm = lams[0], probed.trace, probed.frobenius
    ratio = lead * dim / trace.value if trace.value else math.nan
    found = {
        "lambda_1/mean": StochasticEstimate(
            ratio,
            abs(ratio * trace.error / trace.value) if trace.value else math.nan,
            f"d lambda_1 / tr; {trace.estimator}",
            trace.products,
        )
    }
    if len(lams) >= 5:
        found["lambda_1/lambda_5"] = StochasticEstimate(
            lead / lams[4] if lams[4] else math.nan, math.nan, "Lanczos", 0
        )
    share = sum(lam**2 for lam in lams) / norm.value**2 if norm.value else math.nan
    words = f"sum of {len(lams)} largest lambda^2 / |H|_F^2; {norm.estimator}"
    error = 2 * share * norm.error / norm.value if norm.value else math.nan
    found["top_share"] = StochasticEstimate(share, error, words, norm.products)
    return found


def over_matrices(samples: Float[Tensor, " probes l"]) -> dict[str, StochasticEstimate]:
    """Gini coefficient and effective number of the matrices' traces.

    Noise makes traces more unequal than they are: with few probes the Gini coefficient is too
    large.

    Args:
        samples: Each probe's estimate of every matrix's trace; a matrix of negative trace counts as
            0.
    """
    m, n = samples.shape
    negative = int((samples.mean(dim=0) < 0).sum())
    words = f"traces of {n} matrices" + (
        f", {negative} of them negative and counted as 0" if negative else ""
    )
    words += f"; jackknife over {m} probes"
    return {
        "gini": jackknife(gini, samples, words),
        "effective_matrices": jackknife(entropy_rank, samples, words),
    }
