from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom import distributed
from grace_geom.batch import Batch
from grace_geom.geometry.mean_loss import mean_gradient
from grace_geom.methods import METHODS
from grace_geom.methods.grace import Grace
from grace_geom.methods.last_step import last_step
from grace_geom.methods.lora import Lora
from tests.methods.moving import moved
from tests.toys import toy_batch, toy_clip, toy_run, train, write_weights

FEW = {"attack_steps": 2, "r": 4}


def warmed_up(method: Grace):
    """A run whose LoRA factors are no longer zero, with ranks of a first refresh."""
    run = toy_run(method)
    train(method, run, [toy_batch(seed=s) for s in range(2)])
    method.refresh(run, [toy_batch()])
    return run


def gradient_of(term: str, method: Grace, run) -> dict[str, torch.Tensor]:
    loss = method.losses(run, method.weights(run.model, run.params), toy_batch()).terms[term]
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
    assert_close(
        x @ merged[name].T, x @ W0.T + method.scale * (x @ A.T) @ B.T, rtol=1e-5, atol=1e-5
    )
    with_adapter = run.model(batch.images, method.weights(run.model, run.params))
    plain = toy_clip()
    write_weights(plain, merged)
    assert_close(plain(batch.images), with_adapter, rtol=1e-5, atol=1e-5)


def test_refreshes_at_step_0_and_at_least_20_times():
    method = Grace(refresh_every=1000, **FEW)
    run, records = toy_run(method, steps=60), []
    run.emit = lambda stream, record: records.append((stream, record))
    for run.step in range(60):
        method.refresh(run, [toy_batch(4)])
    assert [record["step"] for _, record in records] == list(range(0, 60, 3))
    assert {stream for stream, _ in records} == {"curvature"}
    assert set(records[0][1]["matrices"]) == {n[:-2] for n in run.params if n.endswith(".A")}


def test_no_curriculum_gives_every_matrix_r_max():
    method = Grace(curriculum=False, **FEW)
    run = toy_run(method)
    method.refresh(run, [toy_batch()])
    assert set(run.state["ranks"].values()) == {method.r_max}


@pytest.mark.parametrize("gv", [True, False])
def test_the_three_cosines_are_logged_whether_or_not_the_gram_volume_is_a_term(gv):
    method = Grace(gv=gv, eps=16 / 255, alpha=8 / 255, rho=0.05, **FEW)
    run = warmed_up(method)
    observed = method.gradients(run, [toy_batch()]).observed
    cosines = {name: float(observed[name]) for name in ("cos_id_adv", "cos_id_awp", "cos_adv_awp")}
    assert all(-1 <= c < 1 for c in cosines.values()), cosines
    assert cosines["cos_adv_awp"] > cosines["cos_id_awp"], "weights move less than images do here"


def in_double(batch: Batch) -> Batch:
    return replace(batch, images=batch.images.double())


@pytest.mark.parametrize(
    "options",
    [
        {}, {"gv": False}, {"awp_steps": 2}, {"gv_anchor": True}, {"attack_stop": 1.0},
        {"attack_stop": 1.0, "awp_reuse": True},
    ],
)  # fmt: skip
def test_pieces_of_a_step_share_one_perturbation_and_give_the_gradient_of_the_batch(options):
    # float64: in float32 a pixel whose gradient is nearly 0 may take the other sign in another
    # batch
    method, batch = Grace(rho=0.05, lr=1e-2, **FEW, **options), in_double(toy_batch(7))
    found = []
    for pieces in ([batch], batch.split(3)):
        run = toy_run(method, toy_clip().double())
        for p in run.params.values():  # away from B = 0
            with torch.no_grad():
                p.copy_(
                    0.1
                    * torch.randn(
                        p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype
                    )
                )
        terms, observed = method.gradients(run, pieces)
        found.append({n: p.grad for n, p in run.params.items()} | terms | observed)
    if options.get("attack_stop") and not options.get("awp_reuse"):
        assert 1 < float(found[0]["attack_looks"]) < 2
    for key in found[0]:
        assert_close(
            found[1][key],
            found[0][key],
            rtol=1e-6,
            atol=1e-12,
            msg=lambda m, key=key: f"{key}: {m}",
        )


