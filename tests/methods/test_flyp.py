import open_clip
import torch
from open_clip.loss import ClipLoss
from torch.testing import assert_close

from grace_geom.methods import flyp
from grace_geom.methods.flyp import Flyp, captions_of
from tests.toys import CLASSES, TEMPLATES, toy_batch, toy_clip, toy_run, train


def test_loss_is_open_clip_s_on_the_drawn_captions(monkeypatch):
    method, batch, drawn = Flyp(), toy_batch(6), []
    run = toy_run(method)
    monkeypatch.setattr(
        flyp, "captions_of", lambda run, batch: drawn.extend(captions_of(run, batch)) or drawn
    )
    terms = method.gradients(run, [batch]).terms
    clip, model = toy_clip().clip, toy_clip()
    image, text, scale = clip(  # open_clip's own forward pass
        (batch.images - model.mean) / model.std, model.tokenizer(drawn)
    )
    assert_close(terms["contrastive"], ClipLoss()(image, text, scale), rtol=1e-4, atol=1e-5)
    assert len(set(drawn)) > 3, "templates vary"
    for caption, label in zip(drawn, batch.labels.tolist(), strict=True):
        assert caption in [t.format(CLASSES[label]) for t in TEMPLATES]


def test_both_towers_and_the_scale_train():
    method, run = Flyp(lr=1e-2), toy_run(Flyp())
    before = {name: w.detach().clone() for name, w in run.params.items()}
    train(method, run, [toy_batch()])
    assert run.params.keys() == dict(toy_clip().clip.named_parameters()).keys()
    moved = {name for name, w in run.params.items() if not torch.equal(w, before[name])}
    assert moved >= {"logit_scale", "text_projection", "visual.proj", "token_embedding.weight"}


def test_the_head_is_rebuilt_from_the_tuned_text_tower():
    method, run = Flyp(lr=1e-2), toy_run(Flyp())
    train(method, run, [toy_batch(seed=s) for s in range(3)])
    left, plain = method.finish(run), toy_clip()
    plain.clip.load_state_dict(
        {n: w for n, w in left.items() if not n.startswith("head.")}, strict=False
    )
    templates = [lambda name, t=t: t.format(name) for t in TEMPLATES]
    T = open_clip.build_zero_shot_classifier(
        plain.clip, plain.tokenizer, CLASSES, templates
    )  # (D, K)
    assert_close(left["head.weight"], plain.clip.logit_scale.exp() * T.T, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(left["head.weight"], toy_clip().head["head.weight"], atol=1e-2)
    assert_close(left["logit_scale"].exp(), plain.clip.logit_scale.exp())


def test_at_step_0_it_is_the_base():
    run = toy_run(Flyp())
    left = Flyp().finish(run)
    assert all(torch.equal(left[name], w) for name, w in run.model.weights().items())
