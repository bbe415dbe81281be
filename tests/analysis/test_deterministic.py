"""``--deterministic`` of the analyses: no sum of any order on a GPU, and a record that says so."""

import json
from pathlib import Path

import pytest

from grace_geom.analysis.report import ReportOptions
from tests.analysis.scripts import script
from tests.pretended_gpu import pretended_gpu
from tests.small_run import small_run


def test_an_analysis_counts_no_operator_of_any_order_records_it_and_keeps_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is before a GPU is in use
    run = small_run(tmp_path, "ft", epochs=1, workers=0)
    words = [str(run), "--device", "cuda", "--n", "4", "--batch", "4", "--params", "ln_post"]
    words += ["--top", "1", "--probes", "2", "--density-probes", "0", "--max-products", "8"]
    words += ["--loss", "adv-ce", "--attack-steps", "1"]

    def versions() -> dict[str, str]:
        return json.loads((run / "analyses" / "hessian_spectrum.json").read_text())["versions"]

    with pretended_gpu() as seen:
        script("hessian_spectrum")([*words, "--deterministic"])
        assert not seen.nondeterministic and not seen.mixed
        assert versions()["deterministic"] == "True"
        capsys.readouterr()
        script("hessian_spectrum")(words)
        assert "1 of 1 were measured before" in capsys.readouterr().out
        script("hessian_spectrum")([*words, "--fresh"])
        assert seen.nondeterministic and "deterministic" not in versions()
        capsys.readouterr()
        script("hessian_spectrum")([*words, "--deterministic"])  # that was not measured so
        assert "measured before" not in capsys.readouterr().out
        assert versions()["deterministic"] == "True"


def test_a_report_hands_it_to_its_analyses():
    asked, usual = (ReportOptions((Path("run"),), deterministic=on) for on in (True, False))
    assert [*usual.arguments(Path("o")), "--deterministic"] == asked.arguments(Path("o"))
