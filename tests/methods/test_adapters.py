"""What else than LoRA's factors trains on the matrices that LoRA adapts."""

import pytest
import torch
from torch.testing import assert_close

from grace_geom.analysis.objective import objective
from grace_geom.checkpoint import checkpoint_of, load_checkpoint, save_checkpoint
from grace_geom.errors import Interrupted, UserError
from grace_geom.exporting.loaded import opened
from grace_geom.exporting.peft_folder import check
from grace_geom.exporting.recipe import training_command
from grace_geom.methods.adapters import MAGNITUDE, rescaled
from grace_geom.methods.ft import Ft
from grace_geom.methods.grace import Grace
from grace_geom.methods.lora import ATTENTION_AND_MLP, Lora
from grace_geom.methods.spd import LoraSpd, Spd
from tests.methods.ends import left_by, same_bits
from tests.methods.moving import in_double, moved
from tests.small_run import small_run
from tests.toys import toy_batch, toy_clip, toy_run, train

FEW = {"attack_steps": 2, "r": 4, "rho": 0.05}


def test_whole_matrices_without_the_adversarial_branch_are_fine_tuning_of_them_bit_for_bit():
    off = {"lambda_lar": 0, "lambda_gv": 0, "lr": 1e-3, "weight_decay": 0.1}
    plain = Ft(lr=1e-3, train_head=False, targets=ATTENTION_AND_MLP)
    assert same_bits(left_by(Grace(adapter="full", **off)), left_by(plain))
    tower = Ft(lr=1e-3, weight_decay=0.1, train_head=False)
    assert same_bits(left_by(Grace(adapter="tower", **off)), left_by(tower))


def test_the_default_is_lora_bit_for_bit():
    off = {"lambda_lar": 0, "lambda_gv": 0, "lr": 1e-3}
    assert same_bits(left_by(Grace(**off)), left_by(Lora(lr=1e-3)))


def test_with_selective_decay_and_no_adversarial_branch_it_is_lora_spd_or_spd_bit_for_bit():
    off = {"lambda_lar": 0, "lambda_gv": 0, "lr": 1e-2}
    decayed = left_by(Grace(spd=0.7, **off))
    assert same_bits(decayed, left_by(LoraSpd(lam=0.7, lr=1e-2)))
    assert not same_bits(decayed, left_by(Grace(**off)))
    whole = {"train_head": False, "targets": ATTENTION_AND_MLP}
    spd = left_by(Spd(lam=0.7, lr=1e-2, **whole))
    assert same_bits(left_by(Grace(adapter="full", spd=0.7, **off)), spd)


@pytest.mark.parametrize("kind", ["full", "tower", "dora"])
def test_the_same_matrices_are_perturbed_and_ranked(kind):
    runs = []
    for adapter in ("lora", kind):
        method = Grace(adapter=adapter, curriculum=False, **FEW)
        run = toy_run(method)
        method.refresh(run, [toy_batch()])
        fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}
        delta = method.perturbation(run, fixed, [toy_batch()])
        runs.append((run.state["h"], run.state["ranks"], delta))
    (h, ranks, delta), (other_h, other_ranks, other_delta) = runs
    assert ranks == other_ranks and delta.keys() == other_delta.keys()
    for name in h:  # at the start all three are the pretrained model
        assert_close(other_h[name], h[name], rtol=1e-4, atol=1e-9)
    for name, (B, A) in delta.items():
        assert (B @ A).norm() > 0
        assert_close(other_delta[name][0], B, rtol=1e-3, atol=1e-7)
        assert torch.equal(other_delta[name][1], A)


@pytest.mark.parametrize("kind", ["full", "tower", "dora"])
def test_every_term_reaches_every_leaf_and_the_loss_falls(kind):
    method = Grace(adapter=kind, lr=3e-3, **FEW)
    run = toy_run(method)
    history = train(method, run, [toy_batch(16)] * 8)
    assert history[-1]["task"] < history[0]["task"]
    assert all(p.grad.abs().max() > 0 for p in run.params.values())
    assert not method.state_flaw(run, run.state, run.step)
    ranks = dict.fromkeys(run.state["ranks"], 9)
    assert "expected a rank" in method.state_flaw(run, run.state | {"ranks": ranks}, run.step)


