"""Evaluation, analyses and the other commands on a pretended GPU, on toy runs of the CPU."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from grace_geom import compare, evaluate, export, interpolate, pretrain
from grace_geom.records import EvalRecord
from tests.analysis.scripts import script
from tests.pretended_gpu import Seen
from tests.pretended_runs.there import gpu
from tests.processes import made_once
from tests.small_run import small_run, write_npz
from tests.toys import register_toy

pytestmark = pytest.mark.nightly

FEW = ["--n", "12", "--batch", "6", "--fresh", "--device", "cuda"]
SHORT = ["--top", "1", "--probes", "2", "--density-probes", "0", "--max-products", "12"]


def _make(folder: Path) -> Path:
    folder.mkdir()
    write_npz(folder)
    for method in ("grace", "ft"):
        small_run(folder, method, out=str(folder / method), epochs=1, workers=0)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with runs of GRACE and of plain fine-tuning, and ``toy.npz``."""
    return made_once(tmp_path_factory, "pretended-runs", _make)


def call(command, flags: Sequence[object], **machine) -> Seen:
    """A command on a GPU; it may not fail."""
    with gpu(**machine) as seen:
        try:
            command([str(flag) for flag in flags])
        except SystemExit as stop:
            assert not stop.code, stop.code
    return seen


EVALUATIONS = {
    "clean": ["--suites", "id,ood", "--image-size", "24"],
    "calibration": ["--suites", "id,ood", "--calibration"],
    "per class": ["--suites", "id", "--per-class"],
    "other sets": ["--suites", "id,zeroshot,natural_adv"],
    "bf16 batch": ["--suites", "id,adv", "--eval-batch", "7", "--n-attack", "9", "--steps", "2"],
    "autoattack": ["--suites", "adv", "--attack", "autoattack", "--queries", "5", "--steps", "2",
                   "--n-attack", "6"],
    "l1": ["--suites", "adv", "--norm", "l1", "--eps", "8", "--steps", "3", "--n-attack", "6"],
}  # fmt: skip


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluate(runs: Path, name: str):
    spec = f"x=npz:{runs / 'toy.npz'}"
    sets = ["--ood", spec, "--zeroshot", spec, "--natural-adv", spec]
    call(evaluate.main, [runs / "grace", "--device", "cuda", "--fresh", *sets, *EVALUATIONS[name]])


def test_evaluate_keeps_outcomes_and_attacks_another_model_with_its_images(runs: Path, tmp_path):
    flags = ["--device", "cuda", "--suites", "adv", "--steps", "2", "--n-attack", "6", "--fresh"]
    kept, table = tmp_path / "adv", tmp_path / "outcomes.csv"
    call(evaluate.main, [runs / "grace", *flags, "--save-adversarial", kept, "--outcomes", table])
    assert table.is_file()
    (images,) = kept.glob("*.npz")
    again = ["--device", "cuda", "--suites", "id", "--from-adversarial", images]
    call(evaluate.main, [runs / "ft", *again])


ANALYSES = {
    "spectrum": ("hessian_spectrum", ["--top", "2", "--probes", "2", "--density-probes", "1",
                 "--density-steps", "4", "--max-products", "12"]),
    "spectrum, float64": ("hessian_spectrum", ["--dtype", "float64", *SHORT]),
    "spectrum, ggn, basis on the host": ("hessian_spectrum", ["--operator", "ggn", *SHORT,
                 "--basis-dtype", "float16", "--basis-device", "cpu", "--bottom", "0",
                 "--max-products", "30"]),
    "spectrum, float16 basis": ("hessian_spectrum", [*SHORT, "--basis-dtype", "float16"]),
    "spectrum, adversarial, adapter": ("hessian_spectrum", [*SHORT, "--params", "adapter",
                 "--loss", "adv-ce", "--attack-steps", "2"]),
    "spectrum, text": ("hessian_spectrum", [*SHORT, "--params", "text"]),
    "spectrum, no kept graphs": ("hessian_spectrum", [*SHORT, "--graph-gib", "0"]),
    "spectrum, second opinion": ("hessian_spectrum", [*SHORT, "--backend", "pyhessian"]),
    "sharpness": ("sharpness", ["--rho", "0.05", "--rho-adaptive", "0.5", "--rho-relative",
                 "0.005", "--rho-average", "5", "--ascent-steps", "2", "--samples", "2",
                 "--attack-steps", "2"]),
    "anisotropy": ("anisotropy", ["--top", "1", "--probes", "2", "--max-products", "6",
                 "--replicates", "2", "--attack-steps", "2", "OOD"]),
    "bound_terms": ("bound_terms", ["OOD"]),
}  # fmt: skip
OF_TWO = {
    "loss_landscape": ("loss_landscape", ["--points", "3"]),
    "feature_stability": ("feature_stability", ["--replicates", "2", "--attack-steps", "2", "OOD"]),
    "drift": ("representation_drift", ["--replicates", "2", "--attack-steps", "2", "OOD"]),
    "drift, streamed": ("representation_drift", ["--stream", "--replicates", "2",
                        "--attack-steps", "2", "OOD"]),
    "drift, Gaussian kernel": ("representation_drift", ["--rbf", "--replicates", "2",
                        "--attack-steps", "2", "OOD"]),
    "drift, all tokens": ("representation_drift", ["--pool", "tokens", "--replicates", "2",
                        "--attack-steps", "2", "OOD"]),
    "stability, mean": ("feature_stability", ["--pool", "mean", "--replicates", "2",
                        "--attack-steps", "2", "OOD"]),
    "robustness_curve": ("robustness_curve", ["--queries", "10", "--steps", "3"]),
    "parameter_drift": ("parameter_drift", []),
    "report": ("report", ["--analyses", "parameter_drift,representation_drift"]),
}  # fmt: skip


