"""What options promise on a card: the same bits twice, and a compiled attack's outcomes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from grace_geom.attacks import AttackSpec
from grace_geom.checkpoint import load_checkpoint
from grace_geom.evaluation import evaluate_set
from grace_geom.evaluation.compiled import Compiled
from tests.processes import ROOT
from tests.test_distributed import noisy_set
from tests.toys import toy_clip


def trained(out: Path) -> dict[str, torch.Tensor]:
    """The weights of a short run in a process of its own, whose card nobody has used before."""
    words = ["-m", "grace_geom.train", "--method", "at", "--device", "cuda", "--deterministic",
             "--max-steps", "3", "--attack-steps", "2", "--eval-every", "0", "--workers", "0",
             "--out", str(out)]  # fmt: skip
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load_checkpoint(out / "ckpt.pt").state_dict


def test_two_deterministic_runs_are_the_same_bits(card: bool, tmp_path: Path):
    if not card:
        pytest.skip("a process of its own sees no pretended card")
    one, other = (trained(tmp_path / name) for name in "ab")
    assert all(torch.equal(w, other[name]) for name, w in one.items())


def test_a_compiled_attack_fools_what_the_usual_one_fools(card: bool):
    """But for images at the border: at most one of 23."""
    if not card:
        pytest.skip("compiled code does not pass a pretended card's rules")
    told: list[str] = []
    how, model = Compiled("attack", told.append), toy_clip().to("cuda")
    attack = AttackSpec("pgd", 4 / 255, steps=10)
    one, other = (
        evaluate_set(model, noisy_set(), "adv", "x", attack=attack, batch_size=16, compiled=c)
        for c in (None, how)
    )
    assert how.used == 2 and not told
    assert abs(one.correct - other.correct) <= 1
