"""Process groups of the pretended GPU: two processes, sums as NCCL would make them."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from tests.pretended_gpu import Hang, pretended_gpu
from tests.processes import fork, wait


def _join(rank: int, folder: str, backend: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        backend, f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )


def _sums(rank: int, folder: str) -> None:
    with pretended_gpu("/tests/", count=2) as seen:
        torch.cuda.set_device(rank)
        _join(rank, folder, "cpu:gloo,cuda:nccl")
        there, here = torch.ones(2, device="cuda") * (rank + 1), torch.ones(2)
        dist.all_reduce(there), dist.all_reduce(here)
        assert not seen.waits and here.tolist() == [2, 2] and there.tolist() == [3, 3]
        kinds = {what for what, _ in seen.collectives}
        assert {"all_reduce cuda torch.float32", "all_reduce cpu torch.float32"} < kinds
        gathered: list[object] = [None, None]
        dist.all_gather_object(gathered, there)
        assert next(iter(seen.pickled))[0] == "all_gather_object of a GPU tensor"
        by_host = dist.new_group(backend="gloo")
        seen.waits.clear()
        dist.all_reduce(there, group=by_host)
        assert [what for what, _ in seen.waits] == ["all_reduce by gloo"]


def _nccl_alone(rank: int, folder: str) -> None:
    with pretended_gpu("/tests/", count=2):
        torch.cuda.set_device(rank)
        _join(rank, folder, "nccl")
        try:
            dist.all_reduce(torch.ones(1))
        except RuntimeError as error:
            assert "device type cpu" in str(error)
            return
    raise AssertionError("NCCL summed a tensor of the host")


def _one_gpu_for_two(rank: int, folder: str) -> None:
    with pretended_gpu("/tests/", count=2):
        _join(rank, folder, "cpu:gloo,cuda:nccl")
        try:
            dist.all_reduce(torch.ones(1, device="cuda:1"))
        except RuntimeError as error:
            assert "Duplicate GPU" in str(error)
            return
    raise AssertionError("two ranks shared a GPU")


def _peer_is_gone(rank: int, folder: str) -> None:
    with pretended_gpu("/tests/", count=2) as seen:
        torch.cuda.set_device(rank)
        _join(rank, folder, "cpu:gloo,cuda:nccl")
        x = torch.ones(1, device="cuda")
        dist.all_reduce(x)
        if rank == 1:
            return
        dist.all_reduce(x)  # it returns: the host does not wait
        y = x + 1
        try:
            y.item()
        except Hang as hang:
            assert "never ends" in str(hang) and not seen.waits
            return
    raise AssertionError("a sum without its peer ended")


def both(case, folder: Path) -> list[int | None]:
    """How the two processes of a case ended."""
    return wait([fork(case, rank, str(folder)) for rank in range(2)])


def test_gpu_tensors_go_by_nccl_and_others_by_gloo(tmp_path: Path):
    assert both(_sums, tmp_path) == [0, 0]


def test_nccl_alone_refuses_a_tensor_of_the_host(tmp_path: Path):
    assert both(_nccl_alone, tmp_path) == [0, 0]


def test_two_ranks_on_one_gpu_are_refused(tmp_path: Path):
    assert both(_one_gpu_for_two, tmp_path) == [0, 0]


def test_a_sum_whose_peer_is_gone_hangs_at_the_next_wait(tmp_path: Path):
    assert both(_peer_is_gone, tmp_path) == [0, 0]
