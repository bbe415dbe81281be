"""A run knows its images: a changed folder is refused on --resume, and what was trained on is never
tested on.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from grace_geom.checkpoint import load_checkpoint, save_checkpoint
from grace_geom.data import resolve
from grace_geom.data.keys import keys_of, pixel_keys_of
from grace_geom.data.membership import unseen
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation import DialOptions, Measures, Source, assess, dial
from grace_geom.files import alone
from grace_geom.serialise import read_yaml, to_yaml
from grace_geom.training.directory import RunDirectory
from tests.data.makers import encoded
from tests.small_run import lines, small_run, write_npz
from tests.toys import CLASSES, toy_batch

ID = Measures(suites=("id",))
CPU = Source(device="cpu")


def toy_folder(folder: Path, n: int = 60, seed: int = 1) -> str:
    batch = toy_batch(n, seed=seed)
    images = (batch.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for i, (image, label) in enumerate(zip(images, batch.labels.tolist(), strict=True)):
        path = folder / CLASSES[label] / f"{seed}-{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
    return f"folder:{folder}"


def train_files(spec: str) -> list[Path]:
    train = resolve(spec, "train")
    root = Path(spec.partition(":")[2])
    return [root / train.fetch.inner.names[i] for i in train.fetch.positions]  # type: ignore[attr-defined]


def stopped(tmp_path: Path, spec: str) -> Path:
    with pytest.raises(Interrupted):
        small_run(tmp_path, "ft", data=spec, stop_after=3)
    return tmp_path / "run"


def relabel(spec: str) -> None:
    path = train_files(spec)[0]
    other = next(name for name in CLASSES if name != path.parent.name)
    path.rename(path.parent.parent / other / path.name)


def classes_in(spec: str, names: list[str]) -> None:
    (Path(spec.partition(":")[2]) / "classes.json").write_text(json.dumps(names))


CHANGES = {
    "new": (
        lambda spec: toy_folder(Path(spec.partition(":")[2]), 40, seed=2),
        r"training images are new: .*2-000\.png.* and \d+ more; \d+ held-out image",
    ),
    "gone": (
        lambda spec: train_files(spec)[0].unlink(),
        rf"1 training image is gone: 1 of '{CLASSES[0]}'",
    ),
    "relabelled": (relabel, r"1 training image is labelled otherwise: .*1-\d+\.png \(was "),
    "replaced": (
        lambda spec: train_files(spec)[0].write_bytes(
            encoded(np.zeros((16, 16, 3), dtype=np.uint8))
        ),
        "1 training image is gone",
    ),
    "renamed": (
        lambda spec: [p.rename(p.with_name(f"z{p.name}")) for p in train_files(spec)[:3]],
        "the same training images come in another order",
    ),
    "class order": (
        lambda spec: classes_in(spec, sorted(CLASSES)[::-1]),
        "the classes come in another order: class 0 was",
    ),
    "class name": (
        lambda spec: classes_in(spec, ["something", *sorted(CLASSES)[1:]]),
        r"is gone; class 'something' is new",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resume_refuses_changed_data_and_names_what_changed(tmp_path: Path, change: str):
    spec = toy_folder(tmp_path / "toy")
    out = stopped(tmp_path, spec)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    act, message = CHANGES[change]
    act(spec)
    with pytest.raises(UserError, match=message) as error:
        small_run(tmp_path, "ft", data=spec, resume=True)
    assert len(str(error.value).splitlines()) == 1
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_resume_anyway_is_on_record_and_both_sets_of_images_count_as_trained_on(tmp_path: Path):
    spec = toy_folder(tmp_path / "toy")
    stopped(tmp_path, spec)
    first = keys_of(resolve(spec, "train"))
    train_files(spec)[0].unlink()
    out = small_run(tmp_path, "ft", data=spec, resume_anyway=True)
    now = keys_of(resolve(spec, "train"))
    members = load_checkpoint(out).members
    kept = {key % 2**64 for name in ("keys", "earlier") for key in members[name].tolist()}
    assert kept == {*first.tolist(), *now.tolist()} and len(kept) > len(now)
    stored = read_yaml(out / "config.yaml")
    assert stored["resume_anyway"] is False
    (news,) = next(v for k, v in stored.items() if isinstance(v, dict) and "resumed" in v)[
        "resumed"
    ]
    assert "1 training image is gone" in news["data"]["changed"][0]


def test_data_that_moved_as_a_whole_is_the_same_data(tmp_path: Path):
    spec = toy_folder(tmp_path / "toy")
    whole = small_run(tmp_path, "ft", data=spec, out=str(tmp_path / "whole"))
    out = stopped(tmp_path, spec)
    shutil.copytree(tmp_path / "toy", tmp_path / "copy")  # other times of change
    shutil.rmtree(tmp_path / "toy")
    shutil.move(tmp_path / "copy", tmp_path / "toy")
    small_run(tmp_path, "ft", data=spec, resume=True)
    assert (out / "ckpt.pt").read_bytes() == (whole / "ckpt.pt").read_bytes()


def test_a_run_of_an_earlier_version_is_told_by_its_record(tmp_path: Path):
    spec = toy_folder(tmp_path / "toy")
    out = stopped(tmp_path, spec)
    save_checkpoint(out / "ckpt.pt", replace(load_checkpoint(out), members={}))
    stored = (out / "config.yaml").read_text()
    small_run(tmp_path, "ft", data=spec, resume=True)  # the record agrees
    shutil.rmtree(out)
    stopped(tmp_path, spec)
    save_checkpoint(out / "ckpt.pt", replace(load_checkpoint(out), members={}))
    digest = read_yaml(out / "config.yaml")
    ids = next(v for v in digest.values() if isinstance(v, dict) and "data" in v)["data"]["train"]
    (out / "config.yaml").write_text(
        stored.replace(ids["ids_sha256"], "f" * 16).replace("split_rule", "was_not_there")
    )
    with pytest.raises(UserError, match="an earlier version drew its splits by another rule"):
        small_run(tmp_path, "ft", data=spec, resume=True)


def test_images_that_were_trained_on_are_left_out_of_every_test(tmp_path: Path):
    spec = toy_folder(tmp_path / "toy")
    out = small_run(tmp_path, "ft", data=spec)
    clean = assess(out, ID, CPU).accuracies[0]
    assert "left_out" not in clean.subset and not clean.notes
    other = f"folder:{tmp_path / 'other'}"
    shutil.copytree(tmp_path / "toy", tmp_path / "other")  # all of it is "eval"
    train, whole = resolve(spec, "train"), resolve(other, "eval")
    measures = Measures(suites=("ood",), ood={"other": other})
    found = assess(out, measures, CPU).accuracies[-1]
    assert found.n == len(whole) - len(train) and found.subset["left_out"] == len(train)
    assert found.notes == (
        f"{other}: {len(train)} of 60 images were left out: the run was trained on them.",
    )
    part = assess(out, replace(measures, n=5), CPU).accuracies[-1]
    assert part.n == 5 and len(part.subset["ids"]) == 5
    seen = {key % 2**64 for key in load_checkpoint(out).members["keys"].tolist()}
    assert not {int(keys_of(whole)[i]) for i in part.subset["ids"]} & seen
    for path in train_files(spec):
        path.rename(path.with_name(f"copy-{path.name}"))  # renamed: still trained on
    again = assess(out, ID, CPU, fresh=True).accuracies[0]
    assert (again.n, again.correct) == (clean.n, clean.correct)
    record = dial(out, DialOptions(t=(1.0,)), ID, CPU)[0]
    assert record.points[0].accuracies[0].correct == clean.correct


def test_a_test_set_that_was_trained_on_whole_is_refused(tmp_path: Path):
    spec = toy_folder(tmp_path / "toy")
    out = small_run(tmp_path, "ft", data=spec)
    for i, path in enumerate(train_files(spec)):
        target = tmp_path / "mine" / path.parent.name / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    measures = Measures(suites=("ood",), ood={"mine": f"folder:{tmp_path / 'mine'}"})
    with pytest.raises(UserError, match=r"was trained on all \d+ images"):
        assess(out, measures, CPU)


def test_the_data_of_a_run_without_a_list_are_known_however_their_path_is_written(
    tmp_path: Path, monkeypatch
):
    spec = write_npz(tmp_path)
    run = SimpleNamespace(config={"data": spec, "method": "ft"}, step=3, members={})
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for other in ("npz:toy.npz", "npz:./toy.npz", f"npz:{tmp_path}/link/toy.npz"):
        with pytest.raises(UserError, match="kept no list of its training images"):
            unseen(resolve(other, "test"), run)
    shutil.copy("toy.classes.json", "other.classes.json")
    shutil.copy("toy.npz", "other.npz")
    assert "is unknown" in unseen(resolve("npz:other.npz", "test"), run).note["told"][0]
    run.config |= {"data": "npz:toy.npz", "data_root": str(tmp_path)}
    monkeypatch.chdir("/")
    with pytest.raises(UserError, match="kept no list of its training images"):
        unseen(resolve(spec, "test"), run)


def test_unknown_membership_is_said_or_refused(tmp_path: Path):
    spec = toy_folder(tmp_path / "toy")
    out = small_run(tmp_path, "ft", data=spec)
    save_checkpoint(out / "ckpt.pt", replace(load_checkpoint(out), members={}))
    with pytest.raises(UserError, match="kept no list of its training images"):
        assess(out, ID, CPU)
    other = toy_folder(tmp_path / "other", 12, seed=3)
    found = assess(out, Measures(suites=("ood",), ood={"o": other}), CPU).accuracies[-1]
    assert "whether some of these are among them is unknown" in found.notes[0]
    zero = small_run(tmp_path, "zero-shot", data=spec, out=str(tmp_path / "zero"))
    save_checkpoint(zero / "ckpt.pt", replace(load_checkpoint(zero), members={}))
    assert not assess(zero, ID, CPU).accuracies[0].notes


def test_copies_across_parts_are_counted_told_and_left_out(tmp_path: Path, capsys):
    toy_folder(tmp_path / "toy" / "train")
    toy_folder(tmp_path / "toy" / "test", 20, seed=2)
    for i, path in enumerate(sorted((tmp_path / "toy" / "train").rglob("*.png"))[::15]):
        shutil.copy(path, tmp_path / "toy" / "test" / path.parent.name / f"copy{i}.png")
    spec = f"folder:{tmp_path / 'toy'}"
    out = small_run(tmp_path, "ft", data=spec)
    copied = 4 - sum(key in keys_of(resolve(spec, "val")) for key in keys_of(resolve(spec, "test")))
    err = capsys.readouterr().err
    assert f"{copied} of 24 test images are exact copies of training images" in err
    stored = read_yaml(out / "config.yaml")
    record = next(v for v in stored.values() if isinstance(v, dict) and "data" in v)["data"]
    assert record["copies"] == {"test": copied} and record["test_images"] == 24
    assert record["members"]["n"] == len(load_checkpoint(out).members["keys"])
    assert assess(out, ID, CPU).accuracies[0].n == 24 - copied


def test_other_files_of_the_same_pixels_in_a_drawn_test_part_are_counted_and_told(
    tmp_path: Path, capsys
):
    toy_folder(tmp_path / "toy")
    for i, path in enumerate(sorted((tmp_path / "toy").rglob("*.png"))):
        Image.open(path).save(path.with_name(f"again{i}.png"), compress_level=1)
    spec = f"folder:{tmp_path / 'toy'}"
    train, test = resolve(spec, "train"), resolve(spec, "test")
    twins = int(np.isin(pixel_keys_of(test), pixel_keys_of(train)).sum())
    assert twins > 0 and not np.isin(keys_of(test), keys_of(train)).any()
    out = small_run(tmp_path, "ft", data=spec)
    err = capsys.readouterr().err
    assert f"{twins} of {len(test)} test images" in err
    assert "are exact copies of training images" in err
    stored = read_yaml(out / "config.yaml")
    record = next(v for v in stored.values() if isinstance(v, dict) and "data" in v)["data"]
    assert record["copies"]["test"] == twins
    assert assess(out, ID, CPU).accuracies[0].n == len(test) - twins


def test_one_run_directory_has_one_training_at_a_time(tmp_path: Path):
    out = tmp_path / "run"
    with alone(out, "training"), pytest.raises(UserError, match="another process is at work"):
        small_run(tmp_path, "ft")
    assert not out.exists()
    with pytest.raises(Interrupted):
        small_run(tmp_path, "ft", stop_after=3)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with alone(out, "training"), pytest.raises(UserError, match="another process is at work"):
        small_run(tmp_path, "ft", resume=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    (out / ".lock").touch()  # what a killed process leaves
    small_run(tmp_path, "ft", resume=True)
    assert not (out / ".lock").exists()


def test_what_a_killed_process_left_before_its_first_file_is_no_run(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".config.yaml.x.part").touch()
    small_run(tmp_path, "ft", epochs=1)


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
@pytest.mark.parametrize("at", [2, 7])
def test_a_folder_that_goes_away_is_told_at_the_next_write(tmp_path, monkeypatch, how, at):
    out, away = tmp_path / "run", tmp_path / "away"
    emit = RunDirectory.emit

    def moving(self: RunDirectory, stream: str, record: dict) -> None:
        if record["step"] == at and not away.exists():
            out.rename(away)
            if how == "removed":
                shutil.rmtree(away / "checkpoints", ignore_errors=True)
            if how == "replaced":
                out.mkdir()
                (out / "mine.jsonl").write_text("{}\n")
        emit(self, stream, record)

    monkeypatch.setattr(RunDirectory, "emit", moving)
    with pytest.raises(UserError, match="was removed, renamed or replaced") as error:
        small_run(tmp_path, "ft", save_every=5)
    assert "last good checkpoint" not in str(error.value)
    left = sorted(p.name for p in out.iterdir()) if out.exists() else []
    assert left == (["mine.jsonl"] if how == "replaced" else [])
    if how == "renamed" and at == 7:
        monkeypatch.undo()
        small_run(tmp_path, "ft", save_every=5, resume=True, out=str(away))
        assert [r["step"] for r in lines(away / "metrics.jsonl") if "loss" in r] == list(
            range(1, 11)
        )


DAMAGED = {
    "metrics.jsonl": [
        b"5\n", b"[]\n", b"null\n", b'{"step": "a"}\n', b'{"seconds": 1.0}\n', b'{"step": null}\n',
        b'{"step": 1, "seconds": "x"}\n', b"\xff\xfe\n", b"\x00\x00\n", b'{"step": 1, "lo\n',
        b'{"step": 1.5}\n', b"[" * 100_000 + b"\n",
    ],
    "config.yaml": [
        b"5\n", b"\xff\xfe\x00", b"a: [1\n", b"lr: [1, 2]\n", b"method: 3\n", b"method: none\n",
        b"lr: x\n", b"data: {a: 1}\n", b"options: 3\n",
    ],
}  # fmt: skip


def test_a_damaged_record_of_a_resumed_run_is_one_line(tmp_path: Path):
    with pytest.raises(Interrupted):
        small_run(tmp_path, "ft", stop_after=3)
    out = tmp_path / "run"
    for name, contents in DAMAGED.items():
        whole = (out / name).read_bytes()
        for content in contents:
            (out / name).write_bytes(content + (whole if name == "metrics.jsonl" else b""))
            with pytest.raises(UserError) as error:
                small_run(tmp_path, "ft", resume=True)
            text = str(error.value)
            assert len(text.splitlines()) == 1 and len(text) < 500, text
            if name == "metrics.jsonl":
                assert "metrics.jsonl, line 1 is damaged" in text
        (out / name).write_bytes(whole)
    stored = read_yaml(out / "config.yaml")
    key = next(k for k, v in stored.items() if isinstance(v, dict) and "data" in v)
    for record in (5, [1], "x", {"resumed": 3}):
        (out / "config.yaml").write_text(to_yaml(stored | {key: record}))
        with pytest.raises(UserError, match=r"config\.yaml is damaged"):
            small_run(tmp_path, "ft", resume=True)
    (out / "config.yaml").write_text(to_yaml(stored))
    small_run(tmp_path, "ft", resume=True)


def test_members_are_in_every_checkpoint_in_the_order_of_training(tmp_path: Path):
    out = small_run(tmp_path, "ft", train_images=30)
    train = resolve(f"npz:{tmp_path / 'toy.npz'}", "train").subset(30, 0)
    for file in (out / "ckpt.pt", out / "checkpoints" / "best.pt"):
        members = load_checkpoint(file).members
        assert np.array_equal(members["keys"].numpy().view(np.uint64), keys_of(train))
        assert members["labels"].tolist() == train.labels.tolist()
        assert members["keys"].dtype == torch.int64
