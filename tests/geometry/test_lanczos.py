import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch.testing import assert_close

from grace_geom.geometry.krylov import Krylov, leaning_start, random_start
from grace_geom.geometry.lanczos import eigenpairs
from tests.geometry import nets


def start(dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return random_start(dim, seed, torch.empty(0, dtype=dtype))


def rotated(spectrum: torch.Tensor, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(
        torch.randn(len(spectrum), len(spectrum), generator=g, dtype=torch.float64)
    )[0]
    return Q @ spectrum.double().diag() @ Q.T


SPECTRUM = torch.cat(
    [torch.linspace(-1, 1, 190), torch.tensor([-9.0, -4, 3, 5, 8, 13, 21, 34, 55, 89])]
)


def test_both_ends_of_a_known_spectrum():
    A = rotated(SPECTRUM)
    pairs = eigenpairs(lambda v: A @ v, Krylov(start(200)), top=5, bottom=2, rtol=1e-8)
    assert_close(
        pairs.values, torch.tensor([89.0, 55, 34, 21, 13, -4, -9]).double(), rtol=1e-8, atol=0
    )
    assert pairs.converged.all() and pairs.products < 60


def test_eigenvalues_of_the_network_are_the_dense_ones_and_eigsh_s():
    H = nets.dense_hessian()
    H = (H + H.T) / 2
    pairs = eigenpairs(lambda v: H @ v, Krylov(start(len(H))), top=4, bottom=2, rtol=1e-9)
    dense = torch.linalg.eigvalsh(H).flip(0)
    assert_close(pairs.values, torch.cat([dense[:4], dense[-2:]]), rtol=1e-6, atol=1e-9)
    other = eigsh(LinearOperator(H.shape, lambda v: H.numpy() @ v), k=4, which="LA")[0]
    assert_close(
        pairs.values[:4], torch.from_numpy(np.sort(other)[::-1].copy()), rtol=1e-6, atol=1e-9
    )


def test_residuals_are_those_of_a_further_product_and_bound_the_error():
    A = rotated(SPECTRUM)
    pairs = eigenpairs(lambda v: A @ v, Krylov(start(200)), top=3, rtol=1e-2)
    for lam, v, residual, truth in zip(
        pairs.values, pairs.vectors, pairs.residuals, [89, 55, 34], strict=True
    ):
        assert v.norm() == pytest.approx(1)
        assert (A @ v - lam * v).norm().item() == pytest.approx(
            residual.item(), rel=1e-6, abs=1e-10
        )
        assert abs(lam - truth) <= residual


def test_says_what_has_not_converged():
    A = rotated(torch.linspace(0, 1, 200))
    pairs = eigenpairs(lambda v: A @ v, Krylov(start(200)), top=3, rtol=1e-10, max_products=10)
    assert pairs.products == 10 and not pairs.converged.any()


def test_restarts_in_a_small_basis_find_the_same():
    spectrum = (
        torch.linspace(-1, 1, 200, dtype=torch.float64) ** 3
    )  # the ends are not far from the rest
    A = rotated(spectrum)
    krylov = Krylov(start(200))
    sizes = []
    pairs = eigenpairs(
        lambda v: A @ v,
        krylov,
        top=2,
        bottom=1,
        rtol=1e-9,
        max_vectors=15,
        after_step=lambda k: sizes.append(len(k)),
    )
    assert_close(pairs.values, spectrum[[-1, -2, 0]], rtol=1e-8, atol=0)
    assert max(sizes) == 15 and pairs.products > 40
    v, lam = pairs.vectors, pairs.values
    assert_close((v @ A - lam[:, None] * v).norm(dim=1), pairs.residuals, rtol=1e-4, atol=1e-12)


def test_basis_stays_orthonormal_in_float32():
    A = rotated(SPECTRUM).float()
    krylov = Krylov(start(200, dtype=torch.float32))
    for _ in range(80):
        krylov.extend(lambda v: A @ v)
    Q = krylov.vectors()
    assert_close(Q @ Q.T, torch.eye(80), rtol=0, atol=1e-5)


def test_basis_stays_orthonormal_through_a_restart_and_where_a_product_hardly_leaves_the_basis():
    """The first product after a restart lies mostly along the kept vectors, which are not the
    recurrence's own two.
    """
    spectrum = torch.cat([torch.full((195,), 1e-3), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])])
    noise = 1e-4 * torch.linspace(-1, 1, 200)
    A = rotated(spectrum + noise).float()
    krylov = Krylov(start(200, dtype=torch.float32))
    for kept in (9, 7, 5):
        while len(krylov) < 14:
            krylov.extend(lambda v: A @ v)
        theta, S, _ = krylov.ritz()
        krylov.restart(np.argsort(-np.abs(theta))[:kept], S, theta)
        for _ in range(3):
            krylov.extend(lambda v: A @ v)
        Q = krylov.vectors()
        assert_close(Q @ Q.T, torch.eye(len(Q)), rtol=0, atol=3e-6)
        assert_close((Q @ A @ Q.T).numpy(), krylov.T.astype(np.float32), rtol=0, atol=1e-5)


def test_a_vector_is_read_once_more_only_where_a_pass_took_most_of_what_there_was(monkeypatch):
    passes = []
    real = Krylov._take_out
    monkeypatch.setattr(
        Krylov, "_take_out", lambda self, w, a, b: passes.append((a, b)) or real(self, w, a, b)
    )
    A = rotated(SPECTRUM)
    krylov = Krylov(start(200))
    for _ in range(20):
        krylov.extend(lambda v: A @ v)
    whole = [b for a, b in passes if a == 0 and b > 4]
    assert whole == list(
        range(5, 21)
    )  # the two of the recurrence, then each vector of the basis once


