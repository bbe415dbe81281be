import pytest
import torch

from grace_geom.geometry.second_opinion import PyHessian
from tests.geometry import nets

HEAD = "head"


def peer() -> tuple[PyHessian, torch.Tensor]:
    """PyHessian on the last layer only, whose Hessian is convex with one leading eigenvalue; and
    the dense block.
    """
    net, weights = nets.make()
    chosen = {n: w for n, w in weights.items() if n.startswith(HEAD)}
    rows = torch.cat([torch.full((w.numel(),), n.startswith(HEAD)) for n, w in weights.items()])
    block = nets.dense_hessian()[rows][:, rows]
    return PyHessian(nets.outputs(net), nets.criterion, chosen, nets.batches()), block


def test_agrees_with_the_dense_matrix_where_it_is_right():
    opinion, H = peer()
    assert opinion.eigenvalues(1, rtol=1e-7)[0] == pytest.approx(
        torch.linalg.eigvalsh(H)[-1].item(), rel=1e-4
    )
    trace = opinion.trace(200)
    assert trace.products == 200
    assert abs(trace.value - H.trace()) < 4 * trace.error


def test_leaves_the_global_random_state_and_the_weights_alone():
    opinion, _ = peer()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    opinion.eigenvalues(1)
    assert torch.equal(torch.get_rng_state(), state)
    net, weights = nets.make()
    assert all(p.grad is None for p in net.parameters()) and all(
        w.grad is None for w in weights.values()
    )


def test_its_own_stopping_rule_ends_a_negative_trace_after_two_samples():
    """Why it is switched off: the change is divided by a signed trace."""
    opinion, _ = peer()

    def indefinite(batch):
        return -sum(p.square().sum() for p in opinion.peer.params) + 0 * batch.x.sum()

    opinion.peer.model.forward = indefinite
    opinion.peer.criterion = lambda z, batch: z
    assert len(opinion.peer.trace(50, 1e-3)) <= 2
    assert opinion.trace(50).products == 50
