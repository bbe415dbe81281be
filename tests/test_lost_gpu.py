"""A process dies while sums are under way on GPUs: the others hear of it and do not hang.

The pretended GPU has NCCL's manners: a sum whose peer is gone is begun and never ends, and whoever
then waits for the device waits for ever (``Hang``).
"""

import atexit
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.checkpoint import load_checkpoint
from grace_geom.distributed import PeerLost
from grace_geom.errors import UserError
from grace_geom.evaluate import main as evaluate
from grace_geom.methods import METHODS, Run
from grace_geom.terminal import door
from grace_geom.train import main
from grace_geom.training import Plan, Trainer
from grace_geom.training.fit import fit
from grace_geom.weights import Weights
from tests.analysis.scripts import script
from tests.pretended_gpu import Hang, pretended_gpu
from tests.pretended_gpu.state import now
from tests.processes import Command, fork, ranks, wait
from tests.small_run import small_run
from tests.test_distributed import toy_flags
from tests.toys import toy_batch, toy_clip, toy_images

pytestmark = pytest.mark.distributed
HEARD, HUNG, FINISHED = 7, 99, 0


class Reads:
    """A recorder that looks at weights where an evaluation and a checkpoint do."""

    def step(self, images: int) -> None: ...

    def log(self, record: dict[str, float]) -> None: ...

    def evaluate(self, weights: Weights) -> dict[str, float]:
        return {"val_acc": float(next(iter(weights.values())).sum())}

    def save(self, trainer: Trainer, weights: Weights) -> None:
        trainer.state()["params"] = {name: w.cpu() for name, w in weights.items()}


def count_sums(before: int, stuck: int | None) -> None:
    """This process kills itself before sum number ``before`` (-1: never). From sum number ``stuck``
    of tensors on GPUs on, none ends: the peer's host is still there, its GPU is not.
    """
    real, made = dist.all_reduce, [0, 0]

    def all_reduce(tensor: torch.Tensor, *args, **kwargs):
        made[0] += 1
        if made[0] == before:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(tensor, *args, **kwargs)
        made[1] += tensor.is_cuda
        if tensor.is_cuda and made[1] == stuck:
            now().lost = "a sum that the peer's GPU left"
        return found

    dist.all_reduce = all_reduce


def _train(rank: int, folder: str, dies_before: int, stuck: int | None) -> None:
    torch.set_num_threads(1)
    sys.stderr = open(f"{folder}/err.{rank}", "w", buffering=1)  # noqa: SIM115
    model = toy_clip()
    with pretended_gpu(count=2):
        torch.cuda.set_device(rank)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl", f"file://{folder}/store", rank=rank, world_size=2,
            timeout=timedelta(seconds=60),
        )  # fmt: skip
        count_sums(dies_before if rank == 1 else -1, stuck)
        method = METHODS["grace"](r=2, attack_steps=1, refresh_every=2)
        params, state = method.setup(model.to("cuda"), torch.Generator().manual_seed(0))
        generator = torch.Generator("cuda").manual_seed(1)
        run = Run(model, params, generator, 4, state, images=toy_images)
        plan = Plan(4, 4, log_every=2, eval_every=2, save_every=1)
        try:
            fit(Trainer(method, run, plan), lambda epoch, skip: shares(rank, skip), Reads())
        except PeerLost:
            os._exit(HEARD)
        except Hang as hang:
            sys.stderr.write(f"{hang}\n")
            os._exit(HUNG)


def shares(rank: int, skip: int) -> list[Batch]:
    whole = [toy_batch(4, seed) for seed in range(skip, 4)]
    return [Batch(*(x[rank::2] for x in (b.images, b.labels, b.index))) for b in whole]


def survivor(folder: Path, dies_before: int, stuck: int | None = None) -> int | None:
    job = [fork(_train, rank, str(folder), dies_before, stuck) for rank in range(2)]
    codes = wait(job)
    assert codes[1] == (-signal.SIGKILL if dies_before > 0 else 0), codes
    return codes[0]


def moments(some: range, each_commit: tuple[int, ...]) -> list:
    return [pytest.param(n, marks=() if n in each_commit else pytest.mark.nightly) for n in some]


@pytest.mark.parametrize("dies_before", moments(range(1, 25), (8,)))
def test_wherever_it_dies_the_other_hears_of_it(tmp_path: Path, dies_before: int):
    assert survivor(tmp_path, dies_before) == HEARD, (tmp_path / "err.0").read_text()


@pytest.mark.parametrize("stuck", moments(range(1, 7), (3,)))
def test_a_gpu_that_stops_before_its_host_does(tmp_path: Path, stuck: int):
    """The host still answers to some questions after the sum that its GPU never makes."""
    assert survivor(tmp_path, 30, stuck) == HEARD, (tmp_path / "err.0").read_text()


