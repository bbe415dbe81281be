import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from grace_geom.geometry import gram_volume
from grace_geom.geometry.gram_volume import cosines, determinant, gram_matrices, spread, volume


def features(m: int = 3, b: int = 5, d: int = 7, seed: int = 0) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [normalize(torch.randn(b, d, generator=g), dim=-1) for _ in range(m)]


@pytest.mark.parametrize("m", [3, 4])
def test_volume_is_the_product_of_singular_values(m):
    # sqrt det(F F') = the product of F's singular values: another route to the same number
    f = [normalize(x.double(), dim=-1) for x in features(m)]
    F = torch.stack(f, dim=1)
    assert_close(volume(f, eps=0.0), torch.linalg.svdvals(F).prod(dim=-1), rtol=1e-9, atol=1e-12)


def test_closed_form_determinant_is_lapack_s():
    G = gram_matrices(features(), 1e-6)
    assert_close(determinant(G), torch.linalg.det(G), rtol=1e-12, atol=1e-15)


def test_orthogonal_is_one_and_equal_is_the_ridge():
    e = torch.eye(3, 6).unsqueeze(1)
    assert_close(volume(list(e), 0.0), torch.ones(1, dtype=torch.float64))
    same = features(1)[0]
    eps = 1e-6  # G = 11' + eps I: det = eps^2 (3 + eps)
    expected = torch.full((5,), (eps**2 * (3 + eps)) ** 0.5, dtype=torch.float64)
    # float64 rounds terms near 1 to 1e-16, which is 1e-4 of a determinant of 3e-12
    assert_close(volume([same] * 3, eps), expected, rtol=1e-3, atol=0)


def test_gradient_reaches_all_three_features_and_is_finite_where_they_agree():
    f = [x.requires_grad_() for x in features()]
    for g in torch.autograd.grad(volume(f).sum(), f):
        assert g.abs().max() > 1e-2
    same = features(1)[0].requires_grad_()
    (g,) = torch.autograd.grad(volume([same, same, same]).sum(), same)
    assert torch.isfinite(g).all()


def test_volume_gradient_against_central_differences():
    f = [x.double().requires_grad_() for x in features(b=2, d=4)]
    assert torch.autograd.gradcheck(lambda *f: volume(f), f)


def test_two_equal_features_hide_the_third_from_the_volume_but_not_from_the_spread():
    # methods.md: with f_Adv = f_AWP the volume is 1.2e-3 although the clean feature is 56 degrees
    # away
    a, b = torch.zeros(1, 512), torch.zeros(1, 512)
    angle = torch.tensor(56.0).deg2rad()
    a[0, 0] = 1
    b[0, 0], b[0, 1] = angle.cos(), angle.sin()
    assert volume([a, b, b]).item() == pytest.approx(1.2e-3, rel=0.05)
    assert spread([a, b, b]).item() > 0.1


def test_spread_limits():
    assert_close(
        spread(list(torch.eye(3, 5).unsqueeze(1))), torch.full((1,), 2 / 3, dtype=torch.float64)
    )
    same = features(1)[0]
    assert_close(spread([same] * 3), torch.zeros(5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_cosines_name_every_pair():
    f = features()
    c = cosines({"id": f[0], "adv": f[1], "awp": f[2]})
    assert set(c) == {"cos_id_adv", "cos_id_awp", "cos_adv_awp"}
    assert_close(c["cos_id_awp"], torch.nn.functional.cosine_similarity(f[0], f[2]).mean())


@pytest.mark.parametrize("dtype, rtol", [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_the_largest_eigenvalue_by_squaring_is_lapacks_with_its_gradient(dtype, rtol):
    X = torch.randn(40, 4, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    close = torch.diag_embed(torch.tensor([[1.0, 1.0 - 1e-3, 0.2, 0.0]], dtype=dtype))
    for G in (X @ X.mT, X[:, :, :1] @ X[:, :, :1].mT, close):
        a, b = G.clone().requires_grad_(), G.clone().requires_grad_()
        ours, theirs = gram_volume.top_eigenvalue(a), torch.linalg.eigvalsh(b)[:, -1]
        assert_close(ours, theirs, rtol=rtol, atol=0)
        ours.sum().backward(), theirs.sum().backward()
        assert_close(a.grad, (b.grad + b.grad.mT) / 2, rtol=1e-3, atol=1e3 * rtol)


def test_of_equal_eigenvalues_each_has_its_share_of_the_gradient():
    G = torch.diag_embed(torch.tensor([[2.0, 2.0, 1.0]])).requires_grad_()
    (found,) = gram_volume.top_eigenvalue(G)
    found.backward()
    assert_close(found, torch.tensor(2.0))
    assert_close(G.grad, torch.diag_embed(torch.tensor([[0.5, 0.5, 0.0]])))
