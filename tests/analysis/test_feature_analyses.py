"""The feature analyses from the command line: files, tables, caches and mistakes, on two toy
checkpoints.
"""

import json

import numpy as np
import open_clip
import pytest
from PIL import Image

from analyses import feature_stability, representation_drift, robustness_curve
from grace_geom.checkpoint import checkpoint_of, open_checkpoint, save_checkpoint
from grace_geom.data import resolve
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.models import ModelSpec, build
from grace_geom.records import Result
from grace_geom.records.masked_gradients import BLACK_BOX
from tests.analysis.parts import only
from tests.analysis.two_runs import FAST, runs
from tests.toys import CLASSES, CONFIG, TEMPLATES


@pytest.mark.drawn
def test_representation_drift(lab, capsys):
    representation_drift.main([*runs(lab), *FAST, "--rbf", "--out", str(lab / "drift")])
    shown = capsys.readouterr()
    result = Result.load(lab / "drift" / "representation_drift.json")
    for name in ("id", "odd", "adv"):
        for layer in ("block.0", "block.1", "embedding"):
            same, other = (
                result.parts[run].values[f"cka/{name}/{layer}"] for run in ("still", "moved")
            )
            assert same.value == pytest.approx(1) and same.low == pytest.approx(
                1
            )  # the pretrained model itself
            assert other.value < 0.9999 and other.low <= other.value <= other.high
            assert "half-samples" in other.estimator
    assert result.parts["still"].values["procrustes/id/embedding"].value == pytest.approx(
        0, abs=1e-6
    )
    assert result.parts["moved"].values["cka/clean-adv/embedding"].value < 1
    assert result.parts["moved"].arrays["cka_layers/id"].shape == (3, 3)
    assert (
        result.settings["n"] == 60 and result.settings["seed"] == 0 and len(result.checkpoints) == 2
    )
    assert "clean-adv" in shown.out and "95 % intervals" in shown.out
    for name in ("", "-layers-id", "-gram", "-procrustes"):
        file = lab / "drift" / f"representation_drift{name}.png"
        assert Image.open(file).width == 2100 and file.with_suffix(".html").is_file()


def test_streaming_gives_the_same_numbers(lab, capsys):
    for out, more in (("whole", []), ("sums", ["--stream"])):
        representation_drift.main([runs(lab)[1], *FAST, *more, "--out", str(lab / out)])
    whole, sums = (
        only(Result.load(lab / out / "representation_drift.json")) for out in ("whole", "sums")
    )
    assert whole.values.keys() == sums.values.keys() and any(
        key.startswith("cka/clean-adv/") for key in sums.values
    )
    for key, value in whole.values.items():
        assert sums.values[key].value == pytest.approx(value.value, abs=1e-6), key
    half = "6 half-samples of 16 groups of images"
    assert sums.values["cka/id/embedding"].estimator.endswith(f"; {half}")
    shown = capsys.readouterr()
    assert shown.out.count(f"95 % intervals from {half}") == 1 and "GiB" in shown.err
    with pytest.raises(SystemExit):
        representation_drift.main([runs(lab)[1], "--stream", "--rbf"])


