import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, jvp
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from grace_geom.errors import UserError
from grace_geom.geometry.krylov import Krylov, random_start
from grace_geom.geometry.lanczos import eigenpairs
from grace_geom.geometry.operators import gauss_newton, hessian, twice_differentiable
from grace_geom.geometry.spectrum import spectrum
from grace_geom.geometry.trace import hutchinson
from grace_geom.weights import flatten, unflatten
from tests.geometry import nets


def columns(operator) -> torch.Tensor:
    return torch.stack([operator.matvec(e) for e in torch.eye(operator.dim, dtype=torch.float64)])


def of_hessian(sizes=(5, 2), **options):
    net, weights = nets.make()
    return hessian(nets.loss(net), weights, nets.batches(sizes), **options)


@pytest.mark.parametrize(("samples", "kept"), [(0, 0), (6, 1), (7, 2)])
def test_hessian_is_the_dense_one_of_central_differences_with_layernorm_attention_and_ragged_batches(
    samples, kept
):
    operator = of_hessian(graph_bytes=samples * of_hessian().graph_bytes)
    assert operator.kept == kept
    H = nets.dense_hessian()
    assert (columns(operator) - H).norm() < 1e-8 * H.norm()
    assert operator.products == operator.dim == len(H)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_eigenvalues_trace_and_moments_through_the_operator_are_those_of_the_dense_matrix(kind):
    """The whole way, ragged batches included: eigenvalues to 1e-6, trace and moments within their
    errors.
    """
    net, weights = nets.make()
    if kind == "ggn":
        A, dense = (
            gauss_newton(nets.outputs(net), nets.criterion, weights, nets.batches()),
            nets.dense_ggn(),
        )
    else:
        A, dense = hessian(nets.loss(net), weights, nets.batches()), nets.dense_hessian()
    lams = torch.linalg.eigvalsh((dense + dense.T) / 2).flip(0)
    pairs = eigenpairs(A.matvec, Krylov(random_start(A.dim, 0, A.like)), top=4, bottom=1, rtol=1e-9)
    assert_close(
        pairs.values, torch.cat([lams[:4], lams[-1:]]), rtol=1e-6, atol=1e-9
    )  # of many zeros one is found
    sizes, product = {name: w.numel() for name, w in A.weights.items()}, columns(A)
    trace = [
        hutchinson(lambda v: product @ v, A.like, sizes, 100, seed).trace for seed in range(20)
    ]
    z = torch.tensor([(t.value - lams.sum().item()) / t.error for t in trace])
    assert (
        z.abs() < 3
    ).sum() >= 19 and z.abs().max() < 5  # the samples of few large eigenvalues are skewed
    found = spectrum(A.matvec, A.like, A.dim, steps=10, probes=15)
    for order in (1, 2, 3):
        moment = found.moment(order)
        assert abs(moment.value - (lams**order).mean().item()) < 4 * moment.error


