import pytest
import torch
from torch.testing import assert_close

from grace_geom.methods.directions import eigenvectors, improve, leading_rows, leading_rows_at_once


def decaying(n1: int = 30, n2: int = 40, seed: int = 0) -> torch.Tensor:
    """A matrix with singular values 1, 1/2, 1/4, ..."""
    g = torch.Generator().manual_seed(seed)
    U, _ = torch.linalg.qr(torch.randn(n1, n1, generator=g, dtype=torch.float64))
    V, _ = torch.linalg.qr(torch.randn(n2, n1, generator=g, dtype=torch.float64))
    return (U * 0.5 ** torch.arange(n1)) @ V.T


def caught(G: torch.Tensor, rows: torch.Tensor) -> float:
    """Share of ||G||^2 that the rows see."""
    return ((G @ rows.T).square().sum() / G.square().sum()).item()


def test_repeated_they_are_the_leading_right_singular_vectors():
    G, rows = (
        decaying(),
        torch.randn(4, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
    )
    for _ in range(30):
        rows = leading_rows(G, rows)
    V = torch.linalg.svd(G).Vh[:4]
    assert_close((rows * V).sum(1).abs(), torch.ones(4, dtype=torch.float64), rtol=1e-6, atol=0)


def test_one_step_from_gaussian_rows_catches_nearly_what_rank_r_can():
    G = decaying()
    best = caught(G, torch.linalg.svd(G).Vh[:4])
    found = improve({}, {"W": G}, 4, torch.Generator().manual_seed(0))["W"]
    assert_close(found @ found.T, torch.eye(4, dtype=torch.float64))
    random = torch.linalg.qr(torch.randn(40, 4, dtype=torch.float64)).Q.T
    assert best >= caught(G, found) > 0.95 * best > 2 * caught(G, random)


def test_a_gradient_that_turns_a_little_is_followed_better_than_from_nothing():
    G, noise = (
        decaying(),
        0.02 * torch.randn(30, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
    )
    known = improve({}, {"W": G}, 2, torch.Generator().manual_seed(0))
    again = improve(known, {"W": G + noise}, 2, torch.Generator().manual_seed(1))["W"]
    fresh = improve({}, {"W": G + noise}, 2, torch.Generator().manual_seed(1))["W"]
    assert caught(G + noise, again) > caught(G + noise, fresh)


def test_others_stay_and_more_rows_start_afresh():
    g = torch.Generator().manual_seed(0)
    known = improve({}, {"W": decaying()}, 2, g)
    both = improve(known, {"V": decaying(seed=1)}, 3, g)
    assert both["W"] is known["W"] and both["V"].shape == (3, 40)
    assert improve(known, {"W": decaying()}, 4, g)["W"].shape == (4, 40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_gradient_gives_finite_rows(dtype):
    rows = improve({}, {"W": torch.zeros(6, 5, dtype=dtype)}, 2, torch.Generator().manual_seed(0))[
        "W"
    ]
    assert rows.dtype == dtype and rows.isfinite().all()


def test_jacobi_s_eigenvectors_are_lapack_s():
    g = torch.Generator().manual_seed(0)
    for r in (1, 2, 3, 4, 7, 8):
        S = torch.randn(5, r, 2 * r, generator=g, dtype=torch.float64)
        A = S @ S.mT
        A[0] = torch.eye(r)  # equal eigenvalues
        A[1] = 0
        V = eigenvectors(A)
        D = V.mT @ A @ V
        assert_close(V.mT @ V, torch.eye(r, dtype=A.dtype).expand_as(A), rtol=0, atol=1e-12)
        assert_close(D, torch.diag_embed(torch.linalg.eigvalsh(A).flip(1)), rtol=1e-12, atol=1e-11)


def test_directions_without_lapack_are_the_same_up_to_signs():
    g = torch.Generator().manual_seed(0)
    shapes = [(12, 9), (6, 20), (3, 15), (8, 8)]
    G = [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]
    starts = [torch.randn(4, shape[1], generator=g, dtype=torch.float64) for shape in shapes]
    at_once = leading_rows_at_once(G, starts)
    for slope, start, rows in zip(G, starts, at_once, strict=True):
        expected = leading_rows(slope, start)
        assert rows.shape == expected.shape
        assert_close((rows @ expected.mT).abs(), torch.eye(len(rows)).double(), rtol=0, atol=1e-9)
    (rows,) = leading_rows_at_once([torch.zeros(6, 9)], [torch.randn(4, 9, generator=g)])
    assert_close(rows @ rows.mT, torch.eye(4), rtol=0, atol=1e-5)
