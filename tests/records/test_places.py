"""The file of a checkpoint, and what is offered where there is none."""

import pytest

from grace_geom.errors import UserError
from grace_geom.records.places import checkpoint_file


@pytest.fixture
def runs(tmp_path):
    """``runs/grace-s0/ckpt.pt``, ``runs/grace-s0/checkpoints/step-10.pt`` and an empty run."""
    for name in ("grace-s0/ckpt.pt", "grace-s0/checkpoints/step-10.pt"):
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "runs" / "empty").mkdir()
    return tmp_path / "runs"


def test_a_run_directory_stands_for_its_checkpoint(runs):
    file = runs / "grace-s0" / "ckpt.pt"
    assert checkpoint_file(runs / "grace-s0") == checkpoint_file(str(file)) == file


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("grase-s0", "did you mean 'grace-s0'"),
        ("grase-s0/ckpt.pt", "did you mean 'grace-s0/ckpt.pt'"),
        ("grace-s0/checkpoints/step-20.pt", "did you mean 'step-10.pt'"),
        ("empty", "give a file, or a run directory with a ckpt.pt"),
        ("quite/another", "give a file, or a run directory with a ckpt.pt"),
    ],
)
def test_a_near_name_is_offered(runs, name, hint):
    with pytest.raises(UserError, match="no such checkpoint") as wrong:
        checkpoint_file(runs / name)
    assert hint in str(wrong.value)
