"""``bound_terms.py`` and ``anisotropy.py`` from their command lines: files, agreement with other
ways, mistakes.
"""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from grace_geom.analysis import Part
from grace_geom.analysis.bound_terms import BoundOptions, show
from grace_geom.checkpoint import open_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.evaluation.accuracy import Reader
from grace_geom.geometry.isotropy import mean_cosine
from grace_geom.records import Measure, Result
from tests.analysis.parts import only
from tests.analysis.scripts import SMALL, dense, needs_no_network, script

FEW = ["--replicates", "4", "--attack-steps", "1", "--ood", "sketch=shapes:sketch"]


@pytest.fixture(scope="module")
def bound(runs, tmp_path_factory) -> Result:
    out = tmp_path_factory.mktemp("bound")
    argv = [
        *SMALL,
        *FEW,
        "--n",
        "40",
        "--batch",
        "16",
        "--probes",
        "60",
        "--samples",
        "2",
        "--sigma",
        "0.05",
    ]
    script("bound_terms")([str(runs / "zero_shot"), str(runs / "far"), *argv, "--out", str(out)])
    assert (out / "bound_terms.png").stat().st_size > 1000 and needs_no_network(
        out / "bound_terms.html"
    )
    return Result.load(out / "bound_terms.json")


def test_proximity_is_that_of_the_step_that_was_made(runs, bound):
    a, b = (open_checkpoint(runs / name / "ckpt.pt")[0].weights() for name in ("zero_shot", "far"))
    D2 = sum((a[n] - b[n]).double().square().sum() for n in a if re.search(r"ln_|proj$", n)).item()
    n = len(resolve("shapes", "train"))
    assert bound.parts["zero_shot"].values["A"].value == 0
    assert bound.parts["far"].values["A"].value == pytest.approx(D2 / (2 * n * 0.05**2), rel=1e-6)
    assert bound.parts["far"].values["n_train"].value == n


def test_sharpness_is_half_the_variance_times_the_dense_trace(runs, bound):
    trace = dense(runs / "far", 40).trace().item()
    B = bound.parts["far"].values["B/id"]
    assert abs(B.value - 0.05**2 / 2 * trace) < 4 * B.error + 1e-9
    losses = {
        k.removeprefix("loss/"): m.value
        for k, m in bound.parts["far"].values.items()
        if k.startswith("loss/")
    }
    worst = {"id": "id", "sketch": "ood", "adv": "adv"}[max(losses, key=losses.__getitem__)]
    assert (
        bound.parts["far"].values["B"] == bound.parts["far"].values[f"B/{worst}"]
        and losses["adv"] > losses["id"]
    )


def test_discrepancy_has_the_head_s_slope_and_the_largest_pair(runs, bound):
    model, _ = open_checkpoint(runs / "far" / "ckpt.pt")
    slope = torch.linalg.svdvals(model.head["head.weight"])[0].item()
    pairs = [m.value for k, m in bound.parts["far"].values.items() if k.startswith("discrepancy/")]
    assert len(pairs) == 3
    assert bound.parts["far"].values["C"].value == pytest.approx(2 * slope * max(pairs), rel=1e-5)


def test_the_counted_classes_are_recorded(bound):
    """Counted again from the data itself."""
    samples = [
        resolve(spec, split).subset(40, 0)
        for spec, split in (("shapes", "test"), ("shapes:sketch", "eval"))
    ]
    count = np.stack([np.bincount(sample.labels, minlength=12) for sample in samples])
    counted = (count >= 2).all(axis=0)
    assert bound.parts["far"].values["classes"].value == counted.sum() < 12
    assert bound.parts["far"].values["images_per_class"].value == count[:, counted].min()


def described(**more: float) -> Part:
    """A part as ``measure`` makes one, of invented numbers."""
    numbers = {
        "distance": 1.0,
        "n_train": 10,
        "trace": 2.0,
        "sigma_balanced": 0.1,
        "balanced": 1.0,
        "floor": 0.2,
    }
    numbers |= {
        "classes": 7,
        "images_per_class": 5,
        "loss/id": 1.0,
        "loss/far-adv": 1.0,
        "loss/adv": 2.0,
    }
    numbers |= {f"discrepancy/{pair}": 0.5 for pair in ("id-far-adv", "id-adv", "far-adv-adv")}
    values = {key: Measure(x) for key, x in (numbers | more).items()}
    return Part(
        values | {"C": Measure(1.0, estimator="2 L_f times the largest discrepancy, id to adv")}
    )


def test_few_images_a_class_are_warned_of():
    notes = {
        n: show({"run": described(images_per_class=n)}, BoundOptions(())).tables[1].notes
        for n in (4, 5)
    }
    assert any("only 4 images" in note for note in notes[4])
    assert not any("images of some counted class" in note for note in notes[5])


def test_a_set_of_other_classes_is_named():
    part = described()
    values = {
        key: m for key, m in part.values.items() if "far-adv" not in key or key.startswith("loss/")
    }
    notes = show({"run": Part(values)}, BoundOptions(())).tables[1].notes
    assert any("far-adv has no class of the ID data" in note for note in notes)