@pytest.mark.parametrize("graph_bytes", [0, 2**30])
def test_unused_and_frozen_weights_have_zero_rows_and_take_no_place(graph_bytes):
    net, weights = nets.make()
    A = gauss_newton(
        nets.outputs(net), nets.criterion, weights, nets.batches(), graph_bytes=graph_bytes
    )
    B = hessian(nets.loss(net), weights, nets.batches(), graph_bytes=graph_bytes)
    unused = flatten({n: torch.full_like(w, n == "unused") for n, w in weights.items()}).bool()
    v = torch.randn(A.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for operator in (A, B):
        assert not operator.matvec(v)[unused].any() and not operator.matvec(unused.double()).any()
    rest = hessian(
        nets.loss(net), weights, nets.batches(), pattern="^(?!head)", graph_bytes=graph_bytes
    )
    assert not [n for n in rest.weights if n.startswith("head")] and rest.dim < A.dim


@pytest.mark.parametrize("graph_bytes", [0, 2**30])
def test_gauss_newton_is_the_dense_one_of_jacobians(graph_bytes):
    net, weights = nets.make()
    operator = gauss_newton(
        nets.outputs(net), nets.criterion, weights, nets.batches(), graph_bytes=graph_bytes
    )
    G = nets.dense_ggn()
    assert (columns(operator) - G).norm() < 1e-12 * G.norm()


def test_forward_over_jacrev_is_wrong_here_and_ours_is_not():
    """The public shortcut; should torch mend it, this test says so and the reason to avoid it is
    gone.
    """
    net, weights = nets.make()
    rows = nets.batches((7,))[0]
    H, v = (
        None,
        torch.randn(
            of_hessian().dim, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
        ),
    )
    with twice_differentiable():
        f = lambda w: F.cross_entropy(functional_call(net, w, (rows.x,)), rows.y)  # noqa: E731
        shortcut = flatten(jvp(jacrev(f), (weights,), (unflatten(v, weights),))[1])
        sound = flatten(jvp(grad(f), (weights,), (unflatten(v, weights),))[1])
    H = hessian(nets.loss(net), weights, [rows])
    assert (H.matvec(v) - sound).norm() < 1e-12 * sound.norm()
    assert (H.matvec(v) - shortcut).norm() > 1e-3 * sound.norm()


def test_subset_is_the_block_of_the_dense_hessian():
    _, weights = nets.make()
    operator = of_hessian(pattern=r"^ln|attention\.in")
    inside = flatten(
        {n: torch.full_like(w, n in operator.weights) for n, w in weights.items()}
    ).bool()
    assert 0 < operator.dim < len(inside)
    assert_close(columns(operator), nets.dense_hessian()[inside][:, inside], rtol=1e-7, atol=1e-9)


def flops(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_products_cost_six_forward_passes_on_kept_graphs_nine_on_rebuilt_ones_and_a_tail_only_its_own():
    """In arithmetic of matrix products, which no busy machine disturbs; behind a frozen trunk t is
    the tail's share.
    """
    g = torch.Generator().manual_seed(0)
    w = {f"{i}": torch.randn(16, 16, generator=g) / 4 for i in range(6)}
    batch, calls = torch.randn(8, 16, generator=g), []

    def loss(weights, x):
        calls.append(1)
        for W in weights.values():
            x = torch.tanh(x @ W)
        return x.square().mean()

    F_ = flops(lambda: loss(w, batch))
    for pattern, share in (("", 1.0), ("[45]", 2 / 6)):
        kept, rebuilt = (hessian(loss, w, [batch], pattern, graph_bytes=b) for b in (2**30, 0))
        v = torch.ones(kept.dim)
        calls.clear()
        assert flops(lambda: kept.matvec(v)) <= 6 * share * F_  # noqa: B023
        assert not calls  # the trunk's activations lie in the kept graph
        assert flops(lambda: rebuilt.matvec(v)) <= (1 - share) * F_ + 9 * share * F_  # noqa: B023
        assert len(calls) == 1


@pytest.mark.parametrize("pattern", ["", "^ln|unused"])
def test_gradient_is_that_of_the_whole_sample_and_of_the_chosen_weights(pattern):
    net, weights = nets.make()
    whole = nets.Rows(
        *(torch.cat([getattr(r, name) for r in nets.batches()]) for name in ("x", "y"))
    )
    w = {n: x.clone().requires_grad_() for n, x in weights.items()}
    nets.loss(net)(w, whole).backward()
    A = of_hessian(pattern=pattern)
    G = gauss_newton(nets.outputs(net), nets.criterion, weights, nets.batches(), pattern)
    slopes = [torch.zeros_like(w[n]) if w[n].grad is None else w[n].grad for n in A.weights]
    expected = torch.cat([g.flatten() for g in slopes])
    assert expected.any()
    for operator in (A, G):
        assert_close(operator.gradient(), expected, rtol=1e-10, atol=1e-14)
        assert operator.products == 0


def test_module_is_left_alone():
    net, weights = nets.make()
    net.train()  # no dropout is active: the mode is the caller's business
    net.embed.weight.requires_grad_(False)
    before = {n: p.clone() for n, p in net.named_parameters()}
    fast = torch.backends.mha.get_fastpath_enabled()
    flash = torch.backends.cuda.flash_sdp_enabled()
    operator = hessian(nets.loss(net), weights, nets.batches())
    operator.matvec(torch.ones(operator.dim, dtype=torch.float64))
    assert net.training and not net.embed.weight.requires_grad
    assert all(p.grad is None and torch.equal(p, before[n]) for n, p in net.named_parameters())
    assert all(w.grad is None and not w.requires_grad for w in weights.values())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.backends.cuda.flash_sdp_enabled() == flash


def test_kernels_are_restored_after_an_error():
    fast, flash = torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
    with pytest.raises(ZeroDivisionError), twice_differentiable():
        assert not torch.backends.cuda.flash_sdp_enabled()
        1 / 0
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.backends.cuda.flash_sdp_enabled() == flash


def test_a_second_operator_on_the_same_network_changes_nothing():
    net, weights = nets.make()
    v = torch.ones(of_hessian().dim, dtype=torch.float64)
    first = hessian(nets.loss(net), weights, nets.batches())
    one = first.matvec(v)
    second = hessian(nets.loss(net), weights, nets.batches())
    assert torch.equal(second.matvec(v), one) and torch.equal(first.matvec(v), one)


def test_a_product_under_no_grad_is_the_same():
    operator = of_hessian(graph_bytes=0)
    v = torch.ones(operator.dim, dtype=torch.float64)
    with torch.no_grad():
        inside = operator.matvec(v)
    assert torch.equal(inside, operator.matvec(v))


def test_linear_weights_have_zero_curvature():
    weights = {"w": torch.ones(3, dtype=torch.float64)}
    operator = hessian(
        lambda w, b: (w["w"] * b).sum() / len(b), weights, [torch.ones(3, dtype=torch.float64)]
    )
    assert operator.matvec(torch.ones(3, dtype=torch.float64)).tolist() == [0, 0, 0]


def test_kept_graphs_are_freed_with_the_operator():
    import gc
    import weakref

    net, weights = nets.make()
    seen = []

    def loss(w, rows):
        z = functional_call(net, w, (rows.x,))
        seen.append(weakref.ref(z))
        return F.cross_entropy(z, rows.y)

    operator = hessian(loss, weights, nets.batches())
    del operator
    gc.collect()
    assert not any(z() is not None for z in seen)


class TestRefuses:
    def test_active_dropout(self):
        net, weights = nets.make(dropout=0.5)
        net.train()
        with pytest.raises(ValueError, match=r"not deterministic.*dropout"):
            hessian(nets.loss(net), weights, nets.batches())

    @pytest.mark.untyped
    def test_a_loader_that_may_shuffle(self):
        net, weights = nets.make()
        with pytest.raises(ValueError, match="fixed order"):
            hessian(nets.loss(net), weights, iter(nets.batches()))

    def test_a_loss_without_the_chosen_weights(self):
        net, weights = nets.make()
        with pytest.raises(ValueError, match="does not depend"):
            hessian(nets.loss(net), weights, nets.batches(), pattern="unused")

    def test_a_pattern_without_match(self):
        net, weights = nets.make()
        with pytest.raises(UserError, match="matches none"):
            hessian(nets.loss(net), weights, nets.batches(), pattern="visual")

    def test_a_vector_of_another_kind(self):
        with pytest.raises(ValueError, match="float64"):
            of_hessian().matvec(torch.zeros(of_hessian().dim))

    def test_reentrant_activation_checkpointing(self):
        layer = nn.Linear(5, 3).double()
        weights = {n: p.detach() for n, p in layer.named_parameters()}

        def loss(w, rows):
            run = lambda x, *p: F.linear(x, *p).tanh()  # noqa: E731
            return (
                checkpoint(run, rows.x, w["weight"], w["bias"], use_reentrant=True).square().mean()
            )

        with pytest.raises(RuntimeError, match=r"activation checkpointing: turn it off"):
            hessian(loss, weights, nets.batches())
