"""A kept result answers only for what it was measured on, and a weak one never replaces a strong
one.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grace_geom.attacks import AttackSpec
from grace_geom.data import resolve
from grace_geom.errors import UserError
from grace_geom.evaluation import Measures, Source, assess, identity
from grace_geom.evaluation.table import accuracy_table
from grace_geom.files import read_whole, sha256
from grace_geom.records import Accuracy, DialRecord, EvalRecord, summarise
from tests.accuracies import all_wrong
from tests.evaluation.test_evaluate import (
    PGD,
    evaluate,
    make_run,
    run,  # noqa: F401  # a fixture
    save_npz,
)
from tests.toys import CLASSES, TEMPLATES, register_toy, toy_batch, toy_clip, write_weights

ID = Measures(suites=("id",))


def right_of(model, n: int = 30, seed: int = 1) -> np.ndarray:
    """The answers of a model to the images of ``save_npz``, without the code under test."""
    batch = toy_batch(n, seed)
    return (model((batch.images * 255).round() / 255).argmax(1) == batch.labels).numpy()


def set_of_30(folder: Path) -> str:
    """A training set, and a test set of 30 images."""
    test = save_npz(folder / "test.npz", 30, 1).removeprefix("npz:")
    return f"{save_npz(folder / 'train.npz', 12, 0)}+{test}"


def tower_file(path: Path) -> Path:
    state = toy_clip().clip.state_dict()
    torch.save({n: w for n, w in state.items() if n.startswith("visual.")}, path)
    return path


def text_tower(path: Path, seed: int) -> Path:
    torch.save(toy_clip(seed).clip.state_dict(), path)
    return path


def with_text_of(seed: int, templates: tuple[str, ...]):
    """The image tower of seed 0 under the text tower of another seed."""
    model = toy_clip(seed)
    own = {n: w for n, w in toy_clip().clip.state_dict().items() if n.startswith("visual.")}
    model.clip.load_state_dict(model.clip.state_dict() | own)
    return model.with_head(CLASSES, templates)


@pytest.mark.parametrize("how", ["another path", "replaced under its name"])
def test_another_text_tower_is_another_model(tmp_path, how):
    data, tower = set_of_30(tmp_path), tower_file(tmp_path / "tower.pt")
    templates = resolve(data, "test").templates
    seen = []
    for seed in (0, 6, 0):
        name = "text.pt" if how.startswith("replaced") else f"text{seed}.pt"
        text_tower(tmp_path / name, seed)
        source = Source(data=data, model=register_toy(), pretrained=str(tmp_path / name))
        said: list[str] = []
        record = assess(tower, ID, source, say=said.append)
        expected = right_of(with_text_of(seed, templates))
        np.testing.assert_array_equal(record.accuracies[0].right(), expected)
        seen.append((expected.tolist(), record.accuracies[0].seconds, len(said)))
    assert seen[0][0] != seen[1][0], "the two text towers must be told apart by these images"
    assert [told for *_, told in seen] == [0, 1, 1], "what became of the other's record is said"
    assert seen[2] == (*seen[0][:2], 1), "the first model's record came back, not measured again"


def test_replaced_class_names_and_another_network_are_another_model(tmp_path):
    names, foreign = tmp_path / "names.json", tmp_path / "foreign.pt"
    data = set_of_30(tmp_path)
    torch.save(toy_clip().clip.state_dict(), foreign)
    templates = resolve(data, "test").templates
    source = Source(data=data, model=register_toy(), classes=names)
    for order in (CLASSES, ("square", "star", "circle", "heart")):
        names.write_text(json.dumps(order))
        found = assess(foreign, ID, source).accuracies[0]
        model = toy_clip().with_head(order, templates)
        batch = toy_batch(30, 1)
        logits = model((batch.images * 255).round() / 255)
        columns = [order.index(name) for name in CLASSES]
        right = (logits[:, columns].argmax(1) == batch.labels).sum()
        assert found.correct == right


def test_the_same_tensors_in_another_network_are_another_model():
    def network(**change) -> dict[str, str]:
        model = toy_clip()
        for module in model.modules():
            for name, value in change.items():
                if hasattr(module, name):
                    setattr(module, name, value)
        return identity.of_model(model)

    plain = network()
    assert network() == plain
    assert identity.changed(plain, network(eps=1e-3)) == ["network"]
    assert identity.changed(plain, network(num_heads=1)) == ["network"]
    gelu = toy_clip()
    block = gelu.clip.visual.transformer.resblocks[0]
    block.mlp.gelu = torch.nn.SiLU()
    assert "network" in identity.changed(plain, identity.of_model(gelu))
    lighter = toy_clip()
    lighter.mean.add_(0.1)
    assert identity.changed(plain, identity.of_model(lighter)) == ["preprocessing"]
    assert "head" in identity.changed(
        plain, identity.of_model(toy_clip().with_head(CLASSES[::-1], TEMPLATES))
    )


def test_weights_are_hashed_once_until_somebody_writes_to_them(monkeypatch):
    model, hashed = toy_clip(), []
    real = identity.digest_tensors
    monkeypatch.setattr(identity, "digest_tensors", lambda w: hashed.append(len(w)) or real(w))
    first = identity.of_model(model)
    assert (
        identity.of_model(model) == first
        and identity.of_model(model.with_head(CLASSES, TEMPLATES))["weights"] == first["weights"]
    )
    towers = len(model.clip.state_dict())
    assert hashed.count(towers) == 1
    for write in (
        lambda: write_weights(model, {"visual.proj": model.weights()["visual.proj"] + 1e-3}),
        lambda: model.clip.load_state_dict(toy_clip(3).clip.state_dict()),
        lambda: model.double(),
    ):
        before = identity.of_model(model)["weights"]
        write()
        assert identity.of_model(model)["weights"] != before


def test_a_picture_replaced_under_its_name_size_and_time_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("grace_geom.data.names.HASHED_BELOW", 0)  # as for a large folder
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), "red").save(tmp_path / name / "1.bmp")
    path = tmp_path / "a" / "1.bmp"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    before = identity.of_images(resolve(f"folder:{tmp_path}", "eval"))
    assert identity.of_images(resolve(f"folder:{tmp_path}", "eval")) == before
    Image.new("RGB", (8, 8), "blue").save(path)
    os.utime(path, ns=times)
    after = identity.of_images(resolve(f"folder:{tmp_path}", "eval"))
    assert identity.changed(before, after) == ["images"]


def test_every_part_of_a_question_is_in_its_identity(tmp_path):
    image_set = resolve(save_npz(tmp_path / "a.npz", 30, 1), "eval")
    attack = AttackSpec("pgd", steps=2)
    plain = identity.asked(image_set, "id", attack=attack, seed=0)

    def differs(images=image_set, suite="id", attack=attack, seed=0) -> list[str]:
        return identity.changed(plain, identity.asked(images, suite, attack=attack, seed=seed))

    assert differs() == []
    assert differs(images=image_set.subset(10, 0)) == ["images"]
    assert differs(images=replace(image_set, labels=(image_set.labels + 1) % 3)) == ["images"]
    assert differs(images=replace(image_set, templates=("{}",))) == ["prompts"]
    assert differs(images=replace(image_set, class_names=("a", "b", "c"))) == ["names"]
    assert differs(suite="zeroshot") == ["suite"]
    assert differs(attack=AttackSpec("pgd", steps=3)) == ["attack"]
    assert differs(attack=AttackSpec("pgd", steps=2, alpha=1e-3)) == ["attack"]
    assert differs(attack=AttackSpec("pgd", steps=2, precision="bfloat16")) == ["attack"]
    assert differs(seed=1) == ["attack"] and differs(attack=None) == ["attack"]
    # 3: cuDNN's convolutions in TF32, and L1 projections that depended on the batch
    assert identity.changed(plain, plain | {"revision": "3"}) == ["revision"]


def test_a_short_look_never_replaces_the_whole_measurement(run, capsys):  # noqa: F811
    evaluate(capsys, str(run), *PGD)
    whole = EvalRecord.load(run / "eval.json")
    text = evaluate(capsys, str(run), "--n", "10", "--attack", "pgd", "--steps", "1")
    both = EvalRecord.load(run / "eval.json")
    assert {(a.suite, a.n) for a in both.accuracies} == {
        ("id", 10), ("id", 30), ("ood", 10), ("ood", 20), ("adv", 10), ("adv", 30),
    }  # fmt: skip
    assert all(a in both.accuracies for a in whole.accuracies)
    assert both.summary == whole.summary, "the whole measurement counts"
    assert "10 ‡" in text and "‡ on record, and in no mean" in text
    again = evaluate(capsys, str(run), *PGD)
    assert "3 numbers were measured before" in again
    assert EvalRecord.load(run / "eval.json") == both


def test_an_attack_that_adv_does_not_count_is_marked():
    def attacked(eps: float, norm: str) -> Accuracy:
        attack = {"name": "pgd", "eps": eps, "norm": norm, "parts": [], "precision": "float32"}
        return Accuracy("adv", "d", "npz:d", 10, 5, 0.5, 0.2, 0.8, 0.0, attack=attack)

    found = (attacked(0.1, "l2"), attacked(0.5, "l2"), attacked(2.0, "l2"))
    table = accuracy_table([EvalRecord("ab" * 32, "a", "ft", 0, {}, found)])
    assert [row[2] for row in table.rows if row[0] == "Adv"] == ["10 ‡", "10", "10 ‡"]
    assert "under the attack that Adv stands for" in table.text(300)
    assert "Of several radii in l2, Adv counts 0.5, or else the largest." in table.text(300)


def test_checkpoints_measured_on_unlike_images_are_marked_in_the_table(run, capsys):  # noqa: F811
    data = torch.load(run / "ckpt.pt", weights_only=True)["config"]
    others = [make_run(run.parent / f"o{i}", data["data"], data["ood"], seed=i) for i in (4, 5)]
    for folder, flags in ((run, ()), (others[0], ()), (others[1], ("--n", "10"))):
        evaluate(capsys, str(folder), *PGD, *flags)
    records = [EvalRecord.load(folder / "eval.json") for folder in (run, *others)]
    table = accuracy_table(records)
    (hm,) = [row for row in table.rows if row[0] == "HM"]
    assert ["†" in cell.full for cell in hm[3:]] == [False, False, True]
    (note,) = [note for note in table.notes if note.startswith("† o5")]
    assert re.search(r"ID test on 10 of 30 images \(\w+\), not 30 images", note)
    assert re.search(r"Adv test on 10 of 30 images .*2 steps", note)
    assert not any("†" in str(note) for note in accuracy_table(records[:2]).notes)
    assert all(a.n in (20, 30) for a in records[0].accuracies)


def test_a_record_of_an_earlier_version_answers_nothing_and_is_kept(run, capsys):  # noqa: F811
    evaluate(capsys, str(run), "--suites", "id,ood")
    path = run / "eval.json"
    whole = EvalRecord.load(path)
    wrong = tuple(all_wrong(a, seconds=99.0) for a in whole.accuracies)
    replace(whole, accuracies=wrong).summed().save(path)
    plain = json.loads(path.read_text())
    del plain["settings"]["model"]
    for row in plain["accuracies"]:
        del row["identity"]
    path.write_text(json.dumps(plain))
    said: list[str] = []
    record = assess(run, Measures(suites=("id",)), say=said.append)
    assert record.accuracies[0].accuracy == right_of(toy_clip()).mean() > 0
    assert [a.suite for a in EvalRecord.load(run / "eval.json").accuracies] == ["id"]
    (old,) = run.glob("eval-was-*.json")
    assert [a.seconds for a in EvalRecord.load(old).accuracies] == [99.0, 99.0]
    assert len(said) == 1 and old.name in said[0] and "earlier version" in said[0]


def test_the_dial_keeps_the_whole_measurement_beside_a_short_one(tmp_path, capsys):
    from tests.evaluation.test_interpolation import turn
    from tests.small_run import small_run

    folder = small_run(tmp_path, "ft", epochs=1)
    whole = turn(folder, "--t", "0,1", "--suites", "id").point(1.0)
    both = turn(folder, "--t", "1", "--suites", "id", "--n", "8", "--fresh")
    point = both.point(1.0)
    assert all(a in point.accuracies for a in whole.accuracies) and len(point.accuracies) == 2
    assert summarise(point.accuracies) == summarise(whole.accuracies)
    assert [p.t for p in DialRecord.load(folder / "dial.json").points] == [0.0, 1.0]


def test_a_checkpoint_is_read_and_hashed_once(tmp_path, monkeypatch):
    data, tower = set_of_30(tmp_path), tower_file(tmp_path / "tower.pt")
    text = text_tower(tmp_path / "text.pt", 0)
    ours = make_run(tmp_path / "ours", data, {}) / "ckpt.pt"
    reads = count_reads(monkeypatch)
    assess(tower, ID, Source(data=data, model=register_toy(), pretrained=str(text)))
    assert reads(tower) == {"load": 1, "hash": 1}
    assess(ours, ID)
    assert reads(ours) == {"load": 1, "hash": 1}


def count_reads(monkeypatch):
    """How often a file is loaded as tensors, and hashed, from now on."""
    from grace_geom import files
    from grace_geom.models import tensor_files

    loads: list[Path] = []
    hashes: list[Path] = []
    load, digest = tensor_files._read, files.sha256
    monkeypatch.setattr(tensor_files, "_read", lambda f: loads.append(Path(f)) or load(f))
    monkeypatch.setattr(files, "sha256", lambda p: hashes.append(Path(p)) or digest(p))
    return lambda file: {"load": loads.count(file), "hash": hashes.count(file)}


def test_a_file_replaced_while_it_is_read_is_read_again(tmp_path):
    path, contents = tmp_path / "ckpt.pt", iter([b"second", b"third"])
    path.write_bytes(b"first")

    def read() -> bytes:
        found = path.read_bytes()
        if (new := next(contents, None)) is not None:
            (tmp_path / "new").write_bytes(new)
            os.replace(tmp_path / "new", path)
        return found

    assert read_whole(path, read) == (b"third", sha256(path))
    contents = iter([b"a", b"b", b"c", b"d"])
    with pytest.raises(UserError, match="was replaced each of the 3 times"):
        read_whole(path, read)
