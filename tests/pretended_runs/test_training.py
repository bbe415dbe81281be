"""Runs on a pretended GPU are those of the CPU, whole, stopped and resumed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch.testing import assert_close

from grace_geom.checkpoint import load_checkpoint
from grace_geom.errors import Interrupted
from grace_geom.models import vit
from grace_geom.training import train_run
from tests.pretended_runs.there import gpu, trained
from tests.processes import ROOT
from tests.small_run import lines, small_config


@pytest.fixture(autouse=True)
def one_order(monkeypatch) -> None:
    """Else the CPU computes attention in another order."""
    monkeypatch.setattr(vit, "SHORT", 0)


@pytest.mark.parametrize("method", ["ft", "lora", "at", "grace"])
def test_a_run_stopped_and_resumed_on_a_gpu_is_the_cpus(tmp_path: Path, method: str):
    (tmp_path / "cpu").mkdir()
    with gpu() as seen:
        there = trained(tmp_path, method, optimizer="sgd", precision="float32")
    here = train_run(
        small_config(
            tmp_path / "cpu", method, optimizer="sgd", epochs=1, workers=0, data=data(tmp_path)
        ),
        quiet=True,
    )
    ours, theirs = load_checkpoint(there), load_checkpoint(here)
    assert ours.step == theirs.step == 5
    for name, w in theirs.state_dict.items():
        assert ours.state_dict[name].device.type == "cpu"
        assert_close(ours.state_dict[name], w, rtol=1e-3, atol=1e-5)
    losses = [
        [r["loss"] for r in lines(run / "metrics.jsonl") if "loss" in r] for run in (there, here)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 5
    differs = {what for what, _ in seen.nondeterministic}
    assert differs == {"_scaled_dot_product_flash_attention_for_cpu_backward"}, seen.lines()


def data(folder: Path) -> str:
    return f"npz:{folder / 'toy.npz'}"


def test_a_run_begun_on_a_gpu_goes_on_without_one(tmp_path: Path):
    with gpu(), pytest.raises(Interrupted):
        train_run(
            small_config(tmp_path, "at", device="cuda", workers=0, epochs=1, stop_after=2),
            quiet=True,
        )
    out = train_run(small_config(tmp_path, "at", workers=0, epochs=1, resume=True), quiet=True)
    assert load_checkpoint(out).step == 5


@pytest.mark.parametrize("method", ["at", "grace"])
def test_pieces_that_are_found_by_themselves_and_images_that_leave_early(tmp_path, method: str):
    with gpu():
        trained(tmp_path, method, attack_stop=1.0, micro_batch="auto")


@pytest.mark.nightly
def test_the_tests_marked_gpu_run_on_the_pretended_one():
    """As far as they need no driver: else a fault of theirs would be found on the card."""
    words = ["-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PRETEND_GPU": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    passed, skipped = (
        int(re.findall(rf"(\d+) {word}", done.stdout)[-1]) for word in ("passed", "skipped")
    )
    assert passed > 60 and skipped < passed / 3
