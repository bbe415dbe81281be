"""Checkpoints that were not measured on the same images: each count is its own, each mark is there,
and no kept number answers for other images.
"""

import numpy as np
import pytest

from grace_geom.analysis import parameter_drift
from grace_geom.analysis.alike import marked
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown, analyse, sample_text
from grace_geom.analysis.subject import open_subject
from grace_geom.errors import UserError
from grace_geom.records import Measure, Result
from grace_geom.records.used_images import UsedImages, unlike
from grace_geom.tables import Table
from tests.analysis.parts import nothing
from tests.evaluation.test_evaluate import make_run, save_npz


def table(parts: dict[str, Part], options: Common) -> Shown:
    rows = [[label, f"{part.values['x'].value:g}"] for label, part in parts.items()]
    notes = [f"{sample_text(parts, options)}."]
    return Shown((Table(["checkpoint", "x"], rows, notes=notes),))


def measure(subject, options, state) -> Part:
    pixels = sum(float(b.images.sum()) for b in subject.batches(subject.images()))
    return Part({"x": Measure(pixels)})


def test_runs_on_other_images_are_marked_measured_or_kept(tmp_path, capsys):
    train = save_npz(tmp_path / "train.npz", 12, 0)
    data, same, other = (
        f"{train}+{save_npz(tmp_path / f'{name}.npz', 6, seed).removeprefix('npz:')}"
        for name, seed in (("test", 1), ("copy", 1), ("other", 2))
    )
    runs = {
        n: make_run(tmp_path / n, d, {}) for n, d in zip("abc", (data, same, other), strict=True)
    }

    def call(*names: str) -> tuple[str, Result]:
        options = Common(tuple(runs[n] for n in names), out=tmp_path / "out")
        path = analyse("sums", options, measure, table, nothing)
        return " ".join(capsys.readouterr().out.split()), Result.load(path)

    for _ in range(2):  # measured, then known
        said, result = call("a", "b", "c")
        (n, here), (_, there) = (result.checkpoints[i]["images"]["id"] for i in (0, 2))
        assert result.checkpoints[1]["images"]["id"] == [n, here]
        told = f"† c is not measured on the images of the others: id on 6 images ({there[:6]}), not"
        assert " c † " in said and told in said and f"not 6 images ({here[:6]})." in said
        assert " a † " not in said and " b † " not in said
    assert "†" not in call("a", "b")[0]


def test_rows_are_told_apart_by_what_most_have():
    a, b = UsedImages(6, "a" * 16), UsedImages(6, "b" * 16)
    assert unlike({"x": {"id": a}, "y": {"id": a}}) == unlike({}) == {}
    found = unlike({"x": {"id": b}, "y": {"id": a}, "z": {"id": a}})
    assert list(found) == ["x"]
    found = unlike({"x": {"id": a, "far": a}, "y": {"id": a}, "z": {"id": a, "near": b}})
    assert found["y"].endswith("others: without far.")
    assert found["z"].endswith("others: without far; with near.")
    rows = [["y", "1"], ["z at y", "2"], ["x", "3"]]
    shown = marked(Table(["", "n"], rows), {"y": "why"})
    assert [row[0] for row in shown.rows] == ["y †", "z at y †", "x"] and shown.notes == ["† why"]


def test_two_splits_of_one_set_keep_their_own_counts(tmp_path):
    data = save_npz(tmp_path / "one.npz", 40, 0)
    run = make_run(tmp_path / "run", data, {"whole": data, "again": data})
    subject = open_subject(run / "ckpt.pt", "run", Common((run,)))
    tested, whole = len(subject.images()), len(subject.images(data, "eval"))
    assert 0 < tested < whole
    found = {name: sample.n for name, sample in subject.samples().items()}
    assert found == {"id": tested, "whole": whole, "again": whole}


@pytest.mark.parametrize("name", ["id", "adv"])
def test_an_ood_set_of_the_run_cannot_take_the_place_of_another_domain(tmp_path, name):
    data, far = save_npz(tmp_path / "one.npz", 40, 0), save_npz(tmp_path / "far.npz", 6, 1)
    run = make_run(tmp_path / "run", data, {name: far})
    subject = open_subject(run / "ckpt.pt", "run", Common((run,)))
    with pytest.raises(UserError, match=f"calls an OOD set {name}.*--ood NAME=SPEC"):
        subject.ood()
    named = Common((run,), ood={"far": far})
    assert open_subject(run / "ckpt.pt", "run", named).ood() == {"far": far}


def test_a_zero_shot_set_that_was_replaced_is_measured_again(tmp_path):
    data = save_npz(tmp_path / "train.npz", 12, 0)
    run, path = make_run(tmp_path / "run", data, {}), tmp_path / "zs.npz"
    zeroshot = {"zs": save_npz(path, 6, 3)}
    options = parameter_drift.ParameterDriftOptions((run,), zeroshot=zeroshot, out=tmp_path / "out")
    calls = []

    def counted(subject, options, state) -> Part:
        calls.append(subject.images(zeroshot["zs"], "eval", "zeroshot").labels.tolist())
        return Part({"x": Measure(0.0)})

    for fresh in (True, False, True):
        if fresh and calls:
            with np.load(path) as file:
                np.savez(path, images=255 - file["images"], labels=file["labels"])
        analyse("drift", options, counted, table, nothing)
    assert len(calls) == 2
