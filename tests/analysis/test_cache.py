"""What an analysis takes from its cache: only what was measured on the data as they are now."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown, analyse, folder_of
from grace_geom.records import Measure
from tests.evaluation.test_evaluate import make_run, save_npz


@pytest.mark.parametrize("replaced", ["test", "shift"])
def test_replaced_data_are_measured_again(tmp_path, replaced):
    data = (
        save_npz(tmp_path / "train.npz", 12, 0)
        + "+"
        + save_npz(tmp_path / "test.npz", 6, 1).removeprefix("npz:")
    )
    run = make_run(tmp_path / "run", data, {"shift": save_npz(tmp_path / "shift.npz", 6, 2)})
    measured: list[float] = []

    def measure(subject, options, state):
        sets = [
            subject.images(),
            *(subject.images(spec, "eval") for spec in subject.ood().values()),
        ]
        measured.append(
            sum(float(batch.images.sum()) for s in sets for batch in subject.batches(s))
        )
        return Part({"sum": Measure(measured[-1])})

    def again() -> list[float]:
        options = Common((run,), out=tmp_path / "out")
        analyse("sums", options, measure, lambda parts, options: Shown((), Figure()))
        return measured

    assert len(again()) == 1 and len(again()) == 1
    path = tmp_path / f"{replaced}.npz"
    with np.load(path) as file:
        images, labels = file["images"], file["labels"]
    np.savez(path, images=255 - images, labels=labels)
    assert len(again()) == 2 and measured[0] != measured[1]


def test_a_result_of_other_settings_is_replaced_aloud_and_comes_back(tmp_path, capsys):
    data = (
        save_npz(tmp_path / "train.npz", 12, 0)
        + "+"
        + save_npz(tmp_path / "test.npz", 6, 1).removeprefix("npz:")
    )
    run, other = make_run(tmp_path / "run", data, {}), make_run(tmp_path / "other", data, {})
    measured: list[int] = []

    def measure(subject, options, state):
        measured.append(options.n)
        return Part({"n": Measure(float(options.n))})

    def call(n: int, *more: Path) -> str:
        options = Common((run, *more), out=tmp_path / "out", n=n)
        analyse("counts", options, measure, lambda parts, options: Shown((), Figure()))
        return capsys.readouterr().err

    assert "replaces" not in call(6) and "replaces" not in call(6)
    assert "counts.json (n 6 -> 4): what was measured is kept" in call(4)
    assert "(n 4 -> 6)" in call(6)
    assert measured == [6, 4]
    assert "(checkpoints run -> run, other)" in call(6, other)


def test_results_of_several_runs_lie_in_the_nearest_folder_that_holds_them_all(tmp_path):
    one, other = tmp_path / "study" / "ft-s0" / "ckpt.pt", tmp_path / "study" / "at-s0" / "ckpt.pt"
    elsewhere = tmp_path / "photos" / "ckpt.pt"
    assert folder_of(None, [one]) == one.parent / "analyses"
    assert folder_of(None, [one, other]) == tmp_path / "study" / "analyses"
    assert folder_of(None, [one, elsewhere]) == tmp_path / "analyses"
    assert folder_of(tmp_path / "x", [one, elsewhere]) == tmp_path / "x"
