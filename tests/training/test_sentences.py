"""What a training says about itself, and shows on a terminal."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from grace_geom.training import directory, train_run
from grace_geom.training.sentences import held_out, introduction
from tests.screen import Terminal
from tests.small_run import small_config


def test_held_out_accuracy_comes_with_its_number_of_images():
    clean = {"step": 10, "val_acc": 0.7134, "val_n": 500}
    assert held_out(clean) == "held-out accuracy 71.3 % (n = 500)"
    attacked = clean | {"val_acc_pgd": 0.12, "val_pgd_n": 200}
    assert held_out(attacked).endswith("% (n = 500), under PGD 12.0 % (n = 200)")


class Images:
    """So many held-out images."""

    labelled = True

    def __init__(self, n: int, how: str) -> None:
        self.n, self.note = n, {"how": how}

    def __len__(self) -> int:
        return self.n


@pytest.mark.parametrize(
    ("n", "how", "says"),
    [
        (
            24,
            "val: seeded 0.1 of train",
            r"24 .* to ±19 points .* a larger --val-fraction \(now 0\.1",
        ),
        (
            199,
            "the data set's own",
            r"199 .* to ±7 points .*; they are the data's own validation part",
        ),
        (
            100,
            "the data set's own",
            r"100 .* to ±10 points .* a larger --val-images \(now 100\) looks at more",
        ),
        (200, "the data set's own", None),
        (0, "the data set's own", None),
    ],
)
def test_few_held_out_images_are_warned_of(n, how, says):
    config = SimpleNamespace(
        train_images=None, batch_size=8, model="m", method="ft", data="npz:x", val_images=100,
        val_fraction=0.1,
    )  # fmt: skip
    data = {"train": {"images": 500}, "test_images": 50}
    where = {"data": data, "precision": "float32", "device_name": "cpu"}
    kept = SimpleNamespace(config=config, val=Images(n, how), where=where, out=Path("run"))
    plan = SimpleNamespace(total_steps=10, steps_per_epoch=5)
    trainer = SimpleNamespace(
        run=SimpleNamespace(step=0), plan=plan, method=SimpleNamespace(lr=0.1)
    )
    told = introduction(kept, trainer)[1:]
    assert len(told) == (says is not None)
    assert all(re.match(f"warning: {says}", line) for line in told)
    plan.total_steps = 0  # nothing is chosen where nothing is trained
    assert introduction(kept, trainer)[1:] == []


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