def test_another_checkpoint_as_reference(lab):
    argv = [runs(lab)[1], *FAST, "--reference", runs(lab)[1], "--out", str(lab / "self")]
    representation_drift.main(argv)
    result = Result.load(lab / "self" / "representation_drift.json")
    (about,) = result.checkpoints
    assert list(about["others"].values()) == [about["sha256"]] and len(about["base"]) == 64
    values = only(result).values
    assert values["cka/odd/block.1"].value == pytest.approx(1)
    assert values["gram_chord/adv/embedding"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.drawn
def test_feature_stability(lab, capsys):
    feature_stability.main([*runs(lab), *FAST, "--out", str(lab / "stability")])
    result = Result.load(lab / "stability" / "feature_stability.json")
    for key in (
        "centroid_cosine/odd",
        "delta_lid/adv",
        "two_nn/id",
        "gram_volume",
        "shift_awp",
        "separation/adv",
    ):
        for run in ("still", "moved"):
            assert np.isfinite(result.parts[run].values[key].value), key
    assert result.parts["moved"].arrays["pca/adv"].shape == (60, 3) and result.parts[
        "still"
    ].arrays["gram_volume"].shape == (60,)
    page = (lab / "stability" / "feature_stability.html").read_text()
    assert "<script src=" not in page  # opens without a network
    out = capsys.readouterr().out
    assert "Table 2" in out and "Table 9" in out and "cos(μ)" in out


def test_what_was_measured_is_not_measured_again(lab, capsys, monkeypatch):
    argv = [runs(lab)[0], *FAST, "--out", str(lab / "again")]
    feature_stability.main(argv)
    first = (lab / "again" / "feature_stability.json").read_text()
    monkeypatch.setattr(
        "grace_geom.analysis.feature_stability.measure_stability",
        lambda *a: pytest.fail("measured again"),
    )
    feature_stability.main(argv)
    assert (
        json.loads(first)["parts"]
        == json.loads((lab / "again" / "feature_stability.json").read_text())["parts"]
    )


def test_the_attack_is_shared_by_the_analyses_of_one_folder(lab):
    out = lab / "shared"
    feature_stability.main([runs(lab)[1], *FAST, "--out", str(out)])
    before = {file: file.stat().st_mtime_ns for file in out.rglob("adv-*.npy")}
    representation_drift.main([runs(lab)[1], *FAST, "--out", str(out)])
    assert before and before == {file: file.stat().st_mtime_ns for file in out.rglob("adv-*.npy")}


@pytest.mark.drawn
def test_robustness_curve(lab, capsys):
    argv = [
        "--n",
        "40",
        "--steps",
        "3",
        "--queries",
        "5",
        "--radii",
        "1/255,16/255",
        "--attacks",
        "pgd,apgd-ce",
    ]
    robustness_curve.main([*runs(lab), *argv, "--eps", "16/255", "--out", str(lab / "curve")])
    result = Result.load(lab / "curve" / "robustness_curve.json")
    for run in ("still", "moved"):
        clean, near, far = (
            result.parts[run].values[key].value for key in ("clean", "pgd/1/255", "pgd/16/255")
        )
        assert clean >= near >= far
        assert (result.parts[run].arrays["margin"] > 0).mean() == pytest.approx(clean)
        own, other = (
            result.parts[run].values[f"transfer/{label}"].value for label in ("still", "moved")
        )
        assert {own, other} <= {k / 40 for k in range(41)}
        delta = result.parts[run].arrays["example_delta"]
        assert np.abs(delta).max(initial=0) <= 16 / 255 + 1e-6
        examples_are_what_they_say(result.parts[run].arrays)
        falls = result.parts[run].arrays["falls/pgd"]  # by image what the curve says in shares
        assert (falls > 0).mean() == pytest.approx(clean) and np.isinf(
            falls
        ).mean() == pytest.approx(far)
        stands = {
            name: result.parts[run].arrays[f"stands/{name}"]
            for name in ("pgd", "pgd, 2x steps", "apgd", BLACK_BOX)
        }
        assert not (stands["pgd, 2x steps"] & ~stands["pgd"]).any()  # the same walk, longer
        beyond = (stands["apgd"] & ~stands[BLACK_BOX]).mean()
        assert result.parts[run].values["check/square beyond apgd"].value == pytest.approx(beyond)
    for name in ("", "-margins", "-examples", "-transfer"):
        file = lab / "curve" / f"robustness_curve{name}.png"
        assert Image.open(file).width == 2100 and file.with_suffix(".html").is_file()
    out = capsys.readouterr().out
    assert "Transfer between checkpoints" in out and "Square" in out


def examples_are_what_they_say(arrays) -> None:
    """The example arrays that the dashboard draws, against the checkpoint's own answers."""
    clean, adv, delta = (arrays[f"example_{part}"] for part in ("clean", "adv", "delta"))
    names, before = arrays["class_names"], arrays["example_before"]
    assert clean.dtype == adv.dtype == np.uint8 and clean.shape == adv.shape == delta.shape
    assert (
        np.abs(clean / 255 + delta - adv / 255).max(initial=0) <= 0.51 / 255
    )  # rounding to grey levels
    assert set(before) <= set(names) and (before != arrays["example_after"]).all()
    assert len(arrays["labels"]) == 40


@pytest.mark.parametrize(
    "names", [("moon", "tree", "circle"), ("moon", "tree", "circle", "house", "boat")], ids=len
)
def test_a_set_of_other_classes_is_answered_by_its_own_text_head(lab, tmp_path, names):
    with np.load(lab / "id.npz") as file:
        np.savez(
            tmp_path / "other.npz",
            images=file["images"],
            labels=np.arange(len(file["labels"])) % len(names),
        )
    (tmp_path / "other.classes.json").write_text(json.dumps(list(names)))
    spec = f"npz:{tmp_path}/other.npz"
    argv = [
        "--data",
        spec,
        "--n",
        "60",
        "--steps",
        "1",
        "--radii",
        "1/255",
        "--attacks",
        "pgd",
        "--checks",
        "false",
    ]
    robustness_curve.main([runs(lab)[1], *argv, "--out", str(tmp_path / "out")])
    found = only(Result.load(tmp_path / "out" / "robustness_curve.json")).values["clean"].value
    model, _ = open_checkpoint(lab / "moved" / "ckpt.pt")
    assert found == evaluate_set(model, resolve(spec, "test").subset(60, 0), "id", "other").accuracy


def test_radii_out_of_range_are_a_mistake(lab, capsys):
    with pytest.raises(SystemExit):
        robustness_curve.main([runs(lab)[0], "--radii", "4", "--out", str(lab / "wrong")])
    assert "--radii" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--layers", "blok"], "did you mean"),
        (["--pool", "clss"], "--pool"),
        (["--replicats", "5"], "--replicates"),
        (["--ood", "sketch=npz:nowhere.npz"], "nowhere.npz"),
    ],
)
def test_mistakes_are_one_line(lab, capsys, argv, message):
    with pytest.raises(SystemExit) as stop:
        feature_stability.main([runs(lab)[0], *FAST, "--out", str(lab / "wrong"), *argv])
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error:") and message in error


def test_a_reference_of_another_size_leaves_the_checkpoint_s_own_numbers(lab, tmp_path):
    """The checkpoint's clean images are of its own size whatever it is compared with."""
    config = {"data": f"npz:{lab}/id.npz", "method": "ft"}
    large = CONFIG | {"vision_cfg": CONFIG["vision_cfg"] | {"image_size": 32}}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "toy-large.json").write_text(json.dumps(large))
    open_clip.add_model_config(tmp_path / "configs")
    model = build(ModelSpec("toy-large", "random", 1), CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "large" / "ckpt.pt", checkpoint_of(model, {}, config=config))
    found = []
    for more in ([], ["--reference", str(tmp_path / "large")], []):
        out = tmp_path / "out"  # one cache of features for all
        argv = [str(lab / "moved"), *FAST, *more, "--out", str(out), "--fresh"]
        representation_drift.main(argv)
        values = only(Result.load(out / "representation_drift.json")).values
        found.append({k: m.value for k, m in values.items() if "/clean-adv/" in k})
    assert found[0] and found[0] == found[1] == found[2]
