"""HSIC and CKA against Gram matrices in float64, in all three forms, and against what must not
change them.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from grace_geom.geometry import cka as cka_module
from grace_geom.geometry.cka import MinibatchCka, cka, cka_matrix, hsic, rbf_cka, u_centred
from grace_geom.geometry.streaming import StreamingCka


def gaussian(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def related(
    n: int = 60, widths: tuple[int, ...] = (5, 7, 3), noise: float = 0.5
) -> tuple[list[Tensor], list[Tensor]]:
    """Three layers of two 'models' that share a signal."""
    signal = gaussian(n, 4)
    make = [
        signal @ gaussian(4, d, 10 + i) + noise * gaussian(n, d, 20 + i)
        for i, d in enumerate(2 * widths)
    ]
    return make[: len(widths)], make[len(widths) :]


def song_hsic(X: Tensor, Y: Tensor) -> float:
    """Song et al. 2012, Eq. 5, literally: Gram matrices without diagonal and three sums."""
    n, one = len(X), torch.ones(len(X), dtype=torch.float64)
    K, L = (Z @ Z.T - torch.diag((Z @ Z.T).diagonal()) for Z in (X, Y))
    total = torch.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return ((total - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))).item()


def song_cka(X: Tensor, Y: Tensor) -> float:
    return song_hsic(X, Y) / math.sqrt(song_hsic(X, X) * song_hsic(Y, Y))


@pytest.mark.parametrize("n", [4, 5, 30])
def test_hsic_is_songs_in_feature_space(n: int):
    X, Y = gaussian(n, 6, 0) + 3.0, gaussian(n, 9, 1) - 1.0
    assert hsic(X, Y).item() == pytest.approx(song_hsic(X, Y), rel=1e-9)


def test_hsic_is_the_u_centred_inner_product():
    X, Y = gaussian(20, 3, 0), gaussian(20, 4, 1)
    K, L = u_centred(X @ X.T), u_centred(Y @ Y.T)
    assert_close(K.sum(dim=0), torch.zeros(20, dtype=torch.float64), atol=1e-12, rtol=0)
    assert hsic(X, Y).item() == pytest.approx((K * L).sum().item() / (20 * 17), rel=1e-9)


@pytest.mark.parametrize("n, width", [(8, 50), (300, 5)])
def test_both_routes_of_the_layer_matrix_agree_with_song(n: int, width: int):
    Xs, Ys = related(
        n, (width, width + 2)
    )  # wide layers go through Gram matrices, long ones through feature space
    expected = torch.tensor([[song_cka(X, Y) for Y in Ys] for X in Xs], dtype=torch.float64)
    assert_close(cka_matrix(Xs, Ys), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", [7, 16, 60])
def test_streaming_is_the_full_batch_value(batch: int):
    Xs, Ys = related(60)
    stream = StreamingCka()
    for i in range(0, 60, batch):  # 60 = 8 * 7 + 4: the last batch is ragged
        stream.update([X[i : i + batch] for X in Xs], [Y[i : i + batch] for Y in Ys])
    assert_close(stream.cka(), cka_matrix(Xs, Ys), rtol=1e-10, atol=1e-12)


def test_streaming_accepts_batches_of_one():
    Xs, Ys = related(12)
    stream = StreamingCka()
    for i in range(12):
        stream.update([X[i : i + 1] for X in Xs], [Y[i : i + 1] for Y in Ys])
    assert_close(stream.cka(), cka_matrix(Xs, Ys), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 24])
def test_minibatch_weights_groups_by_their_pairs_whatever_the_batches(batch: int, monkeypatch):
    monkeypatch.setattr(cka_module, "BLOCK", 4)  # 10 = 4 + 4 + 2
    Xs, Ys = related(24)
    minibatch = MinibatchCka(rows=10)
    for i in range(0, 24, batch):
        minibatch.update([X[i : i + batch] for X in Xs], [Y[i : i + batch] for Y in Ys])
    cuts = [(0, 10), (10, 20), (20, 24)]

    def total(X: Tensor, Y: Tensor) -> float:
        return sum((b - a) * (b - a - 3) * song_hsic(X[a:b], Y[a:b]) for a, b in cuts)

    expected = [[total(X, Y) / math.sqrt(total(X, X) * total(Y, Y)) for Y in Ys] for X in Xs]
    assert minibatch.left_out == 0
    assert_close(
        minibatch.cka(), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
    )


def test_one_minibatch_is_the_full_batch():
    Xs, Ys = related(40)
    minibatch = MinibatchCka()
    minibatch.update(Xs, Ys)
    assert_close(minibatch.cka(), cka_matrix(Xs, Ys), rtol=1e-9, atol=1e-12)


def test_minibatches_scatter_around_the_full_value_without_bias():
    Xs, Ys = related(4096, (6,))
    minibatch = MinibatchCka(rows=32)
    for i in range(0, 4096, 32):
        minibatch.update([Xs[0][i : i + 32]], [Ys[0][i : i + 32]])
    full = cka_matrix(Xs, Ys).item()
    parts = torch.tensor([cka(Xs[0][i : i + 32], Ys[0][i : i + 32]) for i in range(0, 4096, 32)])
    assert abs(minibatch.cka().item() - full) < 4 * parts.std().item() / math.sqrt(len(parts))


def test_a_last_group_of_three_is_left_out_and_counted():
    Xs, Ys = related(13)
    minibatch = MinibatchCka(rows=10)
    minibatch.update(Xs, Ys)
    assert minibatch.left_out == 3
    assert_close(
        minibatch.cka(),
        cka_matrix([X[:10] for X in Xs], [Y[:10] for Y in Ys]),
        rtol=1e-9,
        atol=1e-12,
    )
    with pytest.raises(ValueError, match="at least 4"):
        MinibatchCka(rows=3)


def test_rotation_scale_and_shift_change_nothing():
    X, Y = gaussian(50, 8, 0), gaussian(50, 6, 1)
    Y = Y + X[:, :6]
    Q = torch.linalg.qr(gaussian(8, 8, 2)).Q
    assert cka(X @ Q * 3.7 + 100.0, Y) == pytest.approx(cka(X, Y), rel=1e-9)
    assert rbf_cka(X @ Q * 3.7 + 5.0, Y) == pytest.approx(rbf_cka(X, Y), rel=1e-9)
    assert cka(X, X @ Q * 0.1) == pytest.approx(1.0, rel=1e-12)


def test_an_invertible_map_that_is_not_a_rotation_does_change_it():
    X = gaussian(200, 8)
    assert cka(X, X * torch.tensor([30.0, 1, 1, 1, 1, 1, 1, 1])) < 0.6


def test_independent_gaussians_give_zero_where_the_biased_estimate_gives_a_half():
    pairs = [(gaussian(512, 512, 2 * s), gaussian(512, 512, 2 * s + 1)) for s in range(4)]
    values = torch.tensor([cka(X, Y) for X, Y in pairs])
    assert values.abs().max() < 4 / 512  # the standard deviation under independence is about 1/n
    assert cka(*pairs[0], debiased=False) == pytest.approx(0.5, abs=0.02)


def test_a_common_offset_in_float32_costs_no_digits():
    X, Y = gaussian(300, 20, 0), gaussian(300, 20, 1)
    Y = Y + X
    shifted = [(Z + 300.0).float() for Z in (X, Y)]
    expected = cka(*[Z.double() - 300.0 for Z in shifted])
    naive = [
        Z @ Z.T for Z in shifted
    ]  # float32 Gram matrices centred afterwards: the digits are gone by then
    H = torch.eye(300) - 1 / 300
    spoilt = ((H @ naive[0] @ H) * (H @ naive[1] @ H)).sum()
    spoilt = spoilt / ((H @ naive[0] @ H).norm() * (H @ naive[1] @ H).norm())
    minibatch, stream = MinibatchCka(), StreamingCka()
    for form in (minibatch, stream):
        form.update([shifted[0]], [shifted[1]])
    assert abs(spoilt.item() - cka(*shifted, debiased=False)) > 1e-3
    assert cka(*shifted) == pytest.approx(expected, abs=1e-9)
    assert stream.cka().item() == pytest.approx(expected, abs=1e-9)
    assert minibatch.cka().item() == pytest.approx(expected, abs=1e-5)


def test_undefined_cells_are_nan_and_the_others_are_not():
    Xs, Ys = related(20)
    Xs[1] = torch.full_like(Xs[1], 2.5)
    Ys[2] = Ys[2].clone()
    Ys[2][3, 0] = torch.nan
    undefined = torch.zeros(3, 3, dtype=torch.bool)
    undefined[1], undefined[:, 2] = True, True
    assert torch.equal(cka_matrix(Xs, Ys).isnan(), undefined)
    for form in (StreamingCka(), MinibatchCka()):
        form.update(Xs, Ys)
        assert torch.equal(form.cka().isnan(), undefined)


def test_fewer_than_four_rows_give_nan():
    X, Y = gaussian(3, 5, 0), gaussian(3, 5, 1)
    assert math.isnan(cka(X, Y)) and math.isnan(rbf_cka(X, Y)) and hsic(X, Y).isnan()
    stream = StreamingCka()
    stream.update([X], [Y])
    assert stream.cka().isnan().all()


def test_a_constant_layer_with_float32_rounding_is_still_constant():
    X = torch.full((50, 8), 3.0) + 1e-7 * gaussian(50, 8, 0, torch.float32)
    Y = gaussian(50, 8, 1)
    assert math.isnan(cka(X, Y))
    for form in (StreamingCka(), MinibatchCka()):
        form.update([X], [Y.float()])
        assert form.cka().isnan().all()


@pytest.mark.untyped
def test_unpaired_rows_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"not paired.*class centroids"):
        cka(gaussian(10, 4), gaussian(11, 4))
    with pytest.raises(ValueError, match="not paired"):
        StreamingCka().update([gaussian(10, 4)], [gaussian(9, 4)])
    with pytest.raises(ValueError, match="pool tokens first"):
        cka(gaussian(10, 4).view(10, 2, 2), gaussian(10, 4))


def test_nothing_added_is_an_error():
    for form in (MinibatchCka(), StreamingCka()):
        with pytest.raises(ValueError, match="not defined"):
            form.cka()


def test_rbf_cka_is_songs_estimate_on_kernel_matrices():
    X = gaussian(200, 2)
    Y = X.square() + 0.1 * gaussian(200, 2, 1)

    def kernel(Z: Tensor) -> Tensor:
        squares = (Z[:, None] - Z[None]).square().sum(dim=2)
        median = squares[torch.triu(torch.ones(200, 200), 1).bool()].median()
        return u_centred(torch.exp(-squares / (2 * median)))

    K, L = kernel(X), kernel(Y)
    assert rbf_cka(X, Y) == pytest.approx(((K * L).sum() / (K.norm() * L.norm())).item(), rel=1e-9)
    assert rbf_cka(X, Y) > cka(X, Y) + 0.1  # a relation that no linear kernel sees