@pytest.mark.nightly
def test_without_a_death_both_finish(tmp_path: Path):
    assert survivor(tmp_path, -1) == FINISHED, (tmp_path / "err.0").read_text()


def test_what_was_there_before_the_lost_sum_can_still_be_read(monkeypatch):
    with pretended_gpu("/tests/"):
        x = torch.ones(2, device="cuda")
        last = distributed._GpuSum()
        monkeypatch.setattr(distributed, "_gpu_sum", last)
        last.any = True
        last.begin()
        now().lost = "here"
        last.end()
        with pytest.raises(Hang):
            x.sum().item()
        with distributed.past_lost_sum():
            assert x.cpu().tolist() == [1, 1]
        with pytest.raises(Hang):
            x.sum().item()


ENDS = [
    (UserError("wrong"), 2), (PeerLost("gone"), 130), (KeyboardInterrupt(), 130),
    (SystemExit(2), 2), (ZeroDivisionError(), 1),
]  # fmt: skip


@pytest.mark.parametrize("error, code", ENDS, ids=repr)
def test_while_a_sum_is_under_way_a_command_ends_with_its_usual_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
):
    last, left = distributed._GpuSum(), []
    monkeypatch.setattr(distributed, "_gpu_sum", last)
    monkeypatch.setattr(distributed, "asked_for", lambda: 2)
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "init_process_group", lambda *args, **kwargs: None)
    monkeypatch.setattr(atexit, "register", lambda function, *args: left.append(args))

    @door
    def command() -> None:
        with distributed.processes():
            monkeypatch.setattr(distributed._GpuSum, "lost", True)
            raise error

    with pytest.raises((SystemExit, ZeroDivisionError)) as end:
        command()
    assert left == [(code,)]
    assert not isinstance(end.value, SystemExit) or end.value.code == code


def on_gpus(command: Command, dies_before: int = 0, what: str = "all_reduce") -> Command:
    """The command on a machine with two GPUs, where a hang is code 99; the second process may kill
    itself before it exchanges something for that many times.
    """

    def run(flags: list[str]) -> None:
        torch.set_num_threads(1)
        with pretended_gpu(count=2):
            if os.environ["RANK"] == "1" and dies_before:
                dies_at(what, dies_before)
            try:
                command(flags)
            except Hang as hang:
                sys.stderr.write(f"HANG {hang}\n")
                os._exit(HUNG)

    return run


def dies_at(what: str, count: int) -> None:
    real, made = getattr(dist, what), [0]

    def exchange(*args, **kwargs):
        made[0] += 1
        if made[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(dist, what, exchange)


def told(folder: Path, job: list) -> str:
    """What the first process said at its end, which is an interruption and no hang."""
    codes, said = wait(job), (folder / "err.0").read_text()
    assert codes == [130, -signal.SIGKILL], said
    assert "interrupted: another process of this job ended" in said and "Traceback" not in said
    return said


def until(file: Path) -> None:
    end = time.monotonic() + 240
    while not file.is_file() and time.monotonic() < end:
        time.sleep(0.05)


def test_training_names_the_newest_checkpoint(tmp_path: Path):
    more = {"attack-steps": 1, "workers": 0, "device": "cuda", "method": "grace"}
    job = ranks(tmp_path, toy_flags(tmp_path, epochs=100_000, **more), 2, on_gpus(main))
    until(tmp_path / "run" / "ckpt.pt")
    job[1].kill()
    said, step = told(tmp_path, job), load_checkpoint(tmp_path / "run").step
    assert f"the newest checkpoint is step {step}. Continue, on any number of processes" in said


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return small_run(tmp_path_factory.mktemp("trained"), "ft", epochs=1)


@pytest.mark.nightly
def test_an_evaluation_says_that_what_was_measured_is_kept(trained: Path, tmp_path: Path):
    flags = [str(trained), "--device", "cuda", "--suites", "id,adv", "--n-attack", "8"]
    flags += ["--attack", "pgd", "--steps", "1", "--fresh"]
    job = ranks(tmp_path, flags, 2, on_gpus(evaluate, 12, "all_gather_object"))
    said = told(tmp_path, job)
    assert "what was measured before is kept, the same command (without --fresh) goes on" in said
    (kept,) = json.loads((trained / "eval.json").read_text())["accuracies"]
    assert kept["suite"] == "id"


@pytest.mark.nightly
def test_an_analysis_keeps_its_products(trained: Path, tmp_path: Path):
    flags = [str(trained), "--device", "cuda", "--n", "12", "--batch", "6", "--params", "ln_"]
    flags += ["--top", "1", "--density-probes", "0", "--probes", "2", "--max-products", "12"]
    flags += ["--rtol", "1e-12", "--out", str(tmp_path)]
    job = ranks(tmp_path, flags, 2, on_gpus(script("hessian_spectrum"), 24))
    assert "products are kept in" in told(tmp_path, job)
    assert list(tmp_path.glob(".parts/*.state"))
