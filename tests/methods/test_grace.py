import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.methods import METHODS
from grace_geom.methods.grace import Grace
from grace_geom.methods.lora import Lora
from tests.toys import toy_batch, toy_clip, toy_run, train

FEW = {"attack_steps": 2, "r": 4}


def warmed_up(method: Grace):
    """A run whose LoRA factors are no longer zero, with ranks of a first refresh."""
    run = toy_run(method)
    train(method, run, [toy_batch(seed=s) for s in range(2)])
    method.before_step(run, [toy_batch()])
    return run


def gradient_of(term: str, method: Grace, run) -> dict[str, torch.Tensor]:
    loss = method.losses(run, method.weights(run.model, run.params), toy_batch())[term]
    return dict(zip(run.params, torch.autograd.grad(loss, list(run.params.values())), strict=True))


@pytest.mark.parametrize("term", ["task", "lar", "gv"])
def test_every_term_reaches_every_adapter(term):
    method = Grace(lr=1e-2, rho=0.05, eps=16 / 255, alpha=8 / 255, **FEW)
    for name, g in gradient_of(term, method, warmed_up(method)).items():
        assert g.abs().max() > 1e-8, name


def test_gram_volume_gradient_flows_through_each_of_the_three_features(monkeypatch):
    method = Grace(lr=1e-2, rho=0.05, eps=16 / 255, alpha=8 / 255, **FEW)
    full = gradient_of("gv", method, warmed_up(method))
    for cut in range(3):
        original = Grace.feature_term

        def detached(self, features, cut=cut, original=original):
            return original(self, [f.detach() if i == cut else f for i, f in enumerate(features)])

        with monkeypatch.context() as patch:
            patch.setattr(Grace, "feature_term", detached)
            part = gradient_of("gv", method, warmed_up(method))
        assert any((full[n] - part[n]).abs().max() > 1e-3 * full[n].abs().max() for n in full), cut


def test_without_its_terms_it_is_lora_bit_for_bit():
    batches = [toy_batch(seed=s) for s in range(4)]
    off = Grace(lambda_lar=0, lambda_gv=0, lr=1e-3)
    a, b = toy_run(off), toy_run(Lora(lr=1e-3))
    train(off, a, batches)
    train(Lora(lr=1e-3), b, batches)
    assert all(torch.equal(a.params[name], b.params[name]) for name in b.params)
    switched = Grace(lar=False, gv=False, lr=1e-3)
    c = toy_run(switched)
    train(switched, c, batches)
    assert all(torch.equal(c.params[name], b.params[name]) for name in b.params)


def test_lora_starts_at_the_base():
    run = toy_run(Lora())
    for name, w in Lora().weights(run.model, run.params).items():
        assert torch.equal(w, run.model.weights()[name])


def test_merged_weights_give_the_adapter_s_logits():
    method, batch = Lora(lr=1e-2), toy_batch()
    run = toy_run(method)
    train(method, run, [batch] * 5)
    merged = method.finish(run)
    # independent: the adapter as two thin products beside the frozen layer, W0 x + s B (A x)
    name = next(n for n in merged if n.endswith("mlp.c_fc.weight"))
    x = torch.randn(3, merged[name].shape[1])
    W0, A, B = run.model.weights()[name], run.params[f"{name}.A"], run.params[f"{name}.B"]
    assert_close(x @ merged[name].T, x @ W0.T + method.scale * (x @ A.T) @ B.T, rtol=1e-5, atol=1e-5)
    with_adapter = run.model(batch.images, method.weights(run.model, run.params))
    plain = toy_clip()
    plain.load_weights(merged)
    assert_close(plain(batch.images), with_adapter, rtol=1e-5, atol=1e-5)


def test_refreshes_at_step_0_and_at_least_20_times():
    method = Grace(refresh_every=1000, **FEW)
    run, records = toy_run(method, steps=60), []
    run.emit = lambda stream, record: records.append((stream, record))
    for run.step in range(60):
        method.before_step(run, [toy_batch(4)])
    assert [record["step"] for _, record in records] == list(range(0, 60, 3))
    assert {stream for stream, _ in records} == {"curvature"}
    assert set(records[0][1]["matrices"]) == {n[:-2] for n in run.params if n.endswith(".A")}


def test_no_curriculum_gives_every_matrix_r_max():
    method = Grace(curriculum=False, **FEW)
    run = toy_run(method)
    method.before_step(run, [toy_batch()])
    assert set(run.state["ranks"].values()) == {method.r_max}


def test_perturbation_obeys_radius_and_ranks():
    method = Grace(**FEW)
    run = warmed_up(method)
    fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}
    batch = toy_batch()
    delta = method.perturbation(run, fixed, batch.images, batch.labels)
    assert set(delta) == {n for n, r in run.state["ranks"].items() if r}
    for name, (B, A) in delta.items():
        assert (B @ A).norm() <= method.rho * fixed[name].norm() * (1 + 1e-5)


def test_ablations_drop_their_term():
    batch = toy_batch()
    ablations = [({"lar": False}, {"task", "gv"}), ({"gv": False}, {"task", "lar"}), ({}, {"task", "lar", "gv"})]
    for options, terms in ablations:
        method = Grace(**FEW, **options)
        run = toy_run(method)
        method.before_step(run, [batch])
        assert set(method.losses(run, method.weights(run.model, run.params), batch)) == terms


@pytest.mark.parametrize("options", [{"gv_form": "spread"}, {"gv_anchor": True}, {"curvature_labels": "sampled"}])
def test_our_options_train(options):
    method = Grace(lr=1e-2, **FEW, **options)
    run = toy_run(method)
    history = train(method, run, [toy_batch(16)] * 8)
    assert history[-1]["task"] < history[0]["task"]


def test_the_attack_leaves_no_weight_gradient_and_stays_in_the_ball():
    method, batch = Grace(**FEW), toy_batch()
    run = toy_run(method)
    x_adv = method.attack(run, method.weights(run.model, run.params), batch)
    assert (x_adv - batch.images).abs().max() <= method.eps + 1e-6
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert not x_adv.requires_grad
    assert all(p.grad is None for p in run.params.values())
    loss = [F.cross_entropy(run.model(x), batch.labels) for x in (batch.images, x_adv)]
    assert loss[1] > loss[0]


def test_epsilon_warms_up():
    method = METHODS["at"](attack_steps=1, eps_warmup=0.5)
    run = toy_run(method, steps=10)
    sizes = []
    for run.step in range(6):
        x = toy_batch().images
        sizes.append((method.attack(run, run.params, toy_batch()) - x).abs().max().item())
    assert sizes[0] <= method.eps / 5 + 1e-6
    assert sizes[0] < sizes[2] < sizes[4] <= method.eps + 1e-6
