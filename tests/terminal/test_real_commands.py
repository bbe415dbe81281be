"""Training, evaluation and a study in a pseudo-terminal, as a user sees them."""

import re
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.screen import Seen, watch

pytestmark = pytest.mark.nightly

ENV = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
SHORT = ["--max-steps", "8", "--batch-size", "32", "--train-images", "500"]
FEW = ["--suites", "id,ood,adv", "--n", "40", "--n-attack", "20", "--steps", "2"]
DRAWN = re.compile("[━─]{8}.* left|so far")


def shown(seen: Seen) -> list[str]:
    """The rows that stay, after what every command owes its terminal."""
    rows = seen.screen.shown()
    assert seen.code == 0, rows
    assert seen.screen.wrapped == 0
    assert any(DRAWN.search(row) for _, screen in seen.screens for row in screen)
    assert not [row for row in rows if DRAWN.search(row)]
    return rows


@pytest.mark.parametrize("columns", [80, 160])
def test_a_run_is_trained_and_evaluated(columns: int, tmp_path: Path) -> None:
    words = ["-m", "grace_geom.train", "--method", "ft", *SHORT, "--out", "run"]
    rows = shown(watch(words, tmp_path, columns, ENV))
    assert "train: ft on shapes, from tiny-shapes -> run" in rows and rows[-1] == "run/ckpt.pt"
    rows = shown(watch(["-m", "grace_geom.evaluate", "run", *FEW], tmp_path, columns, ENV))
    assert rows[-1] == "written: run/eval.json"
    words = ["analyses/sharpness.py", "run", "--n", "20", "--ascent-steps", "2"]
    rows = shown(watch([str(ROOT / words[0]), *words[1:]], tmp_path, columns, ENV))
    assert "run/analyses/sharpness.json" in " ".join(rows[-3:])


@pytest.mark.parametrize("columns", [80, 160])
def test_a_study_of_two_workers_shows_each_run(columns: int, tmp_path: Path) -> None:
    words = ["-m", "grace_geom.compare", "--methods", "zero-shot,ft,lora", "--workers", "2"]
    seen = watch([*words, *SHORT, *FEW, "--out", "study"], tmp_path, columns, ENV)
    rows = shown(seen)
    states = [" ".join(screen) for _, screen in seen.screens]
    assert any(re.search(r"\[\d/3\] runs [━─]{8}", state) for state in states)
    for job in ("ft-s0", "lora-s0"):
        assert any(f"  {job}: " in state for state in states), job
    assert rows[-1].startswith("see everything:")
