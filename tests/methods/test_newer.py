"""What the methods of 2026 claim, against formulas written out again."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.special import digamma, gammaln
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.methods import METHODS
from grace_geom.methods import adv_flyp as adv_flyp_module
from grace_geom.methods.adv_flyp import AdvFlyp
from grace_geom.methods.adversary import Attack
from grace_geom.methods.agft import Agft
from grace_geom.methods.at import At
from grace_geom.methods.base import check_fields
from grace_geom.methods.comp_tga import CompTga
from grace_geom.methods.fast_attack import FastAttack
from grace_geom.methods.flyp import Flyp
from grace_geom.methods.tga_zsr import TgaZsr, attention
from grace_geom.methods.ucat import Ucat
from tests.methods.ends import left_by, same_bits
from tests.methods.moving import in_double, moved, terms_of
from tests.toys import toy_batch, toy_clip, toy_run

NEWER = (Agft, Ucat, CompTga, AdvFlyp)


def attacked(monkeypatch, method):
    """A double run away from its start, a batch, and attacked images that are known."""
    batch, model = in_double()
    x_adv = (batch.images - 0.05).clamp(0, 1)
    monkeypatch.setattr(type(method), "attack", lambda *args: Attack(x_adv, {}))
    return moved(method, model), batch, x_adv


def cosines(model, x, weights=None):
    f, T = model.encode(x, weights), model.head["head.weight"]
    return torch.stack([F.cosine_similarity(f, t[None], dim=1) for t in T], dim=1)


# AGFT


def test_agft_is_the_cross_entropy_with_the_softened_pretrained_answer(monkeypatch):
    method = Agft(scale_factor=1.5, target_ratio=0.3)
    run, batch, x_adv = attacked(monkeypatch, method)
    s = run.model.logit_scale
    clean, adv = cosines(run.model, batch.images), cosines(run.model, x_adv, run.params)
    expected = 0.0
    for i in range(len(batch)):
        q = [math.exp(0.3 * 1.5 * s * c) for c in clean[i].tolist()]
        p = [math.exp(1.5 * s * c) for c in adv[i].tolist()]
        expected -= sum(a / sum(q) * math.log(b / sum(p)) for a, b in zip(q, p, strict=True))
    found = terms_of(method, run, batch)["soft"].item()
    assert found == pytest.approx(expected / len(batch), rel=1e-6)


def test_agft_has_no_gradient_where_nothing_moved_and_nothing_is_softened():
    batch, model = in_double()
    run = toy_run(Agft(), model)
    slopes = []
    for ratio in (1.0, 0.4):
        found = terms_of(Agft(eps=0.0, target_ratio=ratio), run, batch)["soft"]
        slopes.append(torch.autograd.grad(found, run.params["visual.proj"])[0].abs().max().item())
    assert slopes[0] < 1e-12 < 1e-4 < slopes[1]


def test_agft_with_a_sure_target_is_at_with_the_pretrained_model_s_labels(monkeypatch):
    method = Agft(scale_factor=1.0, target_ratio=1e6)
    run, batch, x_adv = attacked(monkeypatch, method)
    labels = run.model(batch.images).argmax(dim=1)
    want = F.cross_entropy(run.model(x_adv, run.params), labels)
    assert_close(terms_of(method, run, batch)["soft"], want, rtol=1e-9, atol=1e-12)


def test_agft_attacks_its_own_loss_and_reads_no_label():
    method, batch = Agft(attack_steps=3, eps=16 / 255, alpha=8 / 255), toy_batch()
    run = toy_run(method)
    x_adv = method.attack(run, run.params, batch).images
    other = replace(batch, labels=(batch.labels + 1) % 3)
    assert torch.equal(method.attack(toy_run(method), run.params, other).images, x_adv)
    raised = method.maximised(run, run.params, batch)
    assert raised(x_adv).mean() > raised(batch.images).mean()


# UCAT


def test_ucat_s_divergence_is_the_closed_form_of_two_dirichlet_distributions(monkeypatch):
    method = Ucat(tau=0.3, strength=50.0)
    run, batch, x_adv = attacked(monkeypatch, method)
    a, b = (
        (1e-6 + ((cosines(run.model, x, w) + 1) / 0.3).exp()).detach().numpy()
        for x, w in ((x_adv, run.params), (batch.images, None))
    )
    a0, b0 = a.sum(1), b.sum(1)
    apart = gammaln(a0) - gammaln(b0) + (gammaln(b) - gammaln(a)).sum(1)
    apart += ((a - b) * (digamma(a) - digamma(a0)[:, None])).sum(1)
    weight = 50.0 / (1 + math.exp(2 / 0.3))
    found = terms_of(method, run, batch)
    assert found["dirichlet"].item() == pytest.approx(weight * apart.mean(), rel=1e-8)
    assert found["dirichlet"] > 0
    row = torch.arange(len(batch))
    adv = -run.model(x_adv, run.params).log_softmax(1)[row, batch.labels].mean()
    assert_close(found["adv"], adv, rtol=1e-9, atol=0)


def test_ucat_without_its_divergence_is_at_digit_for_digit():
    few = {"attack_steps": 2, "lr": 1e-3, "weight_decay": 1e-4}
    assert same_bits(left_by(Ucat(strength=0.0, **few)), left_by(At(**few)))
    assert not same_bits(left_by(Ucat(**few)), left_by(At(**few)))


def test_ucat_s_divergence_and_its_gradient_are_nothing_where_nothing_moved():
    method, (batch, model) = Ucat(eps=0.0), in_double()
    run = toy_run(method, model)
    found = terms_of(method, run, batch)["dirichlet"]
    (g,) = torch.autograd.grad(found, run.params["visual.proj"])
    assert abs(found.item()) < 1e-6 and g.abs().max() < 1e-6


def test_ucat_in_single_precision_keeps_the_digits_of_large_concentrations():
    method, (batch, model) = Ucat(eps=0.0), in_double()
    exact, single = moved(method, model), toy_run(method)
    with torch.no_grad():
        for name, w in single.params.items():
            w.copy_(exact.params[name])
    found = [
        terms_of(method, run, replace(batch, images=batch.images.to(dtype)))["dirichlet"].item()
        for run, dtype in ((exact, torch.float64), (single, torch.float32))
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-3) and found[0] > 1e-6


# Comp-TGA


def test_comp_tga_is_tga_zsr_where_the_negated_text_sees_nothing():
    few = {"attack_steps": 2, "lr": 1e-3, "lambda_attack": 0.1, "lambda_clean": 0.07}
    method, batch = CompTga(**few), toy_batch()
    run, plain = toy_run(method), toy_run(TgaZsr(**few))
    run.state["negated"] = torch.zeros_like(run.state["negated"])
    a = method.losses(run, run.params, batch).terms
    b = TgaZsr(**few).losses(plain, plain.params, batch).terms
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert not same_bits(left_by(CompTga(**few)), left_by(TgaZsr(**few)))


def test_comp_tga_s_maps_are_products_of_class_and_reversed_negated_attention(monkeypatch):
    method = CompTga()
    run, batch, x_adv = attacked(monkeypatch, method)
    text = F.normalize(run.model.head["head.weight"], dim=-1)[batch.labels]
    names = [f"This is not a photo of a {run.model.class_names[y]}" for y in batch.labels]
    denied = run.model.text_features(names)

    def maps(x, weights):
        tokens = run.model.tokens(x, weights)
        return attention(tokens, text, 16) * (1 - attention(tokens, denied, 16))

    target = maps(batch.images, None)
    found = terms_of(method, run, batch)
    for name, share, x in (("attention_adv", 0.1, x_adv), ("attention_clean", 0.07, batch.images)):
        apart = (maps(x, run.params) - target).flatten(1).square().sum(1).sqrt().mean()
        assert_close(found[name], share * apart, rtol=1e-9, atol=1e-12)
        assert found[name] > 0


def test_comp_tga_s_text_needs_a_place_for_the_class():
    with pytest.raises(UserError, match=r"--negated 'nothing' has no \{\}"):
        check_fields(CompTga(negated="nothing"))
    run = toy_run(CompTga())
    assert "negated" in CompTga().state_flaw(run, {"negated": torch.zeros(1, 2)}, 1)
    assert not CompTga().state_flaw(run, run.state, 1)


# AdvFLYP


def test_adv_flyp_s_terms_are_its_formula(monkeypatch):
    method = AdvFlyp(lambda_feat=0.5, lambda_logit=2.0)
    batch, model = in_double()
    x_adv, run = (batch.images - 0.05).clamp(0, 1), moved(method, model)
    said = [f"a photo of a {model.class_names[y]}" for y in batch.labels]
    monkeypatch.setattr(adv_flyp_module, "captions_of", lambda run, batch: said)
    monkeypatch.setattr(AdvFlyp, "_attacked", lambda *args: x_adv)
    found = terms_of(method, run, batch)
    u, s, n = model.text_features(said), model.logit_scale, len(batch)
    z, za = model.features(batch.images, run.params), model.features(x_adv, run.params)
    z0 = model.features(x_adv)
    logits = s * za @ u.T
    rows = torch.arange(n)
    pairs = -(logits.log_softmax(1)[rows, rows] + logits.log_softmax(0)[rows, rows]).mean() / 2
    feat = sum((za - o).square().sum(1).sqrt().mean() for o in (z0, z))
    p = logits.softmax(1)
    kl = sum((p * (p.log() - (s * o @ u.T).softmax(1).log())).sum(1).mean() for o in (z0, z))
    for name, value in (("contrastive", pairs), ("feat", 0.5 * feat), ("logit", 2.0 * kl)):
        assert_close(found[name], value, rtol=1e-8, atol=1e-12)
        assert value > 0


def test_adv_flyp_without_attack_and_regularisation_is_flyp_s_loss():
    method = AdvFlyp(eps=0.0, lambda_feat=0, lambda_logit=0)
    batch, model = in_double()
    ours, theirs = toy_run(method, model), toy_run(Flyp(), toy_clip().double())
    a, b = terms_of(method, ours, batch), terms_of(Flyp(), theirs, batch)
    assert a.keys() == b.keys() == {"contrastive"}
    assert_close(a["contrastive"], b["contrastive"], rtol=1e-9, atol=0)


def test_adv_flyp_s_attack_raises_the_contrastive_loss_and_stays_in_the_ball():
    method, batch = AdvFlyp(eps=16 / 255, alpha=8 / 255, attack_steps=3), toy_batch()
    run = toy_run(method)
    u = run.model.text_features([f"a {run.model.class_names[y]}" for y in batch.labels])
    x_adv = method._attacked(run, run.params, batch, u, run.model.features)
    assert (x_adv - batch.images).abs().max() <= method.eps + 1e-6
    loss = [
        adv_flyp_module.paired(run.model.logit_scale * run.model.features(x) @ u.T)
        for x in (batch.images, x_adv)
    ]
    assert loss[1] > loss[0]


def test_adv_flyp_s_attack_can_be_compiled():
    found = []
    for compiler in (lambda f: f, lambda f: lambda x: -f(x)):
        run, batch = toy_run(AdvFlyp(attack_steps=2)), toy_batch()
        run.fast = FastAttack("attack", compiler=compiler)
        u = run.model.text_features([f"a {run.model.class_names[y]}" for y in batch.labels])
        method = AdvFlyp(attack_steps=2)
        found.append(method._attacked(run, run.params, batch, u, run.model.features))
    assert not torch.equal(*found), "what is climbed is the compiled function"


def test_adv_flyp_s_norms_have_no_gradient_of_noise_at_the_start():
    run, batch = toy_run(AdvFlyp(eps=0.0)), toy_batch()
    found = terms_of(AdvFlyp(eps=0.0), run, batch)
    assert found["feat"].item() == 0 and found["logit"].item() == pytest.approx(0, abs=1e-6)
    g = torch.autograd.grad(found["feat"], list(run.params.values()), allow_unused=True)
    assert not any(x is not None and x.any() for x in g)


@pytest.mark.parametrize("cls", [Agft, AdvFlyp])
def test_a_bound_in_nats_is_refused_where_the_attack_raises_something_else(cls):
    with pytest.raises(UserError, match=r"--attack-stop is in nats"):
        check_fields(cls(attack_stop=1.0))


@pytest.mark.parametrize("cls", NEWER)
def test_each_is_chosen_by_name_and_in_no_table_of_the_paper(cls):
    assert METHODS[cls.name] is cls and cls.tables == ()
