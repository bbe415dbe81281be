"""Rows of checkpoints from elsewhere answer this study's questions alone."""

import json

import numpy as np
import torch

from grace_geom.data import resolve
from grace_geom.data.keys import keys_of
from grace_geom.evaluation import Measures
from grace_geom.models import ModelSpec, build
from grace_geom.study import Study, StudyOptions
from grace_geom.study.execute import Steps
from grace_geom.terminal import door, say
from tests.stub_study import Stub, rows_by_label, study, timed
from tests.toys import CLASSES


def test_a_quiet_study_tells_every_run_trial_and_checkpoint_that_fails(tmp_path, capsys):
    torch.save({"state_dict": {"pad_up": torch.zeros(1)}}, tmp_path / "x.pt")

    @door
    def command(argv=None):
        Study(
            StudyOptions(
                methods=("zero-shot", "ft"), seeds=(0,), baseline="zero-shot", out=tmp_path / "out",
                also={"x": str(tmp_path / "x.pt")}, lr_grid="1e-3,1e-2",
            ),
            Measures(suites=("id",)), Steps(stub.train, stub.evaluate), timed, say,
        ).run()  # fmt: skip

    stub = Stub(fails="ft-")
    command(["--quiet", "--json"])
    out, err = capsys.readouterr()
    said = err.splitlines()
    assert json.loads(out)["warnings"] == said
    told = ("trial ft at lr 0.001: RuntimeError: no such luck", "trial ft at lr 0.01: RuntimeError: no",
            "[2/2] ft-s0          failed: RuntimeError: no such luck", "x              failed: ")  # fmt: skip
    assert len(said) == len(told)
    assert all(line.startswith(text) for line, text in zip(said, told, strict=True))


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


def test_images_that_the_runs_leave_out_do_not_empty_the_row(tmp_path):
    torch.save(build(ModelSpec(), CLASSES, ("{}",)).clip.state_dict(), tmp_path / "x.pt")
    stub, seen = Stub(), keys_of(resolve("shapes", "test"))[:100]
    stub.members = {"keys": torch.from_numpy(seen.view(np.int64))}
    compared, _ = study(
        tmp_path / "out", stub, methods=("zero-shot",), seeds=(0,), baseline="zero-shot",
        also={"x": str(tmp_path / "x.pt")},
    )  # fmt: skip
    compared.measures = Measures(suites=("id",))
    rows = rows_by_label(compared.run())
    own, other = (rows[label].records[0].accuracies for label in ("zero-shot", "x"))
    assert [a.n for a in other] == [own[0].n + 100]
    assert "†" in (tmp_path / "out" / "table.md").read_text(), "unlike images are said"
