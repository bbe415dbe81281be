from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from grace_geom.analysis.subject import Subject
from grace_geom.checkpoint import (
    checkpoint_of,
    export_weights,
    load,
    open_checkpoint,
    save_checkpoint,
)
from grace_geom.errors import UserError
from grace_geom.methods.vpt import VptPmgAft
from grace_geom.models import PROMPT
from tests.toys import toy_batch, toy_clip, toy_run, train


def test_no_tokens_is_the_plain_model_bit_for_bit():
    model, x = toy_clip(), toy_batch().images
    assert torch.equal(model(x, {PROMPT: torch.zeros(0, 16)}), model(x))
    run = toy_run(VptPmgAft(prompt_tokens=0))
    assert torch.equal(run.model(x, run.params), model(x))


def test_tokens_are_what_open_clip_s_blocks_see_beside_the_patches():
    model, x = toy_clip(), toy_batch().images
    P = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    visual = model.clip.visual

    class Insert(nn.Module):
        def forward(self, z):
            return norm(torch.cat([z, P.expand(len(z), -1, -1)], dim=1))

    norm, visual.ln_pre = visual.ln_pre, Insert()
    with torch.no_grad():
        expected = visual((x - model.mean) / model.std)
    visual.ln_pre = norm
    found = model.encode(x, {PROMPT: P})
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, model.encode(x), atol=1e-3)


def test_patch_tokens_begin_with_the_embedding_and_leave_the_prompt_out():
    model, x = toy_clip(), toy_batch().images
    tokens = model.tokens(x, {PROMPT: torch.ones(3, 16)})
    assert tokens.shape == (8, 1 + 4, 16)
    assert_close(tokens[:, 0], model.encode(x, {PROMPT: torch.ones(3, 16)}), rtol=1e-4, atol=1e-6)


@pytest.fixture
def written(tmp_path):
    method = VptPmgAft(attack_steps=1, prompt_tokens=4)
    run = toy_run(method)
    train(method, run, [toy_batch()] * 3)
    checkpoint = checkpoint_of(run.model, method.finish(run), adapter=method.kept_leaves(run))
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint)
    return tmp_path / "ckpt.pt", run


def test_only_tokens_train_and_a_checkpoint_opens_with_them(written):
    path, run = written
    assert run.params.keys() == {PROMPT}
    opened, record = open_checkpoint(path)
    x = toy_batch().images
    assert torch.equal(opened(x), run.model(x, run.params))
    assert not torch.allclose(opened(x), run.model(x))
    assert PROMPT in opened.weights() and PROMPT in record.adapter
    assert all(torch.equal(w, run.model.clip.state_dict()[n]) for n, w in record.state_dict.items())
    assert torch.equal(opened.with_head(["a", "b"], ["{}"]).encode(x), opened.encode(x))
    assert opened.double()(x.double()).dtype == torch.float64


def test_it_is_never_passed_off_as_a_plain_model(written, tmp_path):
    path, _ = written
    with pytest.raises(UserError, match="4 visual prompt tokens"):
        load(path)
    with pytest.raises(UserError, match="4 visual prompt tokens"):
        export_weights(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_what_the_pretrained_model_lacks_cannot_be_compared_with_it():
    model = toy_clip()
    subject = SimpleNamespace(base=model, file="ckpt.pt")
    now = {n: w + 1 for n, w in model.weights().items() if n.startswith("visual.ln")}
    assert all(torch.equal(w, now[n] - 1) for n, w in Subject.before(subject, now).items())
    with pytest.raises(UserError, match=r"visual\.prompt has no pretrained value"):
        Subject.before(subject, now | {PROMPT: torch.zeros(2, 16)})
