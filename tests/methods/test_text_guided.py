"""What LAAT and TGA-ZSR claim, against formulas written out again."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.errors import UserError
from grace_geom.methods.adversary import Attack
from grace_geom.methods.laat import Laat, spread_anchors
from grace_geom.methods.tga_zsr import TgaZsr, attention
from tests.methods.moving import in_double, moved, terms_of
from tests.toys import toy_batch, toy_clip, toy_run

# LAAT


def test_anchors_angles_in_closed_form():
    g = torch.Generator().manual_seed(0)
    T = F.normalize(torch.randn(6, 12, generator=g, dtype=torch.float64) + 2.0, dim=-1)
    m = F.normalize(T.mean(0), dim=-1)
    anchors = spread_anchors(7.0 * T)
    before, after = (torch.arccos((F.normalize(t, dim=-1) @ m).clamp(-1, 1)) for t in (T, anchors))
    assert_close(after, math.pi / 2 * before / before.max(), rtol=1e-6, atol=1e-7)
    assert after.max().item() == pytest.approx(math.pi / 2, abs=1e-6)
    assert_close(anchors.norm(dim=-1), torch.ones(6, dtype=torch.float64))
    across = [F.normalize(t - (t @ m)[:, None] * m, dim=-1) for t in (T, anchors)]
    assert_close(*across, rtol=1e-6, atol=1e-7)  # the azimuth stays


def test_two_anchors_become_opposite():
    T = torch.tensor([[math.cos(0.1), math.sin(0.1)], [math.cos(0.1), -math.sin(0.1)]])
    a = spread_anchors(T)
    assert_close(a, torch.tensor([[0.0, 1.0], [0.0, -1.0]]), atol=1e-6, rtol=0)


def test_laat_s_terms_and_the_head_it_keeps(monkeypatch):
    batch, model = in_double()
    x_adv = (batch.images + 0.05).clamp(0, 1)
    monkeypatch.setattr(Laat, "attack", lambda self, run, weights, batch: Attack(x_adv, {}))
    method = Laat(tau=0.5, lambda_cos=2.0)
    run = moved(method, model)
    found, head = terms_of(method, run, batch), method.finish(run)
    f, f_adv = model.features(batch.images, run.params), model.features(x_adv, run.params)
    anchors = spread_anchors(model.head["head.weight"])
    cosines = (f_adv @ anchors.T) / 0.5
    assert_close(found["adv"], F.cross_entropy(cosines, batch.labels), rtol=1e-9, atol=0)
    assert_close(found["cos"], -2.0 * F.cosine_similarity(f, f_adv).mean(), rtol=1e-9, atol=0)
    assert_close(head["head.weight"], anchors / 0.5)
    assert not head["head.bias"].any()


def test_laat_refuses_what_would_undo_its_anchors():
    with pytest.raises(UserError, match="--train-head"):
        toy_run(Laat(train_head=True))
    model = toy_clip()
    with pytest.raises(UserError, match="at least two"):
        toy_run(Laat(), model.with_head(["circle"], model.templates))


# TGA-ZSR


def test_attention_is_a_map_from_0_to_1_of_each_patch_s_cosine_to_the_text():
    g = torch.Generator().manual_seed(0)
    tokens, text = (
        torch.randn(2, 5, 8, generator=g),
        F.normalize(torch.randn(2, 8, generator=g), dim=-1),
    )
    A = attention(tokens, text, 2)  # 2 x 2 patches at their own size: no interpolation
    for i in range(2):
        cosines = torch.stack([F.cosine_similarity(t, text[i], dim=0) for t in tokens[i, 1:]])
        expected = (cosines - cosines.min()) / (cosines.max() - cosines.min())
        assert_close(A[i].flatten(), expected, rtol=1e-4, atol=1e-5)
    wide = attention(tokens, text, 16)
    assert wide.shape == (2, 16, 16) and wide.min() >= 0 and wide.max() <= 1
    assert not attention(torch.ones(1, 5, 8), text[:1], 4).any()


def test_tga_zsr_is_nothing_but_its_cross_entropy_where_nothing_moved():
    method, batch = TgaZsr(eps=0.0), toy_batch()
    run = toy_run(method)
    found = terms_of(method, run, batch)
    assert found["attention_adv"].item() == 0 == found["attention_clean"].item()
    assert_close(
        found["adv"], F.cross_entropy(run.model(batch.images), batch.labels), rtol=1e-5, atol=1e-6
    )
    g = torch.autograd.grad(sum(found.values()), list(run.params.values()))
    assert all(x.isfinite().all() for x in g), "a norm has no derivative at 0"


def test_tga_zsr_s_norms():
    method, batch = TgaZsr(attack_steps=1), toy_batch(3)
    run, again = moved(method), moved(method)
    found = terms_of(method, run, batch)
    x_adv = method.attack(again, again.params, batch).images
    T = F.normalize(run.model.head["head.weight"], dim=-1)[batch.labels]

    def A(x, weights):
        return attention(run.model.tokens(x, weights), T, 16).flatten(1)

    for name, share, x in (("attention_adv", 0.08, x_adv), ("attention_clean", 0.05, batch.images)):
        norms = [
            ((A(x, run.params) - A(batch.images, None))[i] ** 2).sum().sqrt() for i in range(3)
        ]
        assert_close(found[name], share * sum(norms) / 3, rtol=1e-4, atol=1e-6)
        assert found[name] > 0
