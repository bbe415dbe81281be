"""Drift of weights from its command line: numbers by hand, files, and what is measured anew."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grace_geom import known_analyses
from grace_geom.analysis import parameter_drift
from grace_geom.analysis.parameter_drift import padded
from grace_geom.checkpoint import open_checkpoint
from grace_geom.geometry.drift import relative_drift
from grace_geom.records import Result
from tests.analysis.scripts import needs_no_network, script


@pytest.mark.drawn
def test_drift_is_twice_as_far_for_twice_the_step(runs, tmp_path, capsys):
    names = ["zero_shot", "near", "far"]
    script("parameter_drift")(
        [
            *(str(runs / n) for n in names),
            "--n",
            "12",
            "--params",
            "visual",
            "--zeroshot",
            "colour=shapes:colour",
            "--out",
            str(tmp_path),
        ]
    )
    result = Result.load(tmp_path / "parameter_drift.json")
    drift = [result.parts[n].values["drift"].value for n in names]
    assert drift[0] == 0 and drift[2] == pytest.approx(2 * drift[1], rel=1e-4)
    itself = result.parts["zero_shot"].values["zero_shot_loss"]
    assert (itself.value, itself.error) == (0, 0), "the reference loses nothing against itself"
    model = {n: open_checkpoint(runs / n / "ckpt.pt")[0].weights() for n in names}
    visual = {n: w for n, w in model["zero_shot"].items() if n.startswith("visual.")}
    assert drift[1] == pytest.approx(relative_drift(model["near"], visual))
    part = result.parts["near"]
    block = "visual.transformer.resblocks.0.mlp.c_fc.weight"
    (row,) = part.arrays["singular_values"][part.arrays["blocks"] == block]
    change = (model["near"][block] - visual[block]).double().numpy()
    s = np.linalg.svd(change, compute_uv=False)
    np.testing.assert_allclose(row[: len(s)], s, rtol=1e-4, atol=1e-7)
    assert not row[len(s) :].any()
    assert "Parameter drift" in capsys.readouterr().out
    assert (tmp_path / "parameter_drift.png").stat().st_size > 1000 and needs_no_network(
        tmp_path / "parameter_drift.html"
    )


def test_the_zero_shot_loss_has_the_error_of_paired_answers(monkeypatch):
    g = np.random.default_rng(0)
    right = {  # most images are easy for both, or hard for both
        (model, name): (easy ^ (g.random(n) < flips))
        for name, n in (("a", 60), ("b", 20))
        for easy in [g.random(n) < 0.6]
        for model, flips in (("base", 0.0), ("model", 0.2))
    }

    def told(model, images, suite, name, **_):
        return SimpleNamespace(right=lambda: right[model.name, name])

    base, model = (SimpleNamespace(name=n) for n in ("base", "model"))
    for one in (base, model):
        one.float = lambda one=one: one
    monkeypatch.setattr(parameter_drift, "evaluate_set", told)
    sets = {n: SimpleNamespace(class_names=("x", "y")) for n in ("a", "b")}
    options = parameter_drift.ParameterDriftOptions((Path("x"),))
    subject = SimpleNamespace(base=base, model=model, image_size=32)
    found = parameter_drift._zero_shot(subject, sets, options)
    losses, squares = [], []
    for name in sets:
        pairs = zip(right["base", name], right["model", name], strict=True)
        gaps = [float(x) - float(y) for x, y in pairs]
        loss = sum(gaps) / len(gaps)
        square = sum((gap - loss) ** 2 for gap in gaps) / (len(gaps) - 1) / len(gaps)
        m = found[f"zero_shot_loss/{name}"]
        assert (m.value, m.error) == pytest.approx((loss, square**0.5), rel=1e-12)
        assert m.estimator == f"n = {len(gaps)}, paired over images"
        losses.append(loss)
        squares.append(square)
    whole = found["zero_shot_loss"]
    assert (whole.value, whole.error) == pytest.approx((sum(losses) / 2, sum(squares) ** 0.5 / 2))
    itself = SimpleNamespace(base=base, model=base, image_size=32)
    same = parameter_drift._zero_shot(itself, sets, options)
    assert {(m.value, m.error) for m in same.values()} == {(0.0, 0.0)}


def test_a_part_of_another_estimator_is_not_used(runs, tmp_path, monkeypatch):
    known = known_analyses.ANALYSES["parameter_drift"]
    line = [str(runs / "near"), "--n", "4", "--zeroshot", "colour=shapes:colour"]
    for revision, parts in ((known.revision, 1), (known.revision, 1), (known.revision + 1, 2)):
        entry = replace(known, revision=revision)
        monkeypatch.setitem(known_analyses.ANALYSES, "parameter_drift", entry)
        script("parameter_drift")([*line, "--out", str(tmp_path)])
        assert len(list((tmp_path / ".parts").glob("parameter_drift-*.json"))) == parts
    assert known.revision > 0, "its error was an unpaired one before"


def test_spectra_are_kept_beyond_the_rank_of_any_adapter():
    kept = padded([np.arange(100.0, 0, -1), np.zeros(0), np.ones(1500)])
    assert kept.shape == (3, 1024)
    assert list(kept[0][98:102]) == [2, 1, 0, 0] and not kept[1].any() and kept[2].all()
    assert padded([]).shape == (0, 0)
