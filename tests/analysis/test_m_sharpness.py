"""m-sharpness: groups of m images, however many go through the model at a time."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch.nn import functional as F

from grace_geom.analysis.hessian_spectrum import SpectrumOptions
from grace_geom.analysis.hessian_spectrum import show as spectrum
from grace_geom.analysis.run import Part
from grace_geom.analysis.sharpness import SharpnessOptions, show
from grace_geom.checkpoint import open_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.sharpness import worst_case
from grace_geom.records import Measure, Result
from grace_geom.tables import Table
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
    assert forms == {"ball", "adaptive", "relative", "Gaussian", "m-sharpness"}
    for name in forms | {"Clean loss", "Adversarial loss"}:
        assert re.search(rf"(^|\W){name}(:|\.)", said), name
    assert "ε = 2/255" in said and "every 7 images" in said and "below 0" in said
    clean = show({"a": Part({}, n={"id": 14})}, replace(options, losses=("ce",))).tables[0]
    assert "on PGD images" in said and "on PGD images" not in "\n".join(clean.notes)


def test_a_column_says_its_kind_of_error_and_one_group_has_no_column():
    options = SharpnessOptions((Path("a"),), m=7, losses=("ce",))
    values = {
        "ce/ball/0.1": Measure(0.04),
        "ce/average/10": Measure(0.02, 0.003),
        "ce/m_sharpness/0.1": Measure(0.04, math.nan),
    }

    def table(n: int) -> Table:
        return show({"a": Part(values, n={"id": n})}, options).tables[0]

    one, two = table(7), table(14)
    forms = ["ball, ρ = 0.1", "adaptive, ρ = 1", "relative, ρ = 0.005", "Gaussian ± s.e., ρ = 10"]
    assert list(one.columns) == ["checkpoint", *forms]
    assert list(two.columns) == [*one.columns, "m-sharpness, ρ = 0.1"]
    assert any("the same as ball here" in note and "m = 7" in note for note in one.notes)
    assert any("s.e.: standard error" in note for note in one.notes)


def test_the_table_of_eigenvalues_says_its_kind_of_error():
    options = SpectrumOptions((Path("a"),))
    values = {"lambda_1": Measure(3.0), "trace": Measure(9.0, 0.5)}
    (table,) = spectrum({"a": Part(values, n={"id": 7})}, options).tables
    assert list(table.columns) == ["checkpoint", "λ₁", "trace ± s.e."]
    assert table.notes == ["s.e.: standard error of the estimate"]
    exact = {"a": Part({"lambda_1": Measure(3.0)}, n={"id": 7})}
    assert spectrum(exact, options).tables[0].notes == []
