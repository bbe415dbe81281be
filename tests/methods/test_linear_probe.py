from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.methods.linear_probe import LinearProbe, features
from grace_geom.methods.lp_ft import LpFt
from grace_geom.models import ModelSpec, build
from tests.toys import CLASSES, TEMPLATES, toy_batch, toy_clip, toy_images, toy_run

SWEEP = {"c_low": 1e-3, "c_high": 1e2, "c_values": 6, "probe_iterations": 5000}


def probed(classes: int = 3):
    """A probe of the first classes, its head, the record of its sweep, and its run."""
    model = (
        toy_clip()
        if classes == 3
        else build(ModelSpec("toy-clip", "random"), CLASSES[:classes], TEMPLATES)
    )
    method, records = LinearProbe(**SWEEP), []
    run = toy_run(method, model)

    def images(part):
        for batch in toy_images(part):
            kept = batch.labels < classes
            yield replace(
                batch, images=batch.images[kept], labels=batch.labels[kept], index=batch.index[kept]
            )

    run.images, run.emit = images, lambda stream, record: records.append((stream, record))
    return method, method.finish(run), records, run


@pytest.mark.parametrize("classes", [2, 3])
def test_reproduces_scikit_learn_on_the_features(classes):
    _, head, ((stream, record),), run = probed(classes)
    x, y = features(run, "train")
    x_val, y_val = features(run, "val")
    mean, std = x.mean(), x.std()
    cold = LogisticRegression(C=record["C"], max_iter=5000, tol=1e-8).fit((x - mean) / std, y)
    logits = torch.from_numpy(x_val).float() @ head["head.weight"].T + head["head.bias"]
    assert head["head.weight"].shape == (classes, 16)
    wanted = torch.from_numpy(cold.predict_proba((x_val - mean) / std)).float()
    assert_close(logits.softmax(1), wanted, rtol=0, atol=5e-3)
    assert record["val_acc"] == pytest.approx((logits.argmax(1).numpy() == y_val).mean())
    assert stream == "probe"


def test_the_gradient_of_its_objective_vanishes():
    _, head, ((_, record),), run = probed()
    x, y = (torch.from_numpy(a) for a in features(run, "train"))
    std = x.std(unbiased=False)
    W = (
        head["head.weight"].double() * std
    ).requires_grad_()  # the penalty is on the coefficients of scaled features
    logits = (x / std) @ W.T + head["head.bias"].double()
    objective = W.square().sum() / 2 + record["C"] * torch.nn.functional.cross_entropy(
        logits, y, reduction="sum"
    )
    (g,) = torch.autograd.grad(objective, W)
    W0 = torch.zeros_like(W).requires_grad_()
    start = record["C"] * torch.nn.functional.cross_entropy((x / std) @ W0.T, y, reduction="sum")
    assert g.norm() < 1e-2 * torch.autograd.grad(start, W0)[0].norm()


def test_c_is_the_smallest_of_the_best_on_held_out_images():
    _, _, ((_, record),), _ = probed()
    assert [s["C"] for s in record["sweep"]] == pytest.approx(np.logspace(-3, 2, 6).tolist())
    best = max(s["val_acc"] for s in record["sweep"])
    assert record["val_acc"] == best
    assert record["C"] == min(s["C"] for s in record["sweep"] if s["val_acc"] == best)


def test_leaves_only_a_head_and_the_image_tower_as_it_was():
    _, head, _, _ = probed()
    assert head.keys() == {"head.weight", "head.bias"}
    batch, model = toy_batch(64, seed=9), toy_clip()
    with torch.no_grad():
        right = [
            (model(batch.images, w).argmax(1) == batch.labels).float().mean() for w in (head, None)
        ]
    assert right[0] > right[1] + 0.1


def test_a_class_without_images_is_named():
    method = LinearProbe(**SWEEP)
    run = toy_run(method)
    run.images = lambda part: [replace(b, labels=b.labels.clamp_max(1)) for b in toy_images(part)]
    with pytest.raises(UserError, match="star"):
        method.finish(run)


def test_lp_ft_starts_at_the_probe_s_coefficients():
    method = LpFt(lr=1e-3, **SWEEP)
    run = toy_run(method)
    method.prepare(run)
    _, head, _, _ = probed()
    for name in ("head.weight", "head.bias"):
        assert torch.equal(run.params[name], head[name]) and run.params[name].requires_grad
    base = run.model.weights()
    assert all(torch.equal(w, base[name]) for name, w in run.params.items() if name not in head)
