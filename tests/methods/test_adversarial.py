"""What each adversarial method claims, against formulas written out again."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.attacks.balls import Linf
from grace_geom.errors import UserError
from grace_geom.methods.adversary import Attack
from grace_geom.methods.at import At, LoraAt
from grace_geom.methods.awp import Awp, steepest
from grace_geom.methods.base import check_fields
from grace_geom.methods.fare import Fare
from grace_geom.methods.ft import Ft
from grace_geom.methods.grace import Grace
from grace_geom.methods.laat import Laat
from grace_geom.methods.pmg_aft import PmgAft
from grace_geom.methods.tecoa import LoraTecoa, Tecoa
from grace_geom.methods.tga_zsr import TgaZsr
from grace_geom.methods.trades import Trades, divergence
from tests.methods.moving import in_double, moved, terms_of
from tests.toys import toy_batch, toy_clip, toy_run, train

# Images that leave the attack early


def early(method, stop: float = 1.12, **more):
    """With steps so large that some of the toy's images are solved on the way, some at once and
    some never.
    """
    return method(attack_stop=stop, eps=16 / 255, alpha=6 / 255, attack_steps=4, **more)


@pytest.mark.parametrize(
    "method", [early(At), early(LoraAt), early(Laat, 1.1), early(PmgAft), early(TgaZsr)]
)
def test_each_image_is_left_where_its_own_cross_entropy_is_first_above_the_bound(method):
    batch, model = in_double(24)
    run = toy_run(method, model)
    fixed = {n: w.detach() for n, w in method.weights(model, run.params).items()}
    found, observed = method.attack(run, fixed, batch)
    u = torch.rand(batch.images.shape, generator=toy_run(method).generator, dtype=torch.float64)
    looks = []
    for i in range(len(batch)):
        own, y = batch.images[i : i + 1], batch.labels[i : i + 1]
        x = (
            (own + method.eps * (2 * u[i] - 1))
            .clamp(own - method.eps, own + method.eps)
            .clamp(0, 1)
        )
        for _ in range(method.attack_steps):
            x.requires_grad_()
            loss = -model(x, fixed).log_softmax(dim=-1)[0, y]
            looks.append(1)
            if loss > method.attack_stop:
                break
            (g,) = torch.autograd.grad(loss, x)
            x = (
                (x + method.alpha * g.sign())
                .clamp(own - method.eps, own + method.eps)
                .clamp(0, 1)
                .detach()
            )
        assert_close(found[i : i + 1], x.detach(), rtol=0, atol=1e-9)
    assert float(observed["attack_looks"]) == pytest.approx(len(looks) / len(batch))
    assert 1.2 < len(looks) / len(batch) < method.attack_steps - 0.2


@pytest.mark.parametrize(
    "method", [At, Awp, partial(Grace, r=2), partial(Grace, r=2, awp_reuse=True)]
)
def test_a_bound_out_of_reach_changes_no_bit_and_no_bound_logs_nothing(method):
    ends, looks = [], []
    for stop in (None, math.inf):
        m = method(attack_stop=stop, attack_steps=2, lr=1e-3)
        run = toy_run(m)
        train(m, run, [toy_batch()])
        looks.append(m.gradients(run, [toy_batch(seed=1)]).observed.get("attack_looks"))
        ends.append(run.params | {f"grad of {n}": p.grad for n, p in run.params.items()})
    assert all(torch.equal(ends[0][n], w) for n, w in ends[1].items())
    assert looks[0] is None and float(looks[1]) == 2


@pytest.mark.parametrize("method", [early(At), early(Awp)])
def test_pieces_of_a_step_leave_the_attack_as_its_whole_does(method):
    batch, model = in_double(7)
    found = []
    for pieces in ([batch], batch.split(3)):
        run = toy_run(method, model)
        terms, observed = method.gradients(run, pieces)
        found.append(terms | {n: p.grad for n, p in run.params.items()} | observed)
    assert 1 < float(found[0]["attack_looks"]) < method.attack_steps
    for key, value in found[0].items():
        assert_close(found[1][key], value, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(("method", "raised"), [(Fare, "squared distance"), (Trades, "divergence")])
def test_a_bound_in_nats_needs_a_cross_entropy(method, raised):
    with pytest.raises(UserError, match=rf"--attack-stop is in nats.*{raised}.*leave it out"):
        check_fields(method(attack_stop=1.0))
    check_fields(method())


# FARE


def test_fare_is_nothing_at_the_pretrained_weights_on_clean_images():
    method = Fare(eps=0.0)
    run = toy_run(method)
    assert terms_of(method, run, toy_batch())["fare"].item() == 0.0


def test_fare_is_the_summed_squared_distance_of_raw_embeddings_to_a_target_that_stays(monkeypatch):
    batch, model = in_double()
    x_adv = (batch.images + 0.03).clamp(0, 1)
    monkeypatch.setattr(Fare, "attack", lambda self, run, weights, batch: Attack(x_adv, {}))
    method = Fare()
    run = moved(method, model)
    clip = toy_clip().double().clip  # open_clip's own network, never touched
    with torch.no_grad():
        target = clip.encode_image((batch.images - model.mean) / model.std, normalize=False)
        clip.load_state_dict(clip.state_dict() | run.params)
        moved_to = clip.encode_image((x_adv - model.mean) / model.std, normalize=False)
    expected = sum(((moved_to[i] - target[i]) ** 2).sum() for i in range(5)) / 5
    assert_close(terms_of(method, run, batch)["fare"], expected, rtol=1e-9, atol=0)
    assert expected > 1e-3


def test_fare_s_attack_leaves_the_start_because_it_is_random_and_needs_no_label():
    method, batch = Fare(attack_steps=3), toy_batch()
    run = toy_run(method)
    x_adv = method.attack(run, run.params, batch).images
    target = run.model.encode(batch.images)
    start = Fare(attack_steps=0).attack(toy_run(method), run.params, batch).images
    distance = [(run.model.encode(x) - target).square().sum() for x in (batch.images, start, x_adv)]
    assert distance[0] == 0 < distance[1] < distance[2]
    other = replace(batch, labels=(batch.labels + 1) % 3)
    assert torch.equal(method.attack(toy_run(method), run.params, other).images, x_adv)


# TeCoA


@pytest.mark.parametrize("method", [Tecoa(), LoraTecoa(), At()])
def test_tecoa_s_objective_is_the_cross_entropy_on_attacked_images(method):
    batch, run = toy_batch(), toy_run(method)
    found = terms_of(method, run, batch)["adv"]
    generator, region = toy_run(method).generator, Linf(batch.images, method.eps)
    x = region.start(torch.rand(batch.images.shape, generator=generator))
    for _ in range(method.attack_steps):
        x.requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(run.model(x), batch.labels), x)
        x = (x + method.alpha * g.sign()).detach()
        x = torch.minimum(
            torch.maximum(x, batch.images - method.eps), batch.images + method.eps
        ).clamp(0, 1)
    p = run.model(x).softmax(dim=-1)[torch.arange(len(batch)), batch.labels]
    assert_close(found.detach(), -p.log().mean(), rtol=1e-4, atol=1e-5)


def test_lora_tecoa_trains_factors_only():
    method = LoraTecoa(attack_steps=1, r=2, lr=1e-2)
    run = toy_run(method)
    assert {name.rsplit(".", 1)[1] for name in run.params} == {"A", "B"}
    train(method, run, [toy_batch()])
    left = method.finish(run)
    for name, w in left.items():
        assert torch.linalg.matrix_rank((w - run.model.weights()[name]).double(), rtol=1e-4) <= 2
    assert not any("ln_" in name or "bias" in name for name in left)


# TRADES


def test_trades_without_its_divergence_is_ft_bit_for_bit():
    batches = [toy_batch(seed=s) for s in range(3)]
    ends = []
    for method in (Trades(lambda_kl=0, train_head=True), Ft()):
        run = toy_run(method)
        train(method, run, batches)
        ends.append(run.params)
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in ends[1])


def test_divergence_is_kl_of_the_first_from_the_second():
    p, q = torch.tensor([[1.0, 2.0, -1.0]]).double(), torch.tensor([[0.0, 0.5, 0.5]]).double()
    P, Q = [torch.distributions.Categorical(logits=z) for z in (p, q)]
    assert_close(divergence(p, q), torch.distributions.kl_divergence(P, Q), rtol=1e-12, atol=0)
    assert divergence(p, q) != divergence(q, p)


def test_trades_attack_raises_the_divergence():
    method, batch = Trades(attack_steps=3, eps=16 / 255, alpha=8 / 255), toy_batch()
    run = moved(method)
    x_adv = method.attack(run, run.params, batch).images
    with torch.no_grad():
        at_once = Trades(attack_steps=0, eps=16 / 255)
        start = at_once.attack(moved(method), run.params, batch).images
        clean = run.model(batch.images, run.params)
        kl = [divergence(clean, run.model(x, run.params)).mean() for x in (start, x_adv)]
    assert kl[1] > kl[0]
    again = moved(method)
    assert_close(terms_of(method, again, batch)["kl"], 6 * kl[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["trades", "pmg-aft"])
def test_the_gradient_goes_through_both_sides_of_the_divergence(name, monkeypatch):
    method, (batch, model) = (Trades() if name == "trades" else PmgAft()), in_double()
    x_adv = (batch.images - 0.05).clamp(0, 1)
    monkeypatch.setattr(type(method), "attack", lambda self, run, weights, batch: Attack(x_adv, {}))
    run = moved(method, model)
    clean, adv = (run.model(x, run.params).log_softmax(1) for x in (batch.images, x_adv))
    original = run.model(x_adv).log_softmax(1).detach()
    kl = (clean.exp() * (clean - adv)).sum(1).mean()
    row = torch.arange(len(batch))
    if name == "trades":
        written = -clean[row, batch.labels].mean() + 6 * kl
    else:
        written = (
            -adv[row, batch.labels].mean() + kl + (original.exp() * (original - adv)).sum(1).mean()
        )
    leaves = list(run.params.values())
    expected = torch.autograd.grad(written, leaves)
    found = torch.autograd.grad(sum(terms_of(method, run, batch).values()), leaves)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=1e-8, atol=1e-10)


# PMG-AFT


def log_softmax(z: list[float]) -> list[float]:
    total = math.log(sum(math.exp(v) for v in z))
    return [v - total for v in z]


def kl(p: list[float], q: list[float]) -> float:
    return sum(math.exp(a) * (a - b) for a, b in zip(log_softmax(p), log_softmax(q), strict=True))


@pytest.mark.parametrize("preset", ["paper", "published"])
def test_pmg_aft_is_its_formula_number_by_number(preset, monkeypatch):
    batch, model = in_double()
    x_adv = (batch.images - 0.05).clamp(0, 1)
    monkeypatch.setattr(PmgAft, "attack", lambda self, run, weights, batch: Attack(x_adv, {}))
    method = PmgAft(**PmgAft.presets[preset])
    run = moved(method, model)
    s = model.logit_scale if preset == "paper" else 1.0
    T = model.head["head.weight"] / model.logit_scale
    with torch.no_grad():
        clean, adv = (
            (s * model.features(x, run.params) @ T.T).tolist() for x in (batch.images, x_adv)
        )
        original = (s * model.features(x_adv) @ T.T).tolist()
    n = (
        len(batch) if preset == "paper" else 1
    )  # the published code sums its divergences, not its cross-entropy
    expected = {
        "adv": -sum(log_softmax(adv[i])[y] for i, y in enumerate(batch.labels.tolist()))
        / len(batch),
        "clean": sum(kl(clean[i], adv[i]) for i in range(len(batch))) / n,
        "original": sum(kl(original[i], adv[i]) for i in range(len(batch))) / n,
    }
    found = terms_of(method, run, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-9), name
        assert value > 0


def test_a_sum_over_the_batch_does_not_depend_on_how_the_step_is_cut():
    batch, model = in_double(7)
    found = []
    for pieces in ([batch], batch.split(3)):
        method = PmgAft(kl_reduction="sum", attack_steps=1)
        run = moved(method, model)
        terms = method.gradients(run, pieces).terms
        found.append(terms | {n: p.grad for n, p in run.params.items()})
    for name, value in found[0].items():
        assert_close(found[1][name], value, rtol=1e-6, atol=1e-10)


def test_pmg_aft_s_divergences_vanish_where_nothing_moved():
    method = PmgAft(eps=0.0)
    found = terms_of(method, toy_run(method), toy_batch())
    assert_close(found["clean"] + found["original"], torch.zeros(()), atol=1e-6, rtol=0)


# AWP


def test_awp_s_perturbation_has_its_norm_in_every_matrix_and_is_the_gradient_s_direction():
    method, batch = Awp(gamma=0.02, attack_steps=1), toy_batch()
    run = toy_run(method)
    (found,) = method.attacked(run, run.params, [batch])
    perturbed = found.perturb(run.params)
    leaves = {n: w.detach().clone().requires_grad_() for n, w in run.params.items()}
    F.cross_entropy(run.model(found.x_adv, leaves), batch.labels).backward()
    for name, w in run.params.items():
        delta = (perturbed[name] - w).detach()
        if w.ndim < 2:
            assert torch.equal(perturbed[name], w)
            continue
        assert delta.norm().item() == pytest.approx(0.02 * w.norm().item(), rel=1e-3), name
        g = leaves[name].grad
        assert F.cosine_similarity(delta.flatten(), g.flatten(), dim=0) > 0.999, name
    assert {
        "visual.proj",
        "visual.positional_embedding",
        "visual.conv1.weight",
    } <= run.params.keys()


def test_awp_takes_the_gradient_at_the_perturbed_weights_and_leaves_the_weights():
    method, batch = Awp(gamma=0.05, attack_steps=1), toy_batch()
    run, again = toy_run(method), toy_run(method)
    before = {n: p.detach().clone() for n, p in run.params.items()}
    method.gradients(run, [batch])
    (found,) = method.attacked(again, again.params, [batch])
    W = {n: w.detach().clone().requires_grad_() for n, w in found.perturb(again.params).items()}
    F.cross_entropy(again.model(found.x_adv, W), batch.labels).backward()
    for name, p in run.params.items():
        assert torch.equal(p, before[name]), name
        assert_close(p.grad, W[name].grad, rtol=1e-4, atol=1e-6)


def test_awp_without_radius_is_adversarial_training():
    ends = []
    for method in (Awp(gamma=0.0, attack_steps=1, lr=1e-3), At(attack_steps=1, lr=1e-3)):
        run = toy_run(method)
        train(method, run, [toy_batch(seed=s) for s in range(2)])
        ends.append(run.params)
    for name in ends[0]:
        assert_close(ends[0][name], ends[1][name], rtol=1e-5, atol=1e-6)


def test_no_gradient_no_perturbation():
    assert not steepest({"W": torch.ones(2, 2)}, {"W": torch.zeros(2, 2)}, 0.1)["W"].any()