def test_a_start_that_leans_on_the_largest_eigenvectors_saves_products_and_one_that_lacks_some_finds_them_too():
    lams = torch.cat(
        [torch.linspace(-1, 1, 4000), torch.tensor([1.6, 2, 2.4, 3, 3.5, 4, 5])]
    ).double()
    products = {}
    for name, coordinates in {
        "none": [0.0] * 7,
        "all": [1.0] * 7,
        "lacks two": [1.0, 1, 0, 1, 0, 1, 1],
    }.items():
        lean = torch.cat([torch.zeros(4000), torch.tensor(coordinates)]).double()
        pairs = eigenpairs(
            lambda v: lams * v, Krylov(leaning_start(1e-3 * lean, 0)), top=5, rtol=1e-4
        )
        assert pairs.converged.all()
        assert_close(pairs.values, lams.flip(0)[:5], rtol=1e-4, atol=0)
        products[name] = pairs.products
    assert products["all"] < products["none"]


def test_the_random_part_of_a_leaning_start_does_not_thin_out_in_many_dimensions():
    for dim in (10**3, 10**6):
        lean = torch.zeros(dim)
        lean[0] = 5.0
        start = leaning_start(lean, 0)
        assert start[0] == pytest.approx(1, abs=0.2)
        assert start[1:].std().item() == pytest.approx(1 / 32, rel=0.1)
    assert torch.equal(leaning_start(torch.zeros(9), 3), random_start(9, 3, torch.zeros(0)))


@pytest.mark.parametrize("max_vectors", [200, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_basis_in_half_precision_keeps_eigenvalues_to_1e_4_of_the_dense_ones(dtype, max_vectors):
    H = nets.dense_hessian()
    H = ((H + H.T) / 2).to(dtype)
    lams = torch.linalg.eigvalsh(H.double()).flip(0)
    for seed in range(5):
        krylov = Krylov(start(len(H), seed, dtype), basis_dtype=torch.float16)
        limits = {"max_products": 60, "max_vectors": max_vectors}
        pairs = eigenpairs(lambda v: H @ v, krylov, top=3, bottom=1, rtol=1e-4, **limits)
        restarted = krylov.products > len(krylov)
        assert restarted == (max_vectors == 12)
        assert (
            restarted or pairs.converged.all()
        )  # every restart adds to what rounding may have cost: see Krylov
        assert_close(pairs.values, torch.cat([lams[:3], lams[-1:]]), rtol=1e-4, atol=0)
        assert all(block.dtype == torch.float16 for block in krylov._blocks)
        V = pairs.vectors
        assert (
            (V @ H - pairs.values.to(dtype)[:, None] * V).norm(dim=1) <= pairs.residuals + 1e-4
        ).all()
        assert (krylov.vectors().double().norm(dim=1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_a_basis_in_half_precision_does_not_claim_what_it_cannot_keep(half):
    A = rotated(SPECTRUM)
    truth = torch.tensor([89.0, 55, 34, 21, 13]).double()
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6):
        krylov = Krylov(start(200), basis_dtype=half)
        pairs = eigenpairs(lambda v: A @ v, krylov, top=5, rtol=rtol, max_products=60)
        wrong = (pairs.values / truth - 1).abs() > rtol
        assert not (wrong & pairs.converged).any()


def test_a_basis_in_half_precision_goes_on_where_it_was_interrupted(tmp_path):
    A = rotated(SPECTRUM)
    whole, first = (Krylov(start(200), basis_dtype=torch.float16) for _ in range(2))
    for _ in range(12):
        whole.extend(lambda v: A @ v)
    for _ in range(7):
        first.extend(lambda v: A @ v)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = Krylov(start(200, seed=7), basis_dtype=torch.float16)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(5):
        second.extend(lambda v: A @ v)
    for one, two in zip(whole.ritz(), second.ritz(), strict=True):
        assert_close(torch.from_numpy(one).abs(), torch.from_numpy(two).abs(), rtol=1e-9, atol=1e-9)


def test_a_small_matrix_is_solved_exactly_and_then_stops():
    A = rotated(torch.tensor([3.0, -2.0, 1.0, 0.5]))
    pairs = eigenpairs(lambda v: A @ v, Krylov(start(4)), top=9)
    assert_close(pairs.values, torch.tensor([3.0, 1.0, 0.5, -2.0]).double())
    assert pairs.products == 4 and pairs.converged.all()


def test_multiple_eigenvalues_of_an_identity():
    pairs = eigenpairs(lambda v: 2 * v, Krylov(start(6)), top=3)
    assert_close(pairs.values, torch.full((3,), 2.0).double())
    assert_close(pairs.vectors @ pairs.vectors.T, torch.eye(3, dtype=torch.float64))


def test_continues_where_it_was_interrupted(tmp_path):
    A = rotated(SPECTRUM)
    whole = eigenpairs(lambda v: A @ v, Krylov(start(200)), top=5, rtol=1e-8)
    calls = 0

    def interrupted(v):
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return A @ v

    first = Krylov(start(200))
    with pytest.raises(KeyboardInterrupt):
        eigenpairs(interrupted, first, top=5, rtol=1e-8)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = Krylov(start(200, seed=7))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    pairs = eigenpairs(lambda v: A @ v, second, top=5, rtol=1e-8)
    assert pairs.products == whole.products
    assert_close(pairs.values, whole.values, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="200 dimensions, this matrix 100"):
        Krylov(start(100)).load_state_dict(first.state_dict())


def test_products_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        eigenpairs(lambda v: v * float("nan"), Krylov(start(5)))