def test_dora_is_its_formula_row_by_row_and_starts_at_the_base():
    method, model = Grace(adapter="dora", r=3, lora_alpha=6.0), in_double()[1]
    start = toy_run(method, model)
    for name, w in method.weights(model, start.params).items():
        assert_close(w, model.weights()[name], rtol=1e-12, atol=0)
    run = moved(method, model)
    for name, w in method.weights(model, run.params).items():
        W0, A, B, m = (
            model.weights()[name], *(run.params[name + end] for end in (".A", ".B", MAGNITUDE)),
        )  # fmt: skip
        for i in range(len(W0)):
            row = [W0[i, j] + 2.0 * sum(B[i, k] * A[k, j] for k in range(3)) for j in (0, 1)]
            V = W0[i] + 2.0 * (B[i, :, None] * A).sum(0)
            length = sum(v**2 for v in V.tolist()) ** 0.5
            assert_close(w[i, :2], m[i] * torch.stack(row) / length, rtol=1e-10, atol=1e-12)


def test_doras_gradient_takes_the_length_for_a_constant_and_the_analyses_do_not():
    g = torch.Generator().manual_seed(0)
    V = torch.randn(4, 5, generator=g, dtype=torch.float64, requires_grad=True)
    m = torch.randn(4, generator=g, dtype=torch.float64, requires_grad=True)
    G = torch.randn(4, 5, generator=g, dtype=torch.float64)
    length = V.detach().square().sum(1).sqrt()
    dV, dm = torch.autograd.grad((rescaled(V, m) * G).sum(), [V, m])
    assert_close(dV, (m / length)[:, None] * G)  # PEFT's and the paper's
    assert_close(dm, (G * V).sum(1) / length)
    (whole,) = torch.autograd.grad((rescaled(V, m, False) * G).sum(), V)
    unit = V.detach() / length[:, None]
    assert_close(whole, dV - (dV * unit).sum(1, keepdim=True) * unit)  # nothing along the row


@pytest.mark.parametrize("kind", ["lora", "full", "dora"])
def test_params_adapter_is_what_trained(kind):
    method, (batch, model) = Grace(adapter=kind, r=2), in_double()
    run = moved(method, model)
    merged, pretrained = method.finish(run), toy_clip().double().weights()
    here = toy_clip().double()
    with torch.no_grad():
        for name, w in merged.items():
            here.weights()[name].copy_(w)
    found = objective(
        here, lambda x, w: here(x, w), [batch], "adapter", method.kept_leaves(run), method.scale,
        whole=method.targets if kind == "full" else None, pretrained=lambda: pretrained,
    )  # fmt: skip
    assert found.weights.keys() == run.params.keys()
    value = found.loss(found.weights, batch)
    assert_close(value, found.criterion(model(batch.images, merged), batch), rtol=1e-9, atol=1e-9)
    nudged = {name: 1.01 * w for name, w in found.weights.items()}
    want = found.criterion(model(batch.images, method.weights(model, nudged)), batch)
    assert_close(found.loss(nudged, batch), want, rtol=1e-9, atol=1e-9)
    assert abs(want - value) > 1e-7


@pytest.mark.parametrize("kind", ["full", "tower", "dora"])
def test_a_run_resumes_bit_for_bit_and_opens_as_a_plain_model(kind, tmp_path):
    settings = {"adapter": kind, "epochs": 1, "attack_steps": 1}
    whole = small_run(tmp_path, "grace", out=str(tmp_path / "whole"), **settings)
    halves = {"out": str(tmp_path / "halves"), **settings}
    with pytest.raises(Interrupted):
        small_run(tmp_path, "grace", **halves, stop_after=2)
    small_run(tmp_path, "grace", **halves, resume=True)
    assert (whole / "ckpt.pt").read_bytes() == (tmp_path / "halves" / "ckpt.pt").read_bytes()
    checkpoint = load_checkpoint(whole / "ckpt.pt")
    assert bool(checkpoint.adapter) == (kind == "dora")
    assert f"--adapter {kind}" in training_command(checkpoint.config)


@pytest.mark.parametrize(("kind", "said"), [("dora", "--adapter dora"), ("tower", "no low-rank")])
def test_peft_export_says_what_it_cannot_hold(kind, said, tmp_path):
    method = Grace(adapter=kind, r=2)
    run = toy_run(method)
    checkpoint = checkpoint_of(
        run.model, method.finish(run), adapter=method.kept_leaves(run),
        config={"method": "grace", "data": "shapes", "r": 2, "adapter": kind},
    )  # fmt: skip
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint)
    with pytest.raises(UserError, match=f"{said}.*--format transformers"):
        check(opened(tmp_path / "ckpt.pt", verify=True))
