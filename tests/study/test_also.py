"""Rows of checkpoints from elsewhere answer this study's questions alone."""

import torch

from grace_geom.evaluation import Measures
from grace_geom.models import ModelSpec, build
from tests.stub_study import Stub, rows_by_label, study
from tests.toys import CLASSES


def test_a_checkpoint_measured_before_in_another_norm_shows_the_norm_of_the_study(tmp_path):
    torch.save(build(ModelSpec(), CLASSES, ("{}",)).clip.state_dict(), tmp_path / "x.pt")
    for norm, eps in (("linf", 4 / 255), ("l2", 0.5)):
        compared, _ = study(
            tmp_path / "out", Stub(), methods=("zero-shot",), seeds=(0,), baseline="zero-shot",
            also={"x": str(tmp_path / "x.pt")},
        )  # fmt: skip
        compared.measures = Measures(
            suites=("id", "adv"), n=40, n_attack=4, attack="pgd", steps=1, norm=norm, eps=eps
        )
        row = rows_by_label(compared.run())["x"]
        assert not row.error
        found = [a.attack["norm"] for a in row.records[0].accuracies if a.attack]
        assert found == [norm] and row.estimate("Adv") is not None
