"""m-sharpness: groups of m images, however many go through the model at a time."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch.nn import functional as F

from grace_geom.analysis.run import Part
from grace_geom.analysis.sharpness import SharpnessOptions, show
from grace_geom.checkpoint import open_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.sharpness import worst_case
from grace_geom.records import Result
from tests.analysis.parts import only
from tests.analysis.scripts import SMALL, script


def test_m_sharpness_is_of_groups_of_m_images_whatever_the_batch(runs, tmp_path):
    few = ["--ascent-steps", "2", "--samples", "2", "--rho", "0.05", "--losses", "ce", "--m", "4"]
    found = {}
    for batch in (3, 4, 10):
        out = str(tmp_path / str(batch))
        argv = [*SMALL, "--batch", str(batch), *few, "--out", out]
        script("sharpness")([str(runs / "near"), *argv])
        found[batch] = only(Result.load(tmp_path / str(batch) / "sharpness.json")).values
    model, _ = open_checkpoint(runs / "near" / "ckpt.pt")
    model = model.double()
    (batch,) = loader(resolve("shapes", "test").subset(10, 0), 10, model.image_size, train=False)
    w = {n: v for n, v in model.weights().items() if re.search(r"ln_|proj$", n)}
    expected = 0.0
    for part in replace(batch, images=batch.images.double()).split(4):
        mean = MeanLoss(lambda p, b: F.cross_entropy(model(b.images, p), b.labels), [part])
        expected += len(part) / 10 * worst_case(mean, w, [0.05], steps=2)[0].rise
    for values in found.values():
        measure = values["ce/m_sharpness/0.05"]
        assert measure.value == pytest.approx(expected, rel=1e-6)
        assert "m = 4, 3 groups" in measure.estimator
    assert found[3]["ce/m_sharpness/0.05"].error == pytest.approx(
        found[10]["ce/m_sharpness/0.05"].error, rel=1e-6
    )


def test_the_table_explains_its_columns():
    options = SharpnessOptions((Path("a"),), eps=2 / 255, m=7)
    table = show({"a": Part({}, n={"id": 14})}, options).tables[0]
    forms = {column.partition(",")[0] for column in table.columns[1:]}
    said = "\n".join(table.notes)
    assert forms == {"ball", "adaptive", "relative", "average", "m-sharpness"}
    for name in forms | {"Clean loss", "Loss under attack"}:
        assert re.search(rf"(^|\W){name}(:|\.)", said), name
    assert "ε = 2/255" in said and "every 7 images" in said and "below 0" in said
    clean = show({"a": Part({}, n={"id": 14})}, replace(options, losses=("ce",))).tables[0]
    assert "on PGD images" in said and "on PGD images" not in "\n".join(clean.notes)
