"""Sharpness and loss landscapes: the loss around a checkpoint and between checkpoints."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from grace_geom.analysis import Part
from grace_geom.analysis.loss_landscape import comparable
from grace_geom.checkpoint import checkpoint_of, open_checkpoint, save_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.sharpness import worst_case
from grace_geom.records import Result
from grace_geom.weights import norm
from tests.analysis.parts import only
from tests.analysis.scripts import SMALL, needs_no_network, script


@pytest.mark.drawn
def test_sharpness_agrees_with_the_library_at_its_radius(runs, tmp_path, capsys):
    argv = [
        *SMALL,
        "--ascent-steps",
        "3",
        "--samples",
        "3",
        "--attack-steps",
        "2",
        "--rho",
        "0.05,0.1",
    ]
    script("sharpness")([str(runs / "near"), *argv, "--out", str(tmp_path)])
    values = {n: m.value for n, m in only(Result.load(tmp_path / "sharpness.json")).values.items()}
    model, _ = open_checkpoint(runs / "near" / "ckpt.pt")
    model = model.double()
    (batch,) = loader(resolve("shapes", "test").subset(10, 0), 10, model.image_size, train=False)
    x, w = (
        batch.images.double(),
        {n: v for n, v in model.weights().items() if re.search(r"ln_|proj$", n)},
    )
    assert values["ce/loss"] == pytest.approx(
        F.cross_entropy(model(x), batch.labels).item(), rel=1e-9
    )
    mean = MeanLoss(lambda p, b: F.cross_entropy(model(x, p), batch.labels), [batch])
    found = worst_case(mean, w, [0.05, 0.1], steps=3)
    assert [values["ce/ball/0.05"], values["ce/ball/0.1"]] == pytest.approx(
        [p.rise for p in found], rel=1e-6
    )
    assert values["adv-ce/loss"] > values["ce/loss"]  # the attack does something
    assert (
        "Sharpness" in capsys.readouterr().out
        and (tmp_path / "sharpness.png").stat().st_size > 1000
    )
    assert needs_no_network(tmp_path / "sharpness.html")


@pytest.mark.drawn
def test_landscape_passes_through_the_checkpoint_and_the_pretrained_model(runs, tmp_path, capsys):
    argv = [
        "--n", "12", "--dtype", "float64", "--points", "3", "--contour-points", "3",
        "--line-points", "4", "--beyond", "2", "--attack-steps", "1", "--ood", "sketch=shapes:sketch",
    ]  # fmt: skip
    both = [str(runs / "near"), str(runs / "zero_shot")]
    script("loss_landscape")(
        [*both, *argv, "--slices", "random,eigen,contour,line", "--directions", "2", "--out",
         str(tmp_path)]
    )  # fmt: skip
    result = Result.load(tmp_path / "loss_landscape.json")
    for label in ("near", "zero_shot"):
        loss = result.parts[label].values["loss"].value
        for name in ("random", "eigen"):
            _, cut, half = result.parts[label].arrays[name]
            assert cut[1] == pytest.approx(loss, rel=1e-6)
            assert half[1] == 0 and (half[[0, 2]] > 0).all()
            rise = result.parts[label].values[f"{name}/rise"]
            assert rise.value == pytest.approx((cut[0] + cut[2]) / 2 - cut[1], rel=1e-4, abs=1e-6)
            assert rise.low < rise.value < rise.high
            both_ends = (half[0] + half[2]) / 2, abs(half[0] - half[2]) / 2  # of a mean of two
            assert both_ends[1] - 1e-9 <= rise.high - rise.value <= both_ends[0] + 1e-9
        (other,) = result.parts[label].arrays["random_more"]
        assert other[1] == pytest.approx(loss, rel=1e-6)
        assert abs(other - result.parts[label].arrays["random"][1]).max() > 1e-6
        assert result.parts[label].arrays["contour"][1, 1] == pytest.approx(loss, rel=1e-6)
    line = result.parts["near"].arrays["line/id_loss"]
    assert line[0] == pytest.approx(
        result.parts["zero_shot"].values["loss"].value, rel=1e-6
    )  # t = 0
    assert result.parts["near"].arrays["line/t"].tolist() == pytest.approx(
        [0, 2 / 3, 1, 4 / 3, 2]
    )  # 1 is none of the four
    assert line[2] == pytest.approx(result.parts["near"].values["loss"].value, rel=1e-6)  # t = 1
    printed = next(
        row.split() for row in capsys.readouterr().out.splitlines() if row.startswith("near ")
    )
    measured = [
        f"{100 * result.parts['near'].arrays[f'line/{name}'][2]:.1f}"
        for name in ("id", "ood", "adv")
    ]
    assert printed[3:] == measured  # and each is a number of images, not of neighbours
    assert result.parts["zero_shot"].arrays["line/id"].std() == 0  # nothing moved
    assert (
        result.parts["near"].arrays["line/adv"] <= result.parts["near"].arrays["line/id"] + 1e-9
    ).all()
    assert (tmp_path / "loss_landscape-contour.png").stat().st_size > 1000 and needs_no_network(
        tmp_path / "loss_landscape.html"
    )


@pytest.mark.drawn
def test_a_plane_passes_through_its_three_checkpoints(runs, tmp_path):
    near, far = (open_checkpoint(runs / name / "ckpt.pt")[0] for name in ("near", "far"))
    turned = {
        n: w + 0.02 * torch.sin(100 * w)
        for n, w in near.weights().items()
        if n.startswith("visual.")
    }
    third = checkpoint_of(near, near.weights() | turned, config={"data": "shapes"})
    save_checkpoint(tmp_path / "turned" / "ckpt.pt", third)
    argv = [
        "--n",
        "8",
        "--dtype",
        "float64",
        "--slices",
        "plane",
        "--contour-points",
        "4",
        "--out",
        str(tmp_path),
    ]
    script("loss_landscape")(
        [str(runs / "near"), *argv, "--through", f"{runs / 'far'},{tmp_path / 'turned'}"]
    )
    arrays = only(Result.load(tmp_path / "loss_landscape.json")).arrays
    corner = {n: far.weights()[n] - near.weights()[n] for n in turned}
    assert arrays["plane_corners"][1, 0] == pytest.approx(norm(corner).item(), rel=1e-5)
    assert (
        arrays["plane_names"].tolist() == ["near", "far", "turned"]
        and np.isfinite(arrays["plane"]).all()
    )
    assert (tmp_path / "loss_landscape-plane.png").stat().st_size > 1000


@pytest.mark.parametrize("given", [[], ["--through", "a"]])
def test_a_plane_needs_two_other_checkpoints(runs, tmp_path, capsys, given):
    with pytest.raises(SystemExit) as stop:
        script("loss_landscape")(
            [str(runs / "near"), "--slices", "plane", *given, "--out", str(tmp_path)]
        )
    assert (
        stop.value.code == 2 and "--through A,B, two other checkpoints" in capsys.readouterr().err
    )


def test_random_slices_of_other_shapes_are_left_out():
    arrays = {"random": np.zeros((2, 3)), "line/t": np.ones(1)}
    parts = {
        label: Part({}, {"blocks": np.array(["w"]), "block_shapes": np.array([shape])} | arrays)
        for label, shape in (("a", "(2, 2)"), ("b", "(3, 2)"), ("c", "(2, 2)"))
    }
    kept = comparable(parts)
    assert [label for label, part in kept.items() if "random" in part.arrays] == ["a", "c"]
    assert all("line/t" in part.arrays for part in kept.values())
