"""Analyses under torchrun: two processes give the numbers of one, take the same decisions, and one
of them speaks.
"""

import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from analyses import (
    anisotropy,
    bound_terms,
    feature_stability,
    hessian_spectrum,
    loss_landscape,
    parameter_drift,
    report,
    representation_drift,
    robustness_curve,
    sharpness,
)
from grace_geom.analysis import run as analysis_run
from grace_geom.analysis import state
from grace_geom.analysis.features import adversary
from grace_geom.distributed import processes, world
from grace_geom.geometry.operators import CurvatureOperator
from grace_geom.plots import export
from grace_geom.records import Part, Result
from tests.analysis.conftest import blank
from tests.processes import ranks, wait, wait_until

EVERY = ["--dtype", "float64", "--n", "21", "--batch", "4", "--attack-steps", "2"]
"""Six batches, the last of one image: 12 images in the first process, 9 in the second."""
WEIGHTS = ["--params", "ln_|proj$"]
CURVED = [*WEIGHTS, "--top", "2", "--probes", "4", "--rtol", "1e-6"]
FEW = ["--replicates", "4"]
CASES = {
    "spectrum": (hessian_spectrum, [*CURVED, "--density-probes", "2", "--density-steps", "4"]),
    "spectrum of attacked images": (
        hessian_spectrum,
        [
            *CURVED,
            "--loss",
            "adv-ce",
            "--trace",
            "xtrace",
            "--operator",
            "ggn",
            "--density-probes",
            "0",
        ],
    ),
    "one batch": (hessian_spectrum, [*CURVED, "--batch", "64", "--density-probes", "0"]),
    "sharpness": (
        sharpness,
        [*WEIGHTS, "--rho", "0.05,0.1", "--ascent-steps", "2", "--samples", "2", "--m", "6"],
    ),
    "landscape": (
        loss_landscape,
        [*WEIGHTS, "--slices", "random,eigen,line", "--points", "3", "--line-points", "3"],
    ),
    "bound": (bound_terms, [*WEIGHTS, *FEW, "--probes", "4", "--samples", "2"]),
    "anisotropy": (anisotropy, [*CURVED, *FEW]),
    "stability": (feature_stability, [*FEW, "--awp-batch", "4"]),
    "drift": (representation_drift, FEW),
    "streamed drift": (representation_drift, [*FEW, "--stream"]),
    "robustness": (
        robustness_curve,
        [
            "--radii",
            "1/255,4/255",
            "--attacks",
            "pgd,apgd-ce",
            "--steps",
            "3",
            "--queries",
            "10",
            "--eps",
            "8/255",
        ],
    ),
    "parameter drift": (parameter_drift, ["--zeroshot", "odd={lab}/odd.npz"]),
}
SAME_EVERYWHERE = (
    "spectrum",
    "spectrum of attacked images",
    "one batch",
    "sharpness",
    "landscape",
    "parameter drift",
)
"""Whose numbers every process has; those of features are made by the first alone."""


def argv(name: str, root: Path, out: str) -> list[str]:
    flags = [flag.replace("{lab}", f"npz:{root}") for flag in CASES[name][1]]
    return [str(root / "moved"), *EVERY, *flags, "--out", str(root / out / name.replace(" ", "_"))]


def all_of_them(flags: list[str]) -> None:
    """What every process of the job runs: all cases, then the first one again; what it says goes to
    a file.
    """
    root = Path(flags[0])
    with (
        processes() as here,
        open(root / f"out.{here.rank}", "w") as said,
        contextlib.redirect_stdout(said),
    ):
        real = analysis_run._measured

        def noted(*args):
            part, record = real(*args)
            text = json.dumps({key: m.value for key, m in part.values.items()}, sort_keys=True)
            (args[-1].parent.parent / f"values.{here.rank}").write_text(text)
            return part, record

        analysis_run._measured = noted
        export.save = blank
        for name, (module, _) in CASES.items():
            (root / "two" / name.replace(" ", "_")).mkdir(parents=True, exist_ok=True)
            module.main(argv(name, root, "two"))
        hessian_spectrum.main(argv("spectrum", root, "two"))


@pytest.fixture(scope="module")
def two(lab) -> Path:
    """The folder where two processes left their results."""
    job = ranks(lab, [str(lab)], 2, all_of_them)
    assert wait(job) == [0, 0], (lab / "err.0").read_text() + (lab / "err.1").read_text()
    return lab


