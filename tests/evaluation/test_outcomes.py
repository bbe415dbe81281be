"""Outcomes image by image and adversarial images, written and read back."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from grace_geom.evaluation.per_image import distances
from grace_geom.files import sha256
from grace_geom.records import EvalRecord, summarise
from tests.evaluation.test_evaluate import PGD, evaluate, make_run, outcome, run, save_npz  # noqa: F401
from tests.toys import toy_batch, toy_clip

PREFIX = "pgd 4/255: "


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2), ("l1", 1)])
def test_distances_are_numpys(norm, order):
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(5, 3, 4, 4, generator=g), torch.rand(5, 3, 4, 4, generator=g)
    expected = [
        np.linalg.norm((x - y).double().numpy().ravel(), order) for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(distances(a, b, norm), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_outcomes_are_the_models_own_image_by_image(run, capsys, tmp_path, kind):  # noqa: F811
    file = tmp_path / f"out.{kind}"
    text = evaluate(capsys, str(run), *PGD, "--n-attack", "20", "--outcomes", str(file))
    assert str(file) in text
    table = pd.read_csv(file) if kind == "csv" else pd.read_parquet(file)
    own = table[(table.suite == "id") & (table.data == "test")]
    batch = toy_batch(30, 1)
    logits = toy_clip()((batch.images * 255).round() / 255).detach().double().numpy()
    labels = batch.labels.numpy()
    others = np.where(np.eye(3, dtype=bool)[labels], -np.inf, logits).max(1)
    assert len(own) == 30 and len(table) == 50  # and the 20 of the OOD set
    np.testing.assert_array_equal(own["index"], np.arange(30))
    np.testing.assert_array_equal(own.label, labels)
    np.testing.assert_array_equal(own.prediction, logits.argmax(1))
    np.testing.assert_allclose(own.margin, logits[np.arange(30), labels] - others, atol=1e-5)
    attacked = own[own[PREFIX + "standing"].notna()]
    adv = EvalRecord.load(run / "eval.json").accuracies[-1]
    assert len(attacked) == 20 and adv.suite == "adv"
    stands = attacked[PREFIX + "standing"].astype(bool).to_numpy()
    np.testing.assert_array_equal(stands, adv.right())
    radius = attacked[PREFIX + "radius"].to_numpy(float)
    np.testing.assert_array_equal(np.isnan(radius), stands)
    wrong = (attacked.prediction != attacked.label).to_numpy()
    assert (radius[wrong] == 0).all() and (radius[~wrong & ~stands] > 0).all()
    assert np.nanmax(radius) <= 4 / 255 + 1e-6


def test_adversarial_images_come_back_as_they_were_saved(run, capsys, tmp_path):  # noqa: F811
    folder = tmp_path / "adv"
    evaluate(capsys, str(run), "--suites", "adv", *PGD, "--eps", "16/255", "--n", "20",
             "--save-adversarial", str(folder))  # fmt: skip
    (own,) = EvalRecord.load(run / "eval.json").accuracies
    (file,) = folder.glob("*.npz")
    with np.load(file) as saved:
        images, standing = saved["adversarial"], saved["standing"]
        clean = ((toy_batch(30, 1).images * 255).round() / 255).numpy()[saved["index"]]
    assert np.abs(images - clean).max() <= 16 / 255 + 1e-6 and images.shape == (20, 3, 16, 16)
    np.testing.assert_array_equal(standing, own.right())
    pngs = sorted(file.with_suffix("").glob("*.png"))
    assert len(pngs) == 20
    first = np.asarray(Image.open(pngs[0])).astype(float) / 255
    assert np.abs(first - images[0].transpose(1, 2, 0)).max() <= 0.5 / 255 + 1e-6

    text = evaluate(capsys, str(run), "--suites", "id", "--from-adversarial", str(file))
    back = EvalRecord.load(run / "eval.json").accuracies[-1]
    assert back.attack["source"]["run"] == "toy" and "pgd from toy 16/255" in text
    np.testing.assert_array_equal(back.right(), own.right())  # the model that they were made for


def test_transfer_is_the_other_models_own_accuracy_and_no_adv(run, capsys, tmp_path):  # noqa: F811
    folder = tmp_path / "adv"
    evaluate(capsys, str(run), "--suites", "adv", *PGD, "--eps", "16/255", "--n", "20",
             "--save-adversarial", str(folder))  # fmt: skip
    (file,) = folder.glob("*.npz")
    data = EvalRecord.load(run / "eval.json").settings["data"]
    other = make_run(run.parent / "other", data, {}, seed=5)
    evaluate(capsys, str(other), "--suites", "id", "--from-adversarial", str(file))
    record = EvalRecord.load(other / "eval.json")
    with np.load(file) as saved:
        told = toy_clip(5)(torch.from_numpy(saved["adversarial"])).argmax(1).numpy()
        np.testing.assert_array_equal(record.accuracies[-1].right(), told == saved["labels"])
    assert record.summary["Adv"] is None and summarise(record.accuracies)["HM"] is None
    evaluate(capsys, str(other), "--suites", "adv", *PGD)  # its own attack stands beside it
    both = EvalRecord.load(other / "eval.json")
    names = [a.attack_name for a in both.accuracies if a.suite == "adv"]
    assert sorted(names) == ["pgd", "pgd from toy"]
    (own,) = [a for a in both.accuracies if a.attack_name == "pgd"]
    assert both.summary["Adv"] == own.accuracy


def test_two_archives_of_one_name_have_columns_of_their_own(run, capsys, tmp_path):  # noqa: F811
    names = []
    for seed in ("0", "1"):
        folder = tmp_path / seed
        evaluate(capsys, str(run), "--suites", "adv", *PGD, "--eps", "16/255", "--n", "20",
                 "--eval-seed", seed, "--save-adversarial", str(folder))  # fmt: skip
        names += map(str, folder.glob("*.npz"))
    assert len({sha256(Path(name)) for name in names}) == 2
    other = make_run(
        run.parent / "other", EvalRecord.load(run / "eval.json").settings["data"], {}, 5
    )
    file = tmp_path / "out.csv"
    evaluate(capsys, str(other), "--suites", "id", "--outcomes", str(file),
             *(f"--from-adversarial={','.join(names)}",))  # fmt: skip
    table = pd.read_csv(file)
    for name, a in zip(names, EvalRecord.load(other / "eval.json").accuracies[-2:], strict=True):
        digits = sha256(Path(name))[:8]
        assert a.attack["source"]["sha256"].startswith(digits)
        column = table[f"pgd from toy 16/255 {digits}: standing"].dropna()
        assert column.astype(bool).sum() == a.correct and len(column) == a.n == 20


def test_pictures_of_an_earlier_checkpoint_go(run, capsys, tmp_path):  # noqa: F811
    argv = [
        str(run),
        "--suites",
        "adv",
        *PGD,
        "--n",
        "6",
        "--save-adversarial",
        str(tmp_path / "a"),
    ]
    evaluate(capsys, *argv)
    (file,) = (tmp_path / "a").glob("*.npz")
    stale = file.with_suffix("") / "000000-0-9.png"
    stale.write_bytes(b"")
    evaluate(capsys, *argv)
    assert not stale.exists() and len(list(file.with_suffix("").iterdir())) == 6


def test_files_that_do_not_fit_are_refused_in_a_line(run, capsys, tmp_path):  # noqa: F811
    folder = tmp_path / "adv"
    evaluate(capsys, str(run), "--suites", "adv", *PGD, "--n", "6",
             "--save-adversarial", str(folder))  # fmt: skip
    (file,) = folder.glob("*.npz")
    other = save_npz(tmp_path / "new.npz", 24, 7)
    with np.load(file) as saved:
        arrays = dict(saved)

    def changed(name: str, **arrays_now) -> str:
        np.savez(tmp_path / f"{name}.npz", **(arrays | arrays_now))
        return str(tmp_path / f"{name}.npz")

    about = json.loads(str(arrays["about"]))
    (tmp_path / "torn.npz").write_bytes(file.read_bytes()[:200])
    cases = [
        (["absent.npz"], "there is no such file"),
        ([str(tmp_path / "torn.npz")], "cannot be read as adversarial images"),
        ([str(tmp_path / "test.npz")], "was not written by --save-adversarial"),
        ([changed("far", adversarial=arrays["adversarial"] * 3)], "outside [0, 1]"),
        ([changed("few", labels=arrays["labels"][:3])], "labels is int64 of shape (3,)"),
        ([changed("moved", labels=(arrays["labels"] + 1) % 3)], "other labels"),
        ([changed("bare", about=np.array(json.dumps(about | {"attack": {}})))], "name an attack"),
        ([changed("big", about=np.array(json.dumps(about | {"image_size": 24})))], "--image-size 24"),
        ([str(file), "--data", other], "whose images are not those of"),
    ]  # fmt: skip
    for argv, message in cases:
        code, text = outcome(capsys, str(run), "--suites", "id", "--from-adversarial", *argv)
        assert code == 2 and message in text and len(text.splitlines()) <= 3, (argv, text)
    code, text = outcome(capsys, str(run), "--outcomes", "x.txt")
    assert code == 2 and "must end in .csv or .parquet" in text
