"""What is offered in the place of a name that is not known."""

import pytest

from grace_geom.errors import nearest

FLAGS = ["--attack-steps", "--eps", "--epochs", "--lr", "--max-steps", "--schedule", "--lambda-gv"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("--steps", "did you mean '--max-steps' or '--attack-steps' or '--eps'?"),
        ("--steps-of-attack", "did you mean '--attack-steps' or '--max-steps'?"),
        ("--scheduel", "did you mean '--schedule'?"),
        ("--Lambda_GV", "did you mean '--lambda-gv'?"),
        ("--qqq", "valid: --attack-steps, --epochs, --eps, "),
    ],
)
def test_names_that_share_words_come_before_those_that_share_letters(name, said):
    assert nearest(name, FLAGS).startswith(said)