@pytest.mark.parametrize("name", CASES)
def test_two_processes_find_what_one_finds(two, name):
    module = CASES[name][0]
    module.main(argv(name, two, "one"))
    file = f"{name.replace(' ', '_')}/{module.__name__.partition('.')[2]}.json"
    alone, shared = (Result.load(two / side / file) for side in ("one", "two"))
    assert list(shared.parts) == list(alone.parts) and shared.values == alone.values
    for label, part in alone.parts.items():
        same_numbers(shared.parts[label], part)


def same_numbers(shared: Part, alone: Part) -> None:
    assert list(shared.values) == list(alone.values) and list(shared.arrays) == list(alone.arrays)
    for key, m in alone.values.items():
        assert shared.values[key].value == pytest.approx(
            m.value, rel=1e-7, abs=1e-9, nan_ok=True
        ), key
        assert (shared.values[key].error is None) == (m.error is None), key
        assert (shared.values[key].error or 0.0) == pytest.approx(
            m.error or 0.0, rel=1e-5, abs=1e-9
        ), key
    for key, array in alone.arrays.items():
        if array.dtype.kind == "f" and key != "residuals" and not key.startswith("density"):
            np.testing.assert_allclose(shared.arrays[key], array, rtol=1e-5, atol=1e-7, err_msg=key)


@pytest.mark.parametrize("name", SAME_EVERYWHERE)
def test_both_have_the_same_numbers_bit_for_bit(two, name):
    folder = two / "two" / name.replace(" ", "_")
    assert (folder / "values.0").read_text() == (folder / "values.1").read_text()


def test_the_first_alone_speaks(two):
    said = (two / "err.0").read_text()
    assert (
        "memory of each process: about" in said
        and (two / "out.0").read_text().count("written in") == 13
    )
    assert not (two / "out.1").read_text() and not (two / "err.1").read_text()


def test_what_was_measured_is_known_to_any_number_of_processes(two, capsys):
    assert "1 of 1 were measured before" in (two / "out.0").read_text()
    hessian_spectrum.main(argv("spectrum", two, "two"))
    assert "1 of 1 were measured before" in capsys.readouterr().out


def slow(flags: list[str]) -> None:
    """A spectrum that saves after every product and takes long over each."""
    state.EVERY = 0.0
    real = CurvatureOperator.matvec

    def product(self, v):
        time.sleep(0.25)
        return real(self, v)

    CurvatureOperator.matvec = product  # type: ignore[method-assign]
    hessian_spectrum.main(flags)


def test_a_killed_process_ends_the_job_and_one_goes_on_from_what_was_kept(lab, tmp_path, capsys):
    flags = [
        str(lab / "still"),
        *EVERY,
        *WEIGHTS,
        "--top",
        "1",
        "--rtol",
        "1e-12",
        "--density-probes",
        "0",
    ]
    flags += ["--probes", "40", "--out", str(tmp_path)]
    job = ranks(tmp_path, flags, 2, slow)
    wait_until(lambda: list(tmp_path.glob(".parts/*.state")))
    job[1].kill()
    assert wait(job)[0] == 130
    said = (tmp_path / "err.0").read_text()
    assert "Traceback" not in said
    assert (
        "another process of this job ended or does not answer" in said
        and "products are kept in" in said
    )
    hessian_spectrum.main(flags)
    assert "going on after" in capsys.readouterr().err


def elsewhere(flags: list[str]) -> None:
    """The second process does not see the disk of the first."""
    with processes():
        if world().rank:
            adversary._read = lambda file, settings, shape: None
        feature_stability.main(flags)


def test_a_disk_that_not_all_see_is_named(lab, tmp_path):
    flags = [str(lab / "still"), *EVERY, *FEW, "--out", str(tmp_path / "out")]
    assert wait(ranks(tmp_path, flags, 2, elsewhere)) == [2, 2]
    assert (
        "--out must lie on a disk that all machines of the job share"
        in (tmp_path / "err.0").read_text()
    )


def test_what_runs_in_one_process_is_refused_in_two(lab, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="2"):
        report.main([str(lab / "still"), "--out", str(tmp_path)])
    assert "start each analysis with torchrun" in capsys.readouterr().err
    monkeypatch.delenv("WORLD_SIZE")
    flags = [str(lab / "still"), *EVERY, "--backend", "pyhessian", "--out", str(tmp_path)]
    assert wait(ranks(tmp_path, flags, 2, hessian_spectrum.main)) == [2, 2]
    assert "start it without torchrun" in (tmp_path / "err.0").read_text()
    assert not os.listdir(tmp_path / ".parts") if (tmp_path / ".parts").exists() else True
