"""NLL, Brier score and temperature against scikit-learn and scipy, through the command, too."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import brier_score_loss, log_loss

from grace_geom.data import resolve
from grace_geom.evaluation.per_image import look
from grace_geom.evaluation.temperature import fit_temperature
from grace_geom.records import EvalRecord
from tests.evaluation.test_evaluate import PGD, evaluate, run  # noqa: F401
from tests.toys import toy_batch, toy_clip


def logits_and_labels(n: int = 300, k: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(0, k, (n,), generator=g)
    logits = 6 * torch.randn(n, k, generator=g, dtype=torch.float64)
    logits[torch.arange(n), labels] += 5
    return logits, labels


def test_scores_are_scikit_learns():
    logits, labels = logits_and_labels()
    found = look(logits, labels, temperature=3.0)
    for prefix, t in (("", 1.0), ("scaled_", 3.0)):
        p = (logits / t).softmax(1).numpy()
        assert float(found[f"{prefix}nll"].mean()) == pytest.approx(log_loss(labels, p), rel=1e-12)
        brier = brier_score_loss(labels, p, scale_by_half=False)
        assert float(found[f"{prefix}brier"].mean()) == pytest.approx(brier, rel=1e-12)
        np.testing.assert_allclose(found[f"{prefix}confidence"], p.max(1), rtol=1e-12)


def test_the_temperature_has_the_lowest_nll():
    logits, labels = logits_and_labels()
    expected = minimize_scalar(
        lambda log_t: log_loss(labels, (logits / np.exp(log_t)).softmax(1).numpy()),
        bounds=(-3, 5), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(expected.x), rel=1e-5)
    assert fit_temperature(7 * logits, labels) == pytest.approx(
        7 * fit_temperature(logits, labels), rel=1e-9
    )


def test_a_model_that_is_always_right_is_scaled_until_no_loss_is_left():
    logits, labels = 10 * torch.eye(4, dtype=torch.float64), torch.arange(4)
    t = fit_temperature(logits, labels)
    assert 1e-4 < t < 1 and torch.nn.functional.cross_entropy(logits / t, labels) < 1e-15


def test_a_model_that_is_always_wrong_is_scaled_to_uniform_probabilities():
    logits, labels = 10 * torch.eye(4, dtype=torch.float64), (torch.arange(4) + 1) % 4
    assert fit_temperature(logits, labels) == pytest.approx(1e4, rel=1e-6)


def test_the_command_scales_by_held_out_images(run, capsys):  # noqa: F811
    evaluate(capsys, str(run), "--suites", "id,adv", *PGD)
    text = evaluate(capsys, str(run), "--suites", "id,adv", *PGD, "--calibration")
    assert "measured before" not in text  # the scores were not there
    record = EvalRecord.load(run / "eval.json")
    clean, attacked = (a.scores for a in record.accuracies)
    model, batch = toy_clip(), toy_batch(30, 1)
    val = resolve(record.settings["data"], "val")
    images = torch.from_numpy(np.stack([val.fetch(i) for i in range(len(val))]))
    held_out = model(images.permute(0, 3, 1, 2).float() / 255).detach()
    t = fit_temperature(held_out, torch.from_numpy(val.labels))
    assert clean["temperature"] == pytest.approx(t, rel=1e-4) and clean["held_out"] == len(val)
    logits = model((batch.images * 255).round() / 255).detach().double()
    for kind, by in (("plain", 1.0), ("scaled", t)):
        p = (logits / by).softmax(1).numpy()
        assert clean[kind]["nll"]["value"] == pytest.approx(log_loss(batch.labels, p), rel=1e-4)
        assert f"{clean[kind]['nll']['value']:.3f} [" in text
    assert attacked["plain"]["nll"]["value"] > clean["plain"]["nll"]["value"]
    again = evaluate(capsys, str(run), "--suites", "id,adv", *PGD, "--calibration")
    assert "2 numbers were measured before" in again
