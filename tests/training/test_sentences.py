"""What a training says about itself, and shows on a terminal."""

import re

import pytest

from grace_geom.training import directory, train_run
from grace_geom.training.sentences import held_out
from tests.screen import Terminal
from tests.small_run import small_config


def test_held_out_accuracy_comes_with_its_number_of_images():
    clean = {"step": 10, "val_acc": 0.7134, "val_n": 500}
    assert held_out(clean) == "held-out accuracy 71.3 % (n = 500)"
    attacked = clean | {"val_acc_pgd": 0.12, "val_pgd_n": 200}
    assert held_out(attacked).endswith("% (n = 500), under PGD 12.0 % (n = 200)")


def test_held_out_images_have_a_row_while_they_are_looked_at(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    config = small_config(tmp_path, "ft", max_steps=1)
    # The first line has the path of the run, which no terminal of 80 columns holds everywhere.
    terminal = Terminal.instead_of_stderr(monkeypatch, 240)
    looks, real = [], directory.evaluate_set

    def looked_at(*args, **kwargs):
        terminal.redraw()
        looks.append(terminal.rows()[-1])
        return real(*args, **kwargs)

    monkeypatch.setattr(directory, "evaluate_set", looked_at)
    train_run(config)
    assert len(looks) == 1 and re.fullmatch(r"  \d+ held-out images  \d+ s so far", looks[0])
    assert not [row for row in terminal.rows() if "so far" in row or "left" in row]
    assert terminal.screen.wrapped == 0
