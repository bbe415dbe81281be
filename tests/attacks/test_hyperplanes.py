"""The nearest point of a hyperplane in the box: two linear programs, and a bisection for L2."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from grace_geom.attacks.hyperplanes import (
    NEAREST,
    to_hyperplane,
    to_hyperplane_l1,
    to_hyperplane_l2,
)


def by_linear_program(x: np.ndarray, w: np.ndarray, rise: float) -> float | None:
    """min t with -t <= d <= t, 0 <= x + d <= 1, <w, d> = rise; ``None`` where there is no such
    d."""
    n = len(x)
    within = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
    found = linprog(
        np.eye(n + 1)[n],
        A_ub=within,
        b_ub=np.zeros(2 * n),
        A_eq=np.append(w, 0)[None],
        b_eq=[rise],
        bounds=[(-a, 1 - a) for a in x] + [(0, None)],
    )
    return float(found.x[-1]) if found.success else None


def test_the_projection_is_the_linear_programs():
    rng = np.random.default_rng(0)
    x, w = rng.random((60, 7)), rng.standard_normal((60, 7))
    x[:20] = x[:20].round()  # many pixels at the box already: no room on one side
    w[:, 0] *= rng.random(60) < 0.5  # and some that do not matter
    rise = rng.standard_normal(60) * rng.choice([0.1, 1.0, 3.0], 60)
    d = to_hyperplane(torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(rise)).numpy()
    assert ((x + d >= -1e-12) & (x + d <= 1 + 1e-12)).all()
    missed = 0
    for i in range(60):
        t = by_linear_program(x[i], w[i], rise[i])
        if t is not None:
            assert w[i] @ d[i] == pytest.approx(rise[i], abs=1e-9) and np.abs(
                d[i]
            ).max() == pytest.approx(t, abs=1e-7)
        else:  # the corner that comes nearest
            missed += 1
            corner = np.where(w[i] * rise[i] > 0, 1.0, 0.0)
            np.testing.assert_allclose((x[i] + d[i])[w[i] != 0], corner[w[i] != 0], atol=1e-12)
    assert 5 < missed < 40


def cases(seed: int = 1, n: int = 60, d: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, w = rng.random((n, d)), rng.standard_normal((n, d))
    x[: n // 3] = x[: n // 3].round()
    w[:, 0] *= rng.random(n) < 0.5
    return x, w, rng.standard_normal(n) * rng.choice([0.1, 1.0, 3.0], n)


def corner_or_checked(x: np.ndarray, w: np.ndarray, rise: float, d: np.ndarray) -> bool:
    """Whether the hyperplane is within reach; where not, ``x + d`` must be the nearest corner."""
    best = np.where(w * rise > 0, 1 - x, -x) * (w != 0)
    assert ((x + d >= -1e-12) & (x + d <= 1 + 1e-12)).all()
    if abs(w @ best) < abs(rise):
        np.testing.assert_allclose(d, best, atol=1e-12)
        return False
    assert w @ d == pytest.approx(rise, abs=1e-9)
    return True


def test_the_l1_step_is_a_linear_programs():
    x, w, rise = cases()
    moves = to_hyperplane_l1(*(torch.from_numpy(each) for each in (x, w, rise))).numpy()
    reached = 0
    for i, d in enumerate(moves):
        if corner_or_checked(x[i], w[i], rise[i], d):
            reached += 1
            bounds = [(0, 1 - a) for a in x[i]] + [(0, a) for a in x[i]]  # up and down
            found = linprog(
                np.ones(14), A_eq=np.append(w[i], -w[i])[None], b_eq=[rise[i]], bounds=bounds
            )
            assert np.abs(d).sum() == pytest.approx(found.fun, abs=1e-7)
    assert 20 < reached < 55


def test_the_l2_step_is_the_bisections():
    x, w, rise = cases()
    moves = to_hyperplane_l2(*(torch.from_numpy(each) for each in (x, w, rise))).numpy()
    for i, d in enumerate(moves):
        if not corner_or_checked(x[i], w[i], rise[i], d):
            continue
        towards, low, high = w[i] * np.sign(rise[i]), 0.0, 1e9
        for _ in range(200):  # d = clip(t w) with the smallest t that rises enough
            middle = (low + high) / 2
            enough = towards @ np.clip(middle * towards, -x[i], 1 - x[i]) >= abs(rise[i])
            low, high = (low, middle) if enough else (middle, high)
        np.testing.assert_allclose(d, np.clip(high * towards, -x[i], 1 - x[i]), atol=1e-8)


def test_the_l1_step_finds_pixels_beyond_the_first_256():
    x = torch.full((2, 1000), 0.5, dtype=torch.float64)
    w = torch.linspace(1, 2, 1000, dtype=torch.float64).repeat(2, 1)
    d = to_hyperplane_l1(x, w, torch.tensor([400.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close((w * d).sum(1), torch.tensor([400.0, 1.0], dtype=torch.float64))
    assert (d[0] != 0).sum() > 256 and (d[1] != 0).sum() == 1


@pytest.mark.parametrize("norm", NEAREST)
def test_nothing_moves_along_a_normal_of_zero_in_any_norm(norm: str):
    x = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not NEAREST[norm](x, torch.zeros_like(x), torch.ones(3, dtype=torch.float64)).any()