def test_perturbation_obeys_radius_and_ranks():
    method = Grace(**FEW)
    run = warmed_up(method)
    fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}
    batch = toy_batch()
    delta = method.perturbation(run, fixed, [batch])
    assert set(delta) == {n for n, r in run.state["ranks"].items() if r}
    for name, (B, A) in delta.items():
        assert (B @ A).norm() <= method.rho * fixed[name].norm() * (1 + 1e-5)


def test_ablations_drop_their_term():
    batch = toy_batch()
    ablations = [
        ({"lar": False}, {"task", "gv"}),
        ({"gv": False}, {"task", "lar"}),
        ({}, {"task", "lar", "gv"}),
    ]
    for options, terms in ablations:
        method = Grace(**FEW, **options)
        run = toy_run(method)
        method.refresh(run, [batch])
        found = method.losses(run, method.weights(run.model, run.params), batch)
        assert set(found.terms) == terms


@pytest.mark.parametrize(
    "options",
    [
        {"gv_form": "spread"}, {"gv_anchor": True}, {"curvature_labels": "sampled"}, {"awp_direction": "sketch"},
        {"awp_reuse": True}, {"awp_reuse": True, "awp_steps": 2, "awp_direction": "sketch"}, {"steps_warmup": 1.0},
    ],
)  # fmt: skip
def test_our_options_train(options):
    method = Grace(lr=1e-2, **FEW, **options)
    run = toy_run(method)
    history = train(method, run, [toy_batch(16)] * 8)
    assert history[-1]["task"] < history[0]["task"]


def test_the_attack_leaves_no_weight_gradient_and_stays_in_the_ball():
    method, batch = Grace(**FEW), toy_batch()
    run = toy_run(method)
    x_adv = method.attack(run, method.weights(run.model, run.params), batch).images
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
        sizes.append((method.attack(run, run.params, toy_batch()).images - x).abs().max().item())
    assert sizes[0] <= method.eps / 5 + 1e-6
    assert sizes[0] < sizes[2] < sizes[4] <= method.eps + 1e-6


@pytest.mark.parametrize("stop", [None, 1.175])
def test_the_last_attack_step_gives_the_images_of_the_attack_and_a_gradient_at_those_before_it(
    stop,
):
    options = {"r": 4, "attack_stop": stop, "eps": 16 / 255, "alpha": 8 / 255}
    method, batch = Grace(attack_steps=3, **options), in_double(toy_batch(16))
    run, again = toy_run(method, toy_clip().double()), toy_run(method, toy_clip().double())
    fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}

    def loss(x, weights):
        return F.cross_entropy(run.model(x, weights), batch.labels, reduction="none")

    x = method.attack(run, fixed, batch, left_out=1).images
    x_adv, g = last_step(loss, x, batch.images, fixed, list(fixed), method.reach(run), stop)
    whole = method.attack(again, fixed, batch).images
    assert_close(x_adv, whole, rtol=0, atol=1e-12)
    fewer = Grace(attack_steps=2, **options)
    before = fewer.attack(toy_run(method, toy_clip().double()), fixed, batch).images
    stays = (whole == before).flatten(1).all(dim=1)
    assert 0 < stays.sum() < len(batch) if stop else not stays.any()
    leaves = {n: w.clone().requires_grad_() for n, w in fixed.items()}
    loss(before, leaves).sum().backward()
    for name in fixed:
        assert_close(g[name], leaves[name].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pieces", [8, 3])
def test_reused_gradient_gives_the_same_perturbation_where_the_last_step_has_no_length(pieces):
    batches, found = toy_batch().split(pieces), []
    for reuse in (False, True):
        method = Grace(alpha=0.0, awp_reuse=reuse, rho=0.05, **FEW)
        run = toy_run(method)
        method.refresh(run, batches)
        fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}
        found.append(method.attacked(run, fixed, batches)[0].perturb(fixed))
    assert any(not torch.equal(found[0][n], fixed[n]) for n in fixed)
    for name in fixed:
        assert_close(found[1][name], found[0][name], rtol=1e-4, atol=1e-5)


