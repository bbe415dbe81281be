"""Two processes on two pretended GPUs: what goes by NCCL, and that both end with one model."""

import pytest
import torch
from torch.testing import assert_close

from grace_geom import distributed
from grace_geom.methods import Run
from grace_geom.training import Plan, Trainer
from tests.pretended_gpu import pretended_gpu
from tests.processes import fork, wait
from tests.test_distributed import method, share
from tests.toys import toy_batch, toy_clip, toy_images

NAMES = ("ft", "at", "grace")


def two_steps(name: str, device: str) -> dict[str, object]:
    """Two steps on batches of 12, of which this process has its share."""
    own = method(name)
    model = toy_clip().to(device).double()
    params, state = own.setup(model, torch.Generator().manual_seed(0))
    generator = torch.Generator(device).manual_seed(1)

    def images(part: str):
        return [batch.to(device) for batch in in_double(toy_images(part))]

    trainer = Trainer(own, Run(model, params, generator, 4, state, images=images), Plan(4, 2))
    for seed in (0, 1):
        (batch,) = in_double([share(toy_batch(12, seed), distributed.world())])
        numbers = trainer.step(batch.to(device))
    return {
        "params": {n: w.detach().cpu().clone() for n, w in trainer.run.params.items()},
        "numbers": {n: float(x) for n, x in numbers.items()},
    }


def in_double(batches):
    return [type(b)(b.images.double(), b.labels, b.index) for b in batches]


def rank(number: int, folder: str) -> None:
    """One of the two processes; leaves what it found."""
    torch.set_num_threads(1)
    with pretended_gpu(count=2) as seen:
        torch.cuda.set_device(number)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl", f"file://{folder}/store", rank=number, world_size=2
        )
        found = {name: two_steps(name, f"cuda:{number}") for name in NAMES}
        found["sums"] = dict(seen.collectives)
        torch.distributed.destroy_process_group()
    assert not seen.mixed and not seen.pickled
    torch.save(found, f"{folder}/{number}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    """What each process found."""
    folder = tmp_path_factory.mktemp("ranks")
    assert wait([fork(rank, number, str(folder)) for number in range(2)]) == [0, 0]
    return [torch.load(folder / f"{number}.pt", weights_only=False) for number in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_both_have_the_weights_of_one_process(ranks, name: str):
    first, second = (found[name] for found in ranks)
    alone = two_steps(name, "cpu")
    for key, value in alone["params"].items():
        assert torch.equal(first["params"][key], second["params"][key])
        assert_close(first["params"][key], value, rtol=1e-6, atol=1e-9)
    assert first["numbers"] == pytest.approx(alone["numbers"], rel=1e-4, abs=1e-6)


def test_gradients_are_summed_by_nccl(ranks):
    for found in ranks:
        sums = {what for what, at in found["sums"] if at.startswith("/grace_geom/distributed.py")}
        assert "all_reduce cuda torch.float64" in sums
        assert not any("cpu torch.float64" in what for what in sums)
