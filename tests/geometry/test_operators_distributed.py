import torch
from torch.testing import assert_close

from grace_geom.geometry.operators import hessian
from tests.geometry import nets
from tests.processes import fork, wait


def worker(rank: int, folder: str) -> None:
    """Rank 0 holds a batch of 5, rank 1 one of 2."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    net, weights = nets.make()
    operator = hessian(nets.loss(net), weights, [nets.batches()[rank]], distributed=True)
    v = torch.linspace(-1, 1, operator.dim, dtype=torch.float64)
    torch.save((operator.n, operator.matvec(v), operator.gradient()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_with_ragged_shares_give_the_whole_product(tmp_path):
    assert wait([fork(worker, rank, str(tmp_path)) for rank in range(2)]) == [0, 0]
    net, weights = nets.make()
    whole = hessian(nets.loss(net), weights, nets.batches())
    Hv = whole.matvec(torch.linspace(-1, 1, whole.dim, dtype=torch.float64))
    for rank in range(2):
        n, product, gradient = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert n == 7
        assert_close(product, Hv, rtol=1e-12, atol=1e-14)
        assert_close(gradient, whole.gradient(), rtol=1e-12, atol=1e-14)