def test_sketched_directions_see_more_of_the_gradient_than_random_ones():
    batch, raised = toy_batch(32), {}
    for direction in ("random", "sketch"):
        method = Grace(awp_direction=direction, rho=0.05, curriculum=False, **FEW)
        run = toy_run(method)
        method.refresh(run, [batch])
        fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}
        for _ in range(
            4
        ):  # the same gradient each time: what is remembered helps from the second on
            delta = method.perturbation(run, fixed, [batch])
        model = run.model
        G = mean_gradient(
            lambda w, b, m=model: F.cross_entropy(m(b.images, w), b.labels), fixed, delta, [batch]
        )
        raised[direction] = {
            n: ((B @ A) * G[n]).sum() / G[n].norm() / (B @ A).norm() for n, (B, A) in delta.items()
        }
        best = {n: torch.linalg.svdvals(g)[: method.r_max].norm() / g.norm() for n, g in G.items()}
    for name, cosine in raised["sketch"].items():
        assert cosine > raised["random"][name]
        assert 0.98 * best[name] < cosine <= best[name] * (1 + 1e-5)


def test_processes_tell_each_other_factors_gradients_unless_directions_need_the_whole(monkeypatch):
    """That the numbers are those of one process, two processes show in
    tests/test_distributed.py."""
    batch, sent = toy_batch(8), []
    method = Grace(rho=0.05, curriculum=False, awp_steps=2, **FEW)
    run = toy_run(method)
    method.refresh(run, [batch])
    fixed = {n: w.detach() for n, w in method.weights(run.model, run.params).items()}
    monkeypatch.setattr(
        distributed, "mean", lambda tensors, wait: sent.extend(t.numel() for t in tensors)
    )
    delta = {
        n: (B.numel(), A.numel()) for n, (B, A) in method.perturbation(run, fixed, [batch]).items()
    }
    assert sent == 2 * [n for pair in delta.values() for n in pair]  # two ascent steps
    sent.clear()
    method.awp_direction = "sketch"
    method.perturbation(run, fixed, [batch])
    assert sum(sent) == 2 * sum(fixed[n].numel() + sum(pair) for n, pair in delta.items())


def test_attack_steps_warm_up():
    method = Grace(attack_steps=10, steps_warmup=0.5)
    run = toy_run(method, steps=20)
    counts = []
    for run.step in range(20):
        counts.append(method.reach(run).steps)
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] + [10] * 10


def test_without_the_term_and_the_log_the_attacked_feature_is_not_computed():
    found = []
    for log in (True, False):
        method = Grace(gv=False, log_cosines=log, lr=1e-2, **FEW)
        run = warmed_up(method)
        losses = method.gradients(run, [toy_batch()])
        found.append((losses.observed.keys(), {n: p.grad for n, p in run.params.items()}))
    more = {"gram_volume", "cos_id_adv", "cos_adv_awp"}
    assert found[0][0] - found[1][0] == more and not found[1][0] - found[0][0]
    assert all(torch.equal(g, found[1][1][name]) for name, g in found[0][1].items())


def test_groups_of_m_images_have_a_perturbation_of_their_own_and_a_whole_step_is_one_group():
    batch, ends = in_double(toy_batch(8)), {}
    for m in (None, 8, 4):
        method = Grace(rho=0.05, lr=1e-2, awp_m=m, **FEW)
        run = toy_run(method, toy_clip().double(), steps=100)
        method.refresh(run, [batch])
        run.step = 1  # between refreshes
        method.gradients(run, [batch])
        ends[m] = {n: p.grad for n, p in run.params.items()}
    assert all(torch.equal(ends[8][n], g) for n, g in ends[None].items())
    run = toy_run(method, toy_clip().double(), steps=100)
    method.refresh(run, [batch])
    run.step = 1
    for half in batch.split(4):  # by hand: two steps' gradients, one after the other
        Grace.gradients(method, run, [half])
    for name, p in run.params.items():
        assert_close(ends[4][name], p.grad / 2, rtol=1e-9, atol=1e-12)
    assert any((ends[4][n] - g).abs().max() > 1e-6 * g.abs().max() for n, g in ends[None].items())


def test_groups_do_not_depend_on_how_a_step_is_cut_and_processes_are_told():
    batch, found = in_double(toy_batch(7)), []
    for pieces in ([batch], batch.split(2)):
        method = Grace(rho=0.05, awp_m=3, **FEW)
        run = moved(method, toy_clip().double())
        terms = method.gradients(run, pieces).terms
        found.append({n: p.grad for n, p in run.params.items()} | terms)
    for key in found[0]:
        assert_close(found[1][key], found[0][key], rtol=1e-6, atol=1e-10)
    assert method.coupled is not None and method.coupled.images == 3
    assert Grace().coupled is None
