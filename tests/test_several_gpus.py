"""Runs on one, two and four pretended GPUs: one process without room, uneven shares, resuming on
another number.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from grace_geom.checkpoint import load_checkpoint
from grace_geom.evaluate import main as evaluate
from grace_geom.train import main
from grace_geom.training import Trainer
from tests.pretended_gpu import pretended_gpu
from tests.processes import Command, ranks, wait
from tests.small_run import lines, small_run
from tests.test_distributed import toy_flags

pytestmark = pytest.mark.distributed
GRACE = {"method": "grace", "device": "cuda", "workers": 0, "attack-steps": 2}


def on_gpus(command: Command) -> Command:
    def run(flags: list[str]) -> None:
        torch.set_num_threads(1)
        with pretended_gpu(count=4) as seen:
            command(flags)
        assert not seen.mixed, seen.mixed

    return run


def job(folder: Path, flags: list[str], size: int, command: Command) -> list[int | None]:
    folder.mkdir(exist_ok=True)
    return wait(ranks(folder, flags, size, on_gpus(command)))


def without_room(flags: list[str]) -> None:
    """Training whose second process has no room at its third step."""
    real, steps = Trainer.step, [0]

    def step(self: Trainer, batch):
        steps[0] += 1
        if steps[0] == 3 and os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch)

    Trainer.step = step  # type: ignore[method-assign]
    main(flags)


def test_a_process_without_room_says_so_and_the_others_name_the_checkpoint(tmp_path: Path):
    codes = job(tmp_path, toy_flags(tmp_path, epochs=3, **GRACE), 2, without_room)
    first, second = ((tmp_path / f"err.{rank}").read_text() for rank in range(2))
    assert codes == [130, 2], first + second
    assert "step 3: the device has no room for 4 images at once; use --micro-batch 2" in second
    assert "the newest checkpoint is step 2" in first and "Traceback" not in first + second


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return small_run(tmp_path_factory.mktemp("trained"), "ft", epochs=1)


@pytest.mark.nightly
@pytest.mark.parametrize("n", [23, 3, 1])
def test_uneven_and_empty_shares_give_the_numbers_of_one_process(trained, tmp_path, n: int):
    found = []
    for size in (1, 2, 4):
        flags = [str(trained), "--device", "cuda", "--suites", "id,adv", "--fresh", "--n", str(n)]
        flags += ["--n-attack", str(n), "--attack", "apgd-ce", "--steps", "3"]
        codes = job(tmp_path / str(size), flags, size, evaluate)
        assert codes == [0] * size, (tmp_path / f"{size}/err.0").read_text()
        record = json.loads((trained / "eval.json").read_text())["accuracies"]
        found.append([(a["n"], a["correct"], a["outcomes"], a["predictions"]) for a in record])
    assert found[0] == found[1] == found[2]


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["lora", "grace"])
def test_a_run_goes_on_from_four_to_one_to_two(tmp_path: Path, method: str):
    """In float32 the sums differ by rounding, which an attack's sign and Adam's division by small
    gradients enlarge: weights are compared where nobody attacks.
    """
    settings = ({"device": "cuda", "workers": 0} if method == "lora" else GRACE) | {
        "precision": "float32"
    }
    whole = toy_flags(tmp_path, epochs=2, out=tmp_path / "whole", **settings)
    assert job(tmp_path, whole, 1, main) == [0], (tmp_path / "err.0").read_text()
    flags = toy_flags(tmp_path, epochs=2, **settings)
    assert job(tmp_path, [*flags, "--stop-after", "3"], 4, main) == [130] * 4
    assert job(tmp_path, [*flags, "--stop-after", "5", "--resume"], 1, main) == [130]
    assert job(tmp_path, [*flags, "--resume"], 2, main) == [0, 0], (tmp_path / "err.0").read_text()
    losses = [
        [r["loss"] for r in lines(tmp_path / name / "metrics.jsonl") if "loss" in r]
        for name in ("run", "whole")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)
    one, two = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "run")
    assert one.step == two.step
    for name, w in one.state_dict.items() if method == "lora" else ():
        assert_close(two.state_dict[name], w, rtol=1e-4, atol=1e-5)
