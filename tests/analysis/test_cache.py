"""What an analysis takes from its cache: only what was measured on the data as they are now."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from grace_geom.analysis.features.cache import Kept
from grace_geom.analysis.features.extract import Features
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown, analyse, folder_of, sample_text
from grace_geom.analysis.subject import open_subject
from grace_geom.checkpoint import checkpoint_of, save_checkpoint
from grace_geom.data import resolve
from grace_geom.data.membership import keys_of
from grace_geom.records import Measure, Result
from grace_geom.tables import Table
from tests.analysis.parts import nothing, only
from tests.evaluation.test_evaluate import make_run, save_npz
from tests.evaluation.test_identity import count_reads, text_tower, tower_file, with_text_of
from tests.toys import register_toy, toy_clip


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
        analyse("sums", options, measure, lambda parts, options: Shown(()), nothing)
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
        analyse("counts", options, measure, lambda parts, options: Shown(()), nothing)
        return capsys.readouterr().err

    assert "replaces" not in call(6) and "replaces" not in call(6)
    assert "counts.json (n 6 -> 4): what was measured is kept" in call(4)
    assert "(n 4 -> 6)" in call(6)
    assert measured == [6, 4]
    assert "(checkpoints run -> run, other)" in call(6, other)


def test_n_is_told_as_used_not_as_asked(tmp_path, capsys):
    test, far = save_npz(tmp_path / "test.npz", 6, 1), save_npz(tmp_path / "far.npz", 4, 2)
    data = save_npz(tmp_path / "train.npz", 12, 0) + "+" + test.removeprefix("npz:")
    run = make_run(tmp_path / "run", data, {"far": far})

    def measure(subject, options, state):
        subject.images()
        if options.seed:
            subject.images(subject.ood()["far"], "eval")
        return Part({"x": Measure(1.0)})

    def table(parts, options):
        return Shown((Table(["x"], [["1"]], notes=[f"{sample_text(parts, options)}."]),))

    for seed in (0, 0, 1, 1):  # measured, then from the cache
        options = Common((run,), out=tmp_path / "out", n=1000, seed=seed)
        (part,) = Result.load(analyse("counts", options, measure, table, nothing)).parts.values()
        far_too = ", far: 4" if seed else ""
        assert f"n = 6 (asked: 1000){far_too}." in capsys.readouterr().out
        assert part.n == {"id": 6} | ({"far": 4} if seed else {})


def test_results_of_several_runs_lie_in_the_nearest_folder_that_holds_them_all(tmp_path):
    one, other = tmp_path / "study" / "ft-s0" / "ckpt.pt", tmp_path / "study" / "at-s0" / "ckpt.pt"
    elsewhere = tmp_path / "photos" / "ckpt.pt"
    assert folder_of(None, [one]) == one.parent / "analyses"
    assert folder_of(None, [one, other]) == tmp_path / "study" / "analyses"
    assert folder_of(None, [one, elsewhere]) == tmp_path / "analyses"
    assert folder_of(tmp_path / "x", [one, elsewhere]) == tmp_path / "x"


def toy_data(tmp_path) -> str:
    test = save_npz(tmp_path / "test.npz", 6, 1).removeprefix("npz:")
    return f"{save_npz(tmp_path / 'train.npz', 12, 0)}+{test}"


@dataclass(frozen=True)
class Pair(Common):
    """Options of an analysis that reads a second checkpoint."""

    other: Path | None = None

    def others(self) -> tuple[Path, ...]:
        return () if self.other is None else (self.other,)


def text_sum(subject, options, state) -> Part:
    """Numbers of both towers and of the second checkpoint."""
    values = {"head": subject.model.head["head.weight"].double().sum().item()}
    if options.other is not None:
        other = open_subject(options.other, "other", options).model.weights()
        values["other"] = other["visual.proj"].double().sum().item()
    return Part({name: Measure(value) for name, value in values.items()})


def values_of(options: Common) -> dict[str, float]:
    path = analyse("sums", options, text_sum, lambda parts, options: Shown(()), nothing)
    return {name: m.value for name, m in only(Result.load(path)).values.items()}


def test_another_text_tower_under_the_same_name_is_measured_again(tmp_path):
    data, out = toy_data(tmp_path), tmp_path / "out"
    tower, text = tower_file(tmp_path / "tower.pt"), tmp_path / "text.pt"
    seen = []
    for seed in (0, 6):
        text_tower(text, seed)
        options = Pair(
            (tower,), data=data, n=6, out=out, model=register_toy(), pretrained=str(text)
        )
        head = with_text_of(seed, resolve(data, "test").templates).head["head.weight"]
        seen.append(values_of(options)["head"])
        assert seen[-1] == pytest.approx(head.double().sum().item())
    assert seen[0] != pytest.approx(seen[1])


def test_another_checkpoint_that_was_replaced_is_read_again_and_each_is_read_once(
    tmp_path, monkeypatch
):
    data = toy_data(tmp_path)
    run, other = make_run(tmp_path / "run", data, {}), make_run(tmp_path / "other", data, {})
    options = Pair((run,), n=6, out=tmp_path / "out", other=other / "ckpt.pt")
    reads = count_reads(monkeypatch)
    for seed in (0, 3):
        make_run(tmp_path / "other", data, {}, seed=seed)
        expected = toy_clip(seed).weights()["visual.proj"].double().sum().item()
        assert values_of(options)["other"] == pytest.approx(expected)
    for folder in (run, other):  # in two analyses
        assert reads(folder / "ckpt.pt") == {"load": 2, "hash": 2}


def test_a_checkpoint_that_a_training_replaces_is_one_state_in_an_analysis(tmp_path):
    data = toy_data(tmp_path)
    runs = [make_run(tmp_path / name, data, {}) for name in ("a", "b")]

    def measure(subject, options, state):
        found = open_subject(runs[1] / "ckpt.pt", "b", options).model.weights()["visual.proj"]
        make_run(tmp_path / "b", data, {}, seed=5)  # as a training does
        return Part({"b": Measure(found.double().sum().item())})

    @dataclass(frozen=True)
    class Both(Common):
        def others(self) -> tuple[Path, ...]:
            return self.checkpoints

    options = Both(tuple(runs), n=6, out=tmp_path / "out")
    path = analyse("both", options, measure, lambda parts, options: Shown(()), nothing)
    a, b = (Result.load(path).parts[name].values["b"].value for name in "ab")
    assert a == b == pytest.approx(toy_clip(0).weights()["visual.proj"].double().sum().item())


def test_other_checkpoints_are_called_as_they_are_called_now(tmp_path):
    data = toy_data(tmp_path)
    runs = [make_run(tmp_path / name, data, {}, seed=i) for i, name in enumerate("ab")]

    @dataclass(frozen=True)
    class Both(Common):
        def others(self) -> tuple[Path, ...]:
            return self.checkpoints

    def measure(subject, options, state):
        found = {}
        for path in options.checkpoints:
            other = open_subject(path / "ckpt.pt", path.name, options).model.weights()
            found[path.name] = Measure(other["visual.proj"].double().sum().item())
        return Part(found)

    def sums(*paths: Path) -> dict[str, float]:
        options = Both(paths, n=6, out=tmp_path / "out")
        path = analyse("both", options, measure, lambda parts, options: Shown(()), nothing)
        (first, _) = Result.load(path).parts.values()
        return {name: m.value for name, m in first.values.items()}

    before = sums(*runs)
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (tmp_path / old).rename(tmp_path / new)
    assert before["a"] != before["b"]
    assert sums(tmp_path / "b", tmp_path / "a") == {"a": before["b"], "b": before["a"]}


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "json", "other settings", "fewer"])
def test_damaged_features_are_said_and_collected_anew(tmp_path, capsys, damage):
    y = torch.arange(3)
    kept = Kept(tmp_path, {"model": "a"})
    assert kept.read(y, "images", "id") is None and not capsys.readouterr().err
    kept.write(Features({"embedding": torch.eye(3)}, y, "images", "id"))
    (file,) = tmp_path.glob("feat-*.npz")
    found = kept.read(y, "images", "id")
    assert found is not None and torch.equal(found.embedding, torch.eye(3))
    raw = file.read_bytes()
    at = raw.index(np.eye(3, dtype=np.float32).tobytes())
    if damage == "fewer":
        y = torch.arange(2)
    elif damage in ("json", "other settings"):
        file.with_suffix(".json").write_text('{"model": "b"}' if "other" in damage else "[")
    else:
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        file.write_bytes({"flipped": flipped, "cut": raw[:-9], "empty": b""}[damage])
    assert not capsys.readouterr().err and kept.read(y, "images", "id") is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file} is damaged: its features are collected anew (")


@pytest.mark.parametrize("members", [True, False])
def test_the_bound_counts_the_images_of_the_training_whatever_data_are_analysed(tmp_path, members):
    data, other = toy_data(tmp_path), save_npz(tmp_path / "other.npz", 60, 5)
    train = resolve(data, "train")
    kept = {"keys": torch.from_numpy(keys_of(train).view(np.int64))} if members else {}
    config = {"method": "ft", "data": data, "split_seed": 0}
    run = tmp_path / "run" / "ckpt.pt"
    save_checkpoint(run, replace(checkpoint_of(toy_clip(), {}, config=config), members=kept))
    for analysed in (None, other):
        subject = open_subject(run, "run", Common((run,), data=analysed))
        assert subject.train_count() == len(train)