def _flags(runs: Path, out: Path, words: Sequence[str]) -> list[object]:
    spec = ["--ood", f"x=npz:{runs / 'toy.npz'}"]
    return [w for word in words for w in (spec if word == "OOD" else [word])] + ["--out", out]


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_of_one_run(runs: Path, tmp_path: Path, name: str):
    analysis, words = ANALYSES[name]
    call(script(analysis), [runs / "grace", *FEW, *_flags(runs, tmp_path, words)])


@pytest.mark.parametrize("name", OF_TWO)
def test_an_analysis_of_two_runs(runs: Path, tmp_path: Path, name: str):
    analysis, words = OF_TWO[name]
    few = ["--device", "cuda", "--fresh"] if name == "parameter_drift" else FEW
    few = ["--device", "cuda", "--n", "12"] if name == "report" else few
    call(script(analysis), [runs / "grace", runs / "ft", *few, *_flags(runs, tmp_path, words)])


EACH = {words[0]: name for name, words in ANALYSES.items()}
EACH_OF_TWO = {words[0]: name for name, words in OF_TWO.items() if words[0] != "report"}


@pytest.mark.parametrize("analysis", EACH | EACH_OF_TWO)
def test_deterministic_leaves_no_sum_of_any_order(
    runs: Path, tmp_path: Path, analysis: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is before a GPU is in use
    two = analysis in EACH_OF_TWO
    _, words = OF_TWO[EACH_OF_TWO[analysis]] if two else ANALYSES[EACH[analysis]]
    few = FEW if analysis != "parameter_drift" else ["--device", "cuda", "--fresh"]
    flags = [*few, "--deterministic", *_flags(runs, tmp_path, words)]
    seen = call(script(analysis), [runs / "grace", *([runs / "ft"] if two else []), *flags])
    assert not seen.nondeterministic, seen.lines()
    stored = json.loads((tmp_path / f"{analysis}.json").read_text())
    assert stored["versions"]["deterministic"] == "True"


def test_interpolate(runs: Path):
    call(interpolate.main, [runs / "grace", "--device", "cuda", "--t", "0,0.5,1", "--suites",
         "id,adv", "--n-attack", "6", "--steps", "2", "--fresh"])  # fmt: skip


@pytest.mark.parametrize("flags", [[], ["--deterministic"]])
def test_compare(runs: Path, tmp_path: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is before a GPU is in use
    seen = call(compare.main, ["--methods", "zero-shot,ft,lora", "--device", "cuda", "--baseline",
         "ft", "--model", register_toy(), "--pretrained", "random", "--data",
         f"npz:{runs / 'toy.npz'}", "--max-steps", "2", "--batch-size", "8", "--n", "20",
         "--n-attack", "6", "--steps", "2", "--out", tmp_path / "study", *flags])  # fmt: skip
    assert bool(seen.nondeterministic) is not bool(flags), seen.lines()
    for run in ("zero-shot-s0", "ft-s0", "lora-s0"):
        record = EvalRecord.load(tmp_path / "study" / run / "eval.json")
        assert ("deterministic" in record.versions) is bool(flags)


def test_export_of_a_run_made_on_a_gpu(tmp_path: Path):
    with gpu():
        out = small_run(tmp_path, "lora", epochs=1, workers=0, device="cuda")
    export.main([str(out), "--out", str(tmp_path / "x.safetensors")])
    assert (tmp_path / "x.safetensors").is_file()


def test_pretrain(tmp_path: Path):
    call(pretrain.main, ["--device", "cuda", "--out", tmp_path / "tiny.safetensors", "--pairs",
         "64", "--steps", "2", "--batch-size", "8", "--n", "16"])  # fmt: skip
