"""Whose loss rises least and most at each radius of a ball, in words."""

from collections.abc import Mapping, Sequence

import numpy as np

NEAR = 0.1
"""Rises that differ by no more than this share of the larger are alike: they are lower bounds,
which gradient ascent finds to about so much.
"""

Rises = Mapping[str, Mapping[float, float]]
"""Run -> radius -> rise."""


def rises_by_radius(rows: Mapping[str, np.ndarray | None]) -> dict[str, dict[float, float]]:
    """The finite rises of each run at the radii that all of them have.

    Args:
        rows: Run -> rows of radius and rise; ``None`` where there are none.
    """
    known = {
        run: {float(f"{r:.6g}"): float(y) for r, y in zip(*a.T[:2], strict=True) if np.isfinite(y)}
        for run, a in rows.items()
        if a is not None and len(a)
    }
    known = {run: each for run, each in known.items() if each}
    shared = sorted(set.intersection(*map(set, known.values()))) if known else []
    return {run: {r: each[r] for r in shared} for run, each in known.items() if shared}


def by_radius(rises: Rises, names: Mapping[str, str]) -> str:
    """``least for **a** (0.0415) up to ρ = 0.1, and for **a** (0.179) and **b** (0.164) alike at
    ρ = 0.2; most for **c** (1.30) at every ρ``: what holds at each radius.

    Args:
        rises: Of two runs at least, at the same radii.
        names: Of the runs.
    """
    radii = sorted(next(iter(rises.values())))
    least, most = (_spans([_first(rises, r, sign) for r in radii]) for sign in (1, -1))
    if len(least) == 1 and least[0][2] == sorted(rises):
        return f"alike {_who(least[0][2], radii[-1], rises, names)} {_where(0, -1, radii)}"
    said = _joined(least, radii, rises, names)
    if len(rises) == 2:
        return f"least {said}"
    return f"least {said}; most {_joined(most, radii, rises, names)}"


def _first(rises: Rises, r: float, sign: int) -> list[str]:
    """The run whose loss rises least (most for a sign of -1) at a radius, and those alike."""
    best = min(sign * each[r] for each in rises.values()) * sign
    return sorted(
        run
        for run, each in rises.items()
        if abs(each[r] - best) <= NEAR * max(abs(each[r]), abs(best))
    )


def _spans(first: Sequence[list[str]]) -> list[tuple[int, int, list[str]]]:
    """From which place to which the same runs are first."""
    found: list[tuple[int, int, list[str]]] = []
    for i, runs in enumerate(first):
        if found and found[-1][2] == runs:
            found[-1] = (found[-1][0], i, runs)
        else:
            found.append((i, i, runs))
    return found


def _joined(
    spans: Sequence[tuple[int, int, list[str]]],
    radii: Sequence[float],
    rises: Rises,
    names: Mapping[str, str],
) -> str:
    return ", and ".join(
        f"{_who(runs, radii[end], rises, names)}{' alike' * (len(runs) > 1)} "
        f"{_where(start, end, radii)}"
        for start, end, runs in spans
    )


def _who(runs: Sequence[str], r: float, rises: Rises, names: Mapping[str, str]) -> str:
    """``for **a** (0.164) and **b** (0.179)``, the first in order of their rise there."""
    ordered = sorted(runs, key=lambda run: rises[run][r])
    shown = [f"{names[run]} ({rises[run][r]:.3g})" for run in ordered[: 3 if len(runs) < 4 else 2]]
    shown += [f"{len(runs) - 2} more"] if len(runs) > 3 else []
    return "for " + " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _where(start: int, end: int, radii: Sequence[float]) -> str:
    """``up to ρ = 0.1``; ``at ρ = 0.2``; ``at every ρ`` (numbers are those at the last)."""
    last = len(radii) - 1
    end %= len(radii)
    if start == end:
        return f"at ρ = {radii[end]:g}"
    if start == 0:
        return f"at every ρ up to {radii[end]:g}" if end == last else f"up to ρ = {radii[end]:g}"
    return f"from ρ = {radii[start]:g} to {radii[end]:g}"