def test_too_few_images_are_refused_before_any_trace(runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        script("bound_terms")(
            [str(runs / "near"), *SMALL, *FEW, "--n", "3", "--out", str(tmp_path / "out")]
        )
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "no class has two images in each of id, sketch, adv" in said
    assert "traces" not in said and not (tmp_path / "out").exists()


@pytest.mark.drawn
def test_anisotropy_is_that_of_the_dense_matrix_and_of_the_features(runs, tmp_path):
    argv = [*SMALL, *FEW, "--n", "24", "--probes", "100", "--rtol", "1e-8", "--out", str(tmp_path)]
    script("anisotropy")([str(runs / "near"), *argv])
    result = only(Result.load(tmp_path / "anisotropy.json"))
    H = dense(runs / "near", 24)
    lams = torch.linalg.eigvalsh(H).flip(0)
    found = {
        k.removeprefix("curvature/"): m
        for k, m in result.values.items()
        if k.startswith("curvature/")
    }
    assert found["lambda_1/lambda_5"].value == pytest.approx((lams[0] / lams[4]).item(), rel=1e-5)
    share = lams[:5].square().sum() / H.square().sum()
    for key, truth in (("lambda_1/mean", lams[0] / lams.mean()), ("top_share", share)):
        assert abs(found[key].value - truth.item()) < 4 * found[key].error
    model, _ = open_checkpoint(runs / "near" / "ckpt.pt")
    (batch,) = loader(resolve("shapes", "test").subset(24, 0), 24, model.image_size, train=False)
    cosine = result.values["features/id/mean_cosine/embedding"].value
    assert cosine == pytest.approx(
        mean_cosine(model.double().encode(batch.images.double())), rel=1e-5
    )
    text = F.normalize(model.head["head.weight"], dim=-1)
    f = model.features(batch.images.double())
    gap = (f.mean(dim=0) - text[batch.labels].mean(dim=0)).norm().item()
    assert result.values["features/id/modality_gap/embedding"].value == pytest.approx(gap, rel=1e-4)
    assert (
        tmp_path / "anisotropy.png"
    ).stat().st_size > 1000 and "features/adv/lid/embedding" in result.values
    assert needs_no_network(tmp_path / "anisotropy.html")


def test_halves_can_be_had_alone(runs, tmp_path):
    argv = [*SMALL, *FEW, "--parts", "curvature", "--operator", "ggn", "--out", str(tmp_path)]
    script("anisotropy")([str(runs / "near"), *argv])
    values = only(Result.load(tmp_path / "anisotropy.json")).values
    assert (
        values
        and all(k.startswith("curvature/") for k in values)
        and math.isfinite(values["curvature/gini"].value)
    )


@pytest.fixture(scope="module")
def data(runs, tmp_path_factory) -> dict[str, str]:
    """30 images of ``shapes``, with classes in the checkpoint's order and backwards; and of its
    last two classes.
    """
    folder = tmp_path_factory.mktemp("data")
    model, _ = open_checkpoint(runs / "far" / "ckpt.pt")
    names = list(model.class_names)
    g, labels = np.random.default_rng(0), np.arange(30) % len(names)
    images = (
        g.integers(0, 256, (30, 16, 16, 3), np.uint8) // 2
        + (8 * labels.astype(np.uint8))[:, None, None, None]
    )
    found = {}
    for key, y, classes in (("same", labels, names), ("back", len(names) - 1 - labels, names[::-1]),
                            ("two", labels % 2, names[-2:])):  # fmt: skip
        np.savez(folder / f"{key}.npz", images=images, labels=y)
        (folder / f"{key}.classes.json").write_text(json.dumps(classes))
        found[key] = f"npz:{folder}/{key}.npz+{folder}/{key}.npz"
    return found


def test_alignment_does_not_depend_on_the_order_of_the_classes(runs, data, tmp_path):
    found = []
    for key in ("same", "back"):
        argv = [
            *SMALL,
            *FEW,
            "--n",
            "30",
            "--parts",
            "features",
            "--data",
            data[key],
            "--out",
            str(tmp_path / key),
        ]
        script("anisotropy")([str(runs / "far"), *argv])
        values = only(Result.load(tmp_path / key / "anisotropy.json")).values
        found.append(
            [values[f"features/id/{m}/embedding"].value for m in ("alignment", "modality_gap")]
        )
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_slope_is_that_of_the_rows_that_are_asked(runs, data, tmp_path):
    argv = [
        *SMALL,
        *FEW,
        "--n",
        "60",
        "--batch",
        "30",
        "--probes",
        "4",
        "--samples",
        "2",
        "--data",
        data["two"],
    ]
    script("bound_terms")([str(runs / "far"), *argv, "--out", str(tmp_path)])
    model, _ = open_checkpoint(runs / "far" / "ckpt.pt")
    slope = np.linalg.norm(model.head["head.weight"][-2:].double().numpy(), 2)
    assert only(Result.load(tmp_path / "bound_terms.json")).values["L_f"].value == pytest.approx(
        slope, rel=1e-6
    )


def test_a_class_with_several_texts_has_no_alignment(runs):
    model, _ = open_checkpoint(runs / "far" / "ckpt.pt")
    W = model.head["head.weight"]
    one, several = Reader(model, ((2,), 0), ""), Reader(model, ((2, 1), 0), "")
    assert not one.grouped and one.head_rows.equal(W[[2, 0]])
    assert (
        several.grouped
        and several.head_rows.equal(W[[2, 1, 0]])
        and not Reader(model, None, "").grouped
    )


WRONG = {
    ("bound_terms", "--sigma", "0"): r"--sigma must be positive",
    ("bound_terms", "--params", "adapter"): r"--params adapter: \(A\) needs the distance",
    ("bound_terms", "--train-size", "0"): r"--train-size must be at least 1",
    (
        "anisotropy",
        "--parts",
        "hessian",
    ): r"--parts: 'hessian' is not known; valid: curvature, features",
    ("anisotropy", "--probes", "1"): r"--probes must be at least 2",
}


@pytest.mark.parametrize("mistake", WRONG, ids=" ".join)
def test_mistakes_name_the_flag_and_the_mend(runs, tmp_path, capsys, mistake):
    with pytest.raises(SystemExit) as stop:
        script(mistake[0])([str(runs / "near"), *mistake[1:], "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and re.search(WRONG[mistake], capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
