"""``python -m grace_geom.evaluate``: numbers, what is kept of earlier ones, and what users get
wrong.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grace_geom.checkpoint import checkpoint_of, save_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.devices import pick_device
from grace_geom.errors import UserError
from grace_geom.evaluate import main
from grace_geom.evaluation import Measures, Sets, assess, short_name, targets
from grace_geom.evaluation.one_checkpoint import _head
from grace_geom.records import EvalRecord
from tests.toys import CLASSES, register_toy, toy_batch, toy_clip


def save_npz(path: Path, n: int, seed: int, classes: tuple[str, ...] = CLASSES) -> str:
    batch = toy_batch(n, seed)
    pixels = (batch.images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    np.savez(path, images=pixels, labels=batch.labels.numpy())
    path.with_suffix(".classes.json").write_text(json.dumps({"class_names": list(classes)}))
    return f"npz:{path}"


@pytest.fixture
def run(tmp_path) -> Path:
    """A run directory of a toy CLIP, with its data beside it."""
    data = (
        save_npz(tmp_path / "train.npz", 40, 0)
        + "+"
        + save_npz(tmp_path / "test.npz", 30, 1).removeprefix("npz:")
    )
    ood = save_npz(tmp_path / "shift.npz", 20, 2, ("star", "circle", "square"))
    return make_run(tmp_path / "runs" / "toy", data, {"shift": ood})


def make_run(folder: Path, data: str, ood: dict[str, str], seed: int = 0) -> Path:
    config = {"method": "ft", "data": data, "ood": ood, "seed": seed, "split_seed": 0}
    save_checkpoint(folder / "ckpt.pt", checkpoint_of(toy_clip(seed), {}, config=config))
    return folder


def evaluate(capsys, *argv: str) -> str:
    main(list(argv))
    return capsys.readouterr().out


def outcome(capsys, *argv: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    return stop.value.code, capsys.readouterr().err


PGD = ("--attack", "pgd", "--steps", "2")


def test_writes_what_it_prints(run, capsys):
    text = evaluate(capsys, str(run), *PGD)
    record = EvalRecord.load(run / "eval.json")
    assert [(a.suite, a.data, a.n) for a in record.accuracies] == [
        ("id", "test", 30), ("ood", "shift", 20), ("adv", "test", 30),
    ]  # fmt: skip
    for a in record.accuracies:
        assert f"{100 * a.accuracy:.1f} [{100 * a.ci_low:.1f}, {100 * a.ci_high:.1f}]" in text
    assert record.accuracies[1].head == "3 of the checkpoint's 3 classes, by name"
    assert record.summary["HM"] is not None and record.summary["ZS"] is None
    assert record.settings["image_size"] == 16 and torch.__version__.startswith(
        record.versions["packages"]["torch"]
    )


def test_the_accuracy_is_the_models_own(run, capsys):
    evaluate(capsys, str(run), "--suites", "id")
    model, batch = toy_clip(), toy_batch(30, 1)
    pixels = (batch.images * 255).round() / 255
    right = (model(pixels).argmax(1) == batch.labels).numpy()
    np.testing.assert_array_equal(EvalRecord.load(run / "eval.json").accuracies[0].right(), right)


def test_a_second_evaluation_keeps_measures_of_the_first(run, capsys):
    evaluate(capsys, str(run), "--suites", "id,ood")
    first = EvalRecord.load(run / "eval.json")
    evaluate(capsys, str(run), "--suites", "adv", *PGD)
    both = EvalRecord.load(run / "eval.json")
    assert both.accuracies[:2] == first.accuracies and both.accuracies[2].attack_name == "pgd"
    assert "3 numbers were measured before" in evaluate(capsys, str(run), *PGD)
    assert (
        EvalRecord.load(run / "eval.json") == both
    )  # seconds included: nothing was measured again
    assert "measured before" not in evaluate(capsys, str(run), *PGD, "--fresh")


@pytest.mark.parametrize("change", ["another checkpoint", "another seed"])
def test_nothing_is_kept_of_another_checkpoint_or_seed(run, capsys, change):
    evaluate(capsys, str(run), "--suites", "id")
    config = EvalRecord.load(run / "eval.json").settings["data"]
    if change == "another checkpoint":
        make_run(run, config, {}, seed=1)
    evaluate(
        capsys,
        str(run),
        "--suites",
        "adv",
        *PGD,
        *(["--eval-seed", "1"] if change == "another seed" else []),
    )
    assert [a.suite for a in EvalRecord.load(run / "eval.json").accuracies] == ["adv"]


def test_a_number_on_other_images_is_measured_again(run, capsys):
    evaluate(capsys, str(run), "--suites", "id", "--n", "10")
    evaluate(capsys, str(run), "--suites", "id")
    assert [a.n for a in EvalRecord.load(run / "eval.json").accuracies] == [10, 30]


def test_sets_that_are_not_asked_for_any_more_leave_the_mean(run, capsys, tmp_path):
    evaluate(capsys, str(run), "--suites", "ood")
    other = save_npz(tmp_path / "other.npz", 15, 3)
    evaluate(capsys, str(run), "--suites", "ood", "--ood", f"other={other}")
    assert [a.data for a in EvalRecord.load(run / "eval.json").accuracies] == ["other"]


def test_a_truncated_record_is_replaced(run, capsys):
    evaluate(capsys, str(run), "--suites", "id")
    whole = (run / "eval.json").read_text()
    (run / "eval.json").write_text(whole[: len(whole) // 2])
    evaluate(capsys, str(run), "--suites", "id")
    assert len(EvalRecord.load(run / "eval.json").accuracies) == 1


def test_an_evaluation_that_is_stopped_keeps_what_it_measured(run):
    class Impatient:
        def plan(self, numbers): ...
        def advance(self, images): ...
        def end(self, accuracy, known): ...

        def begin(self, target, images):
            if target.suite == "adv":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assess(run, Measures(attack="pgd", steps=2), watcher=Impatient())
    assert [a.suite for a in EvalRecord.load(run / "eval.json").accuracies] == ["id", "ood"]


def test_several_checkpoints_are_compared_on_the_same_images(run, capsys):
    evaluate(capsys, str(run), "--suites", "id")
    data = EvalRecord.load(run / "eval.json").settings["data"]
    other = make_run(run.parent / "other", data, {}, seed=5)
    text = evaluate(capsys, str(run), str(other / "ckpt.pt"), "--suites", "id")
    a, b = (EvalRecord.load(folder / "eval.json").accuracies[0].right() for folder in (run, other))
    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    m = int(only_a + only_b)  # exact two-sided binomial test by counting
    p = min(1.0, 2 * sum(math.comb(m, k) for k in range(min(only_a, only_b) + 1)) / 2**m)
    assert f"{100 * (only_b - only_a) / 30:+.1f} (p {p:.2g})" in text


def test_the_same_name_below_two_roots_is_two_data_sets(tmp_path):
    for name, n in (("a", 6), ("b", 9)):
        (tmp_path / name).mkdir()
        save_npz(tmp_path / name / "set.npz", n, 0)
    sets = Sets()
    assert [len(sets("npz:set.npz", "eval", 0, str(tmp_path / name))) for name in "aba"] == [
        6,
        9,
        6,
    ]


def test_another_image_size_is_measured_beside_the_usual_one(run, capsys):
    evaluate(capsys, str(run), "--suites", "id")
    usual = (run / "eval.json").read_bytes()
    text = evaluate(capsys, str(run), "--suites", "id,adv", *PGD, "--image-size", "24")
    record = EvalRecord.load(run / "eval-24px.json")
    assert record.settings["image_size"] == 24 and record.settings["model_image_size"] == 16
    assert (run / "eval.json").read_bytes() == usual and "eval-24px.json" in text
    images = next(
        iter(loader(resolve(record.settings["data"], "test"), 30, 24, train=False))
    ).images
    right = (
        toy_clip()(images).argmax(1) == toy_batch(30, 1).labels
    ).numpy()  # the tower resizes 24 to 16
    np.testing.assert_array_equal(record.accuracies[0].right(), right)
    assert "24 x 24" in text


def test_another_data_set_is_measured_beside_the_run_s_own(run, capsys, tmp_path):
    own = EvalRecord.load
    evaluate(capsys, str(run), *PGD)
    usual = (run / "eval.json").read_bytes()
    (tmp_path / "far").mkdir()
    specs = [save_npz(tmp_path / "new.npz", 24, 7), save_npz(tmp_path / "far" / "new.npz", 18, 8)]
    files = []
    for spec in specs:  # of the same name
        text = evaluate(capsys, str(run), "--suites", "id", "--data", spec)
        (file,) = set(run.glob("eval-new-*.json")) - set(files)
        files.append(file)
        assert f"written: {file}" in text and own(file).settings["data"] == spec
    assert (run / "eval.json").read_bytes() == usual and own(files[0]).settings["data"] == specs[0]
    assert [own(f).accuracies[0].n for f in files] == [len(resolve(spec, "test")) for spec in specs]
    text = evaluate(capsys, str(run), "--suites", "id", "--data", specs[0], "--image-size", "24")
    assert f"{files[0].stem}-24px.json" in text and own(files[0]).settings["image_size"] == 16
    text = evaluate(capsys, str(run), *PGD, "--data", own(run / "eval.json").settings["data"])
    assert f"written: {run / 'eval.json'}" in text and "3 numbers were measured before" in text


def replace_data(path: Path, change: str) -> None:
    """Other images, other labels or other class names under the same file name."""
    with np.load(path) as file:
        images, labels = file["images"], file["labels"]
    if change == "class names":
        path.with_suffix(".classes.json").write_text(json.dumps({"class_names": ["a", "b", "c"]}))
        return
    images, labels = (
        (255 - images, labels) if change == "images" else (images, (labels + 1) % len(CLASSES))
    )
    np.savez(path, images=images, labels=labels)


@pytest.mark.parametrize("change", ["images", "labels", "class names"])
def test_a_replaced_data_file_is_measured_again(run, capsys, tmp_path, change):
    evaluate(capsys, str(run), "--suites", "id,ood")
    first = EvalRecord.load(run / "eval.json").accuracies
    replace_data(tmp_path / "shift.npz", change)
    text = evaluate(capsys, str(run), "--suites", "id,ood")
    again = EvalRecord.load(run / "eval.json").accuracies
    assert "1 number was measured before" in text and again[0] == first[0]
    assert again[1].subset["content"] != first[1].subset["content"]
    assert not first[1].paired_with(again[1]) and first[0].paired_with(again[0])
    expected = toy_clip().with_head(
        tuple(json.loads((tmp_path / "shift.classes.json").read_text())["class_names"]),
        resolve(again[1].spec, "eval").templates,
    )
    image_set = resolve(again[1].spec, "eval")
    batch = next(iter(loader(image_set, 20, 16, train=False)))
    if change == "class names":
        assert again[1].correct == (expected(batch.images).argmax(1) == batch.labels).sum()
    else:
        order = [CLASSES.index(name) for name in image_set.class_names]
        assert (
            again[1].correct == (toy_clip()(batch.images)[:, order].argmax(1) == batch.labels).sum()
        )


def test_a_replaced_picture_is_seen_though_its_name_stays(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), "red").save(tmp_path / name / "1.bmp")
    before = resolve(f"folder:{tmp_path}", "eval").content
    assert resolve(f"folder:{tmp_path}", "eval").content == before
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "a" / "1.bmp")  # as many bytes
    assert resolve(f"folder:{tmp_path}", "eval").content != before


def test_the_templates_of_the_run_make_the_head_of_sets_that_its_own_does_not_fit(
    run, capsys, tmp_path
):
    config = torch.load(run / "ckpt.pt", weights_only=True)["config"]
    other = save_npz(tmp_path / "other.npz", 40, 3, ("a cat", "a dog", "a fish"))
    mine, seen = ("the very {} of it all",), []
    model = toy_clip().with_head(CLASSES, mine)
    for folder, given in ((run, "file.txt"), (tmp_path / "runs" / "default", None)):
        record = checkpoint_of(
            model, {}, config=config | {"templates": given, "ood": {"other": other}}
        )
        save_checkpoint(folder / "ckpt.pt", record)
        evaluate(capsys, str(folder), "--suites", "id,ood")
        found = EvalRecord.load(folder / "eval.json").accuracies
        image_set = resolve(other, "eval")
        templates = mine if given else image_set.templates
        expected = toy_clip().with_head(("a cat", "a dog", "a fish"), templates)
        batch = next(iter(loader(image_set, 40, 16, train=False)))
        right = (expected(batch.images).argmax(1) == batch.labels).numpy()
        np.testing.assert_array_equal(found[1].right(), right)
        assert found[0].head == "the checkpoint's head"
        seen.append(right.tolist())
    assert seen[0] != seen[1], "the two heads must be told apart by these images"


def test_foreign_weights_are_evaluated_with_the_classes_of_the_data(run, capsys, tmp_path):
    torch.save(toy_clip().clip.state_dict(), tmp_path / "foreign.pt")
    data = f"npz:{tmp_path / 'train.npz'}+{tmp_path / 'test.npz'}"
    argv = [
        str(tmp_path / "foreign.pt"),
        "--model",
        register_toy(),
        "--data",
        data,
        "--suites",
        "id",
    ]
    evaluate(capsys, *argv)
    record = EvalRecord.load(tmp_path / "foreign.eval.json")
    model = toy_clip().with_head(CLASSES, resolve(data, "test").templates)
    batch = toy_batch(30, 1)
    right = (model((batch.images * 255).round() / 255).argmax(1) == batch.labels).sum()
    assert (record.run, record.method, record.accuracies[0].correct) == ("foreign", "", right)
    (tmp_path / "names.txt").write_text("\n".join(reversed(CLASSES)))
    evaluate(capsys, *argv, "--classes", str(tmp_path / "names.txt"))
    model = toy_clip().with_head(tuple(reversed(CLASSES)), resolve(data, "test").templates)
    again = EvalRecord.load(tmp_path / "foreign.eval.json")
    assert again.settings["head"] == _head(model) != record.settings["head"]
    assert outcome(capsys, str(tmp_path / "foreign.pt"), "--data", data)[0] == 2
    assert outcome(capsys, str(tmp_path / "foreign.pt"), "--model", register_toy())[0] == 2


def test_what_is_not_measured_and_what_is_read_otherwise_is_said(run, capsys, tmp_path):
    other = save_npz(tmp_path / "other.npz", 30, 1, ("ring", "cube", "bolt"))
    main([str(run), "--suites", "id,natural_adv", "--data", other, "--model", "ViT-B-32"])
    out, err = capsys.readouterr()
    assert "warning: --suites natural_adv: no such sets are known for npz:" in err
    assert "name them with --natural-adv NAME=SPEC" in err and "--suites id:" not in err
    assert "other: read with a text head of its own, the checkpoint's head lacks its classes" in out
    told = [line for line in err.splitlines() if "--model is for the others" in line]
    assert len(told) == 1 and told[0].startswith(f"warning: {run}")
    assert "UserWarning" not in err
    main([str(run), "--n", "5", "--n-attack", "1", "--attack", "fgsm"])  # by default all are tried
    out, err = capsys.readouterr()
    assert "no such sets" not in err and "head of its own" not in out


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "missing: checkpoints"),
        (["nowhere"], "no such checkpoint: nowhere"),
        (["{run}", "--suites", "id,odd"], "unknown suite 'odd'; did you mean 'ood'"),
        (["{run}", "--attack", "pdg"], "did you mean 'pgd'"),
        (["{run}", "--n", "0"], "--n must be at least 1"),
        (["{run}", "--ood", "x=npz:absent.npz"], "absent.npz"),
        (["{run}", "--device", "cuda:77"], "--device cuda:77: not available"),
        (["{run}", "--classes", "x.json"], "--classes is for foreign checkpoints"),
        (["{run}", "--eps", "4"], "Did you mean 4/255?"),
        (["{run}", "--image-size", "0"], "--image-size must be between 1 and 8192"),
        (["{run}", "--image-size", "200000"], "--image-size must be between 1 and 8192"),
        (["{run}", "--nn", "5"], "unknown flag --nn"),
    ],
)
def test_mistakes_are_one_clear_line_and_leave_nothing_behind(run, capsys, argv, message):
    code, text = outcome(capsys, *(a.format(run=run) for a in argv))
    assert code == 2 and message in text and len(text.splitlines()) <= 2
    assert sorted(p.name for p in run.iterdir()) == ["ckpt.pt"]


def test_the_embedded_benchmark_knows_its_suites():
    found = targets(Measures(), "shapes")
    names = {
        suite: [t.name for t in found if t.suite == suite]
        for suite in ("id", "ood", "adv", "natural_adv")
    }
    assert names["id"] == names["adv"] == ["shapes"] and names["natural_adv"] == ["hard"]
    assert {"v2", "sketch", "rendition", "corrupt"} <= set(names["ood"])
    assert sum(t.suite == "zeroshot" for t in found) >= 4
    assert [t.n for t in found if t.suite in ("id", "adv")] == [None, 500]


def test_suites_that_a_data_set_does_not_have_are_left_out():
    assert {t.suite for t in targets(Measures(), "npz:a.npz")} == {"id", "adv"}


@pytest.mark.parametrize(
    ("options", "says"),
    [({"suites": ()}, "--suites is empty"), ({"eval_seed": -1}, "--eval-seed"), ({"n": 0}, "--n ")],
)
def test_measures_without_meaning_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        Measures(**options)


def test_a_device_without_float64_is_refused():
    with pytest.raises(UserError, match="use auto, cpu, cuda"):
        pick_device("mps")


def test_unknown_measures_are_refused():
    with pytest.raises(UserError, match="eps"):
        Measures(eps=-1.0)


@pytest.mark.parametrize(
    "spec, name",
    [
        ("shapes", "shapes"), ("npz:a/train.npz+b/cifar10_test.npz", "cifar10_test"), ("folder:/data/pets", "pets"),
        ("wds:s3/pacs_photo.wds.tar", "pacs_photo"), ("torchvision:CIFAR10", "torchvision:CIFAR10"),
    ],
)  # fmt: skip
def test_tables_name_a_data_set_without_its_path(spec, name):
    assert short_name(spec) == name
