"""The analyses of weights from their command lines: files, agreement with direct computation,
mistakes.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from grace_geom.analysis.curvature import CurvatureOptions, announce
from grace_geom.analysis.options import Common
from grace_geom.checkpoint import checkpoint_of, open_checkpoint, save_checkpoint
from grace_geom.records import Result
from tests.analysis.parts import only
from tests.analysis.scripts import SMALL, dense, needs_no_network, script

SPECTRUM = [
    *SMALL,
    "--top",
    "3",
    "--rtol",
    "1e-8",
    "--probes",
    "6",
    "--density-probes",
    "2",
    "--density-steps",
    "8",
]


@pytest.mark.drawn
def test_spectrum_agrees_with_a_dense_matrix(runs, tmp_path, capsys):
    script("hessian_spectrum")([str(runs / "near"), *SPECTRUM, "--out", str(tmp_path)])
    result = only(Result.load(tmp_path / "hessian_spectrum.json"))
    H = dense(runs / "near")
    lams = torch.linalg.eigvalsh(H)
    values = {name: m.value for name, m in result.values.items()}
    assert [values[f"lambda_{i}"] for i in (1, 2, 3)] == pytest.approx(
        lams.flip(0)[:3].tolist(), rel=1e-6
    )
    assert values["lambda_min_1"] == pytest.approx(lams[0].item(), rel=1e-6)
    trace, norm = result.values["trace"], result.values["frobenius"]
    assert abs(trace.value - H.trace()) < 4 * trace.error
    assert abs(norm.value - H.norm()) < 4 * norm.error
    assert values["frobenius/sqrt_d"] == pytest.approx(norm.value / len(H) ** 0.5)
    out = capsys.readouterr().out
    assert "λ₁" in out and "λ_min" in out and "‖H‖_F/√d" in out
    for suffix in ("json", "npz", "png", "html"):
        assert (tmp_path / f"hessian_spectrum.{suffix}").stat().st_size > 1000
    assert needs_no_network(tmp_path / "hessian_spectrum.html")
    assert result.arrays["density_weights"].sum(axis=1) == pytest.approx(np.ones(2), abs=1e-5)


def test_pyhessian_agrees_where_the_largest_eigenvalue_needs_no_network(runs, tmp_path):
    argv = [
        str(runs / "near"),
        *SPECTRUM,
        "--params",
        "head",
        "--probes",
        "20",
        "--out",
        str(tmp_path),
    ]
    script("hessian_spectrum")([*argv, "--backend", "pyhessian"])
    values = only(Result.load(tmp_path / "hessian_spectrum.json")).values
    assert values["pyhessian/lambda_1"].value == pytest.approx(values["lambda_1"].value, rel=5e-3)
    ours, peer = values["trace"], values["pyhessian/trace"]
    assert abs(ours.value - peer.value) < 4 * (ours.error**2 + peer.error**2) ** 0.5


def test_the_same_call_again_measures_nothing_and_another_checkpoint_only_itself(
    runs, tmp_path, capsys
):
    main = script("hessian_spectrum")
    out = ["--out", str(tmp_path)]
    main([str(runs / "zero_shot"), *SPECTRUM, *out])
    first = only(Result.load(tmp_path / "hessian_spectrum.json"))
    main([str(runs / "zero_shot"), *SPECTRUM, *out])
    assert "1 of 1 were measured before" in capsys.readouterr().out
    assert only(Result.load(tmp_path / "hessian_spectrum.json")).values == first.values
    main([str(runs / "zero_shot"), str(runs / "far"), *SPECTRUM, *out])
    assert "1 of 2 were measured before" in capsys.readouterr().out
    both = Result.load(tmp_path / "hessian_spectrum.json")
    assert both.parts["zero_shot"].values["lambda_1"] == first.values["lambda_1"]
    assert both.parts["far"].values["lambda_1"].value != first.values["lambda_1"].value
    main([str(runs / "zero_shot"), *SPECTRUM, *out, "--seed", "1"])
    assert "measured before" not in capsys.readouterr().out


def test_an_interrupted_spectrum_goes_on(runs, tmp_path, capsys, monkeypatch):
    from grace_geom.geometry.operators import CurvatureOperator

    real, calls = CurvatureOperator.matvec, []

    def interrupted(self, v):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(self, v)

    main = script("hessian_spectrum")
    argv = [str(runs / "far"), *SPECTRUM, "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(CurvatureOperator, "matvec", interrupted)
        with pytest.raises(SystemExit) as stop:
            main(argv)
    assert stop.value.code == 130
    assert "goes on from there" in capsys.readouterr().err
    main(argv)
    assert "going on after 6 products" in capsys.readouterr().err
    found = only(Result.load(tmp_path / "hessian_spectrum.json")).values["lambda_1"].value
    assert found == pytest.approx(torch.linalg.eigvalsh(dense(runs / "far"))[-1].item(), rel=1e-6)
    assert not list((tmp_path / ".parts").glob("*.state"))


@pytest.mark.parametrize("after", [-1, 3, 6 + 12], ids=["eigenvalues", "probes", "density"])
def test_whatever_is_interrupted_only_the_open_probe_is_lost(
    runs, tmp_path, capsys, monkeypatch, after
):
    """Interrupted and continued, the numbers are those of one run, at no more products than the
    open one had.
    """
    from grace_geom.geometry.operators import CurvatureOperator

    real, calls = CurvatureOperator.matvec, []

    def counting(self, v):
        calls.append(1)
        if not resumed and len(calls) == stop_at:
            raise KeyboardInterrupt
        return real(self, v)

    main = script("hessian_spectrum")
    argv = [
        str(runs / "far"),
        *SMALL,
        "--params",
        "head",
        "--top",
        "2",
        "--bottom",
        "0",
        "--max-products",
        "15",
        "--probes",
        "6",
        "--density-probes",
        "3",
        "--density-steps",
        "6",
        "--rtol",
        "1e-9",
    ]
    resumed = True
    monkeypatch.setattr(CurvatureOperator, "matvec", counting)
    main([*argv, "--out", str(tmp_path / "whole")])
    whole, spent = only(Result.load(tmp_path / "whole" / "hessian_spectrum.json")), len(calls)
    stop_at = (
        spent - (6 + 3 * 6) + after
    )  # of so many products the first are those of the eigenvalues
    resumed = False
    calls.clear()
    with pytest.raises(SystemExit):
        main([*argv, "--out", str(tmp_path / "parts")])
    resumed = True
    main([*argv, "--out", str(tmp_path / "parts")])
    parts = only(Result.load(tmp_path / "parts" / "hessian_spectrum.json"))
    lost = len(calls) - 1 - spent  # the call that was interrupted is no product
    assert 0 <= lost < 6 and f"going on after {stop_at - 1} products" in capsys.readouterr().err
    assert parts.values["products"].value == len(calls) - 1
    for name in ("lambda_1", "trace", "frobenius", "density/mean_eigenvalue"):
        assert parts.values[name].value == pytest.approx(whole.values[name].value, rel=1e-9)


def test_half_the_memory_is_announced_and_the_eigenvalues_stay(runs, tmp_path, capsys):
    argv = [
        str(runs / "near"),
        *SMALL,
        "--top",
        "2",
        "--rtol",
        "1e-4",
        "--probes",
        "4",
        "--density-probes",
        "0",
    ]
    argv += ["--basis-dtype", "float16", "--basis-device", "cpu", "--out", str(tmp_path)]
    script("hessian_spectrum")(argv)
    assert "Lanczos vectors on the host" in capsys.readouterr().err
    values = only(Result.load(tmp_path / "hessian_spectrum.json")).values
    lams = torch.linalg.eigvalsh(dense(runs / "near")).flip(0)
    assert [values[f"lambda_{i}"].value for i in (1, 2)] == pytest.approx(
        lams[:2].tolist(), rel=1e-4
    )


@pytest.mark.parametrize(("dtype", "bytes_"), [("same", 8), ("float16", 2)])
def test_the_memory_that_is_announced_is_that_of_the_basis(capsys, dtype, bytes_, tmp_path):
    A = SimpleNamespace(
        like=torch.empty(0, dtype=torch.float64), kept_bytes=0, kept=1, rebuilt=0, dim=2**30
    )
    announce(A, CurvatureOptions((tmp_path,), top=2, bottom=0, basis_dtype=dtype))
    assert f"about {16 * bytes_:.2f} GiB for 16 Lanczos vectors" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--operator", "ggn"], ["--loss", "adv-ce", "--attack-steps", "2"],
                                     ["--params", "head"], ["--trace", "xtrace"], ["--trace", "hutch++"]])  # fmt: skip
def test_other_operators_losses_and_weights_run(runs, tmp_path, options):
    script("hessian_spectrum")(
        [str(runs / "near"), *SPECTRUM, "--rtol", "1e-3", "--out", str(tmp_path), *options]
    )
    values = only(Result.load(tmp_path / "hessian_spectrum.json")).values
    assert values["lambda_1"].value > 0
    if options[1] in (
        "ggn",
        "head",
    ):  # cross-entropy is convex in logits, and logits are linear in the head
        assert values["lambda_min_1"].value > -1e-8


def test_text_tower_and_adapter_are_weights_too(runs, tmp_path):
    from grace_geom.methods.grace import Grace

    script("hessian_spectrum")(
        [
            str(runs / "zero_shot"),
            *SPECTRUM,
            "--params",
            "text",
            "--n",
            "3",
            "--rtol",
            "1e-2",
            "--max-products",
            "6",
            "--density-probes",
            "0",
            "--out",
            str(tmp_path),
        ]
    )
    text = only(Result.load(tmp_path / "hessian_spectrum.json"))
    assert any(name.startswith("kappa/transformer.resblocks") for name in text.values)
    model, _ = open_checkpoint(runs / "zero_shot" / "ckpt.pt")
    method = Grace(r=2)
    params, _ = method.setup(model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, w in params.items():
            w += 0.01 * torch.randn(w.shape, generator=torch.Generator().manual_seed(len(name)))
    adapter = {n: w.detach() for n, w in params.items()}
    merged = {n: w.detach() for n, w in method.weights(model, params).items()}
    checkpoint = checkpoint_of(
        model, merged, adapter=adapter, config={"data": "shapes", "r": 2, "lora_alpha": None}
    )
    save_checkpoint(tmp_path / "grace" / "ckpt.pt", checkpoint)
    script("hessian_spectrum")(
        [str(tmp_path / "grace"), *SPECTRUM, "--params", "adapter", "--out", str(tmp_path)]
    )
    found = only(Result.load(tmp_path / "hessian_spectrum.json"))
    assert found.values["dim"].value == sum(w.numel() for w in adapter.values())


WRONG = {
    "no such file": (["nowhere.pt"], r"no such checkpoint: nowhere\.pt"),
    "unknown flag": (
        ["{run}", "--opertor", "ggn"],
        r"unknown flag --opertor; did you mean '--operator'",
    ),
    "no such weights": (["{run}", "--params", "resblocks.99"], "matches none"),
    "no adapter": (["{run}", "--params", "adapter"], "no low-rank factors"),
    "value": (["{run}", "--operator", "fisher"], "--operator must be"),
    "named twice": (["{run}", "{run}"], "named twice"),
    "negative seed": (["{run}", "--seed", "-1"], "--seed must be at least 0"),
    "no images": (["{run}", "--n", "0"], "--n must be at least 1"),
    "device": (["{run}", "--device", "cuda:9"], "--device cuda:9: not available here"),
    "smallest of a singular matrix": (
        ["{run}", "--operator", "ggn", "--bottom", "2", "--n", "2"],
        r"--bottom 2: .* rank n\(K-1\)",
    ),
    "name of a domain": (["{run}", "--ood", "adv=shapes:sketch"], "--ood adv="),
    "more than half precision keeps": (
        ["{run}", "--basis-dtype", "float16", "--rtol", "1e-6"],
        r"keeps eigenvalues to 1e-4, not to --rtol 1e-06",
    ),
    "peer without ggn": (
        ["{run}", "--operator", "ggn", "--backend", "pyhessian"],
        "drop --operator ggn",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_are_answered_in_a_line_or_two(runs, tmp_path, capsys, mistake):
    argv, answer = WRONG[mistake]
    with pytest.raises(SystemExit) as stop:
        script("hessian_spectrum")(
            [a.format(run=runs / "near") for a in argv] + ["--out", str(tmp_path)]
        )
    said = capsys.readouterr().err
    error = said[said.index("error: ") :]
    assert stop.value.code == 2 and re.search(answer, error) and error.count("\n") <= 2


@pytest.mark.parametrize("params", ["head", "text", r"ln_|head\.weight"])
def test_a_head_that_is_not_asked_does_not_vary(runs, tmp_path, capsys, params):
    np.savez(
        tmp_path / "other.npz",
        images=np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), np.uint8),
        labels=np.arange(40) % 2,
    )
    (tmp_path / "other.classes.json").write_text('["moon", "tree"]')
    argv = [
        "--data",
        f"npz:{tmp_path}/other.npz",
        "--params",
        params,
        "--n",
        "4",
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as stop:
        script("hessian_spectrum")([str(runs / "near"), *argv])
    assert (
        stop.value.code == 2
        and "has other classes than the checkpoint's head" in capsys.readouterr().err
    )


def test_a_radius_in_grey_levels_is_refused(runs, tmp_path, capsys):
    argv = [str(runs / "near"), *SMALL, "--eps", "4", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="2"):
        script("sharpness")(argv)
    assert "4/255" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_another_data_root_is_another_question(runs):
    asked = [
        Common((runs / "near",), data_root=root).settings() for root in (None, Path("elsewhere"))
    ]
    assert asked[0] != asked[1]
