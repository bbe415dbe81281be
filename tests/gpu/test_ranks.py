"""Two ranks on two cards: NCCL's sums, and a peer that is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.processes import ROOT

LONGEST = 240


@pytest.fixture(autouse=True)
def two_cards(card: bool) -> None:
    if not card or torch.cuda.device_count() < 2:
        pytest.skip("two NVIDIA GPUs are needed")


@contextlib.contextmanager
def ranks(folder: Path, *more: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that train on the built-in data, each with a card of its own; none is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [
        "-m", "grace_geom.train", "--method", "grace", "--device", "cuda", "--out",
        str(folder / "run"), "--save-every", "5", "--eval-every", "0", "--workers", "0",
        "--attack-steps", "2", *more,
    ]  # fmt: skip
    own = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    job = [
        subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env=os.environ | own | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        yield job
    finally:
        for process in job:
            process.kill()
            process.communicate()


def test_two_ranks_train_to_the_end(tmp_path: Path):
    with ranks(tmp_path, "--max-steps", "5") as job:
        said = [process.communicate(timeout=LONGEST)[1] for process in job]
    assert [process.returncode for process in job] == [0, 0], said


def test_the_survivor_of_a_killed_rank_names_the_newest_checkpoint(tmp_path: Path):
    with ranks(tmp_path, "--max-steps", "1000000") as job:
        end = time.monotonic() + LONGEST
        while not (tmp_path / "run" / "ckpt.pt").is_file():
            assert time.monotonic() < end and all(process.poll() is None for process in job)
            time.sleep(0.2)
        job[1].send_signal(signal.SIGKILL)
        said = job[0].communicate(timeout=LONGEST)[1]
    assert job[0].returncode == 130 and "the newest checkpoint is step" in said
