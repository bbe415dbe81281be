"""What is promised of every method is asked of every method."""

import json
from dataclasses import asdict, fields, replace

import pytest
import torch

from grace_geom.errors import UserError
from grace_geom.methods import METHODS, method_class
from grace_geom.methods.base import check_fields
from grace_geom.models import PROMPT
from tests.toys import toy_batch, toy_clip, toy_run, train

TRAINED = [name for name, method in METHODS.items() if method.trains]
QUICK = {"attack_steps": 1, "lr": 3e-3, "c_values": 3, "radius_steps": 3}
OWN = {
    "ftp": {"mu": 1.0},
    "vpt-pmg-aft": {"lr": 0.3},
    "agft": {"target_ratio": 30.0},
    "adv-flyp": {"lr": 1e-2, "lambda_feat": 0.1, "lambda_logit": 0.1},
}  # radii, rates that let the few steps here through; targets that something can be learned of
LEAST = {"adv-flyp": 2.36}
"""Of 32 images of three classes each contrasts with its own: ln(32 / 3) is left."""


def make(name: str):
    known = {f.name for f in fields(METHODS[name])}
    return METHODS[name](
        **{key: value for key, value in QUICK.items() if key in known} | OWN.get(name, {})
    )


def attentive_clip():
    """A toy whose class token listens: with the initial weights of a ViT nothing beside the patches
    can reach it.
    """
    model = toy_clip()
    with torch.no_grad():
        for name, w in model.clip.visual.named_parameters():
            if "attn" in name and w.ndim == 2:
                w.mul_(3)
    return model


@pytest.mark.parametrize("name", TRAINED)
def test_learns(name):
    method = make(name)
    model = attentive_clip() if name.startswith("vpt") else toy_clip()
    history = train(
        method, toy_run(method, model, steps=25), [toy_batch(32, seed=s) for s in range(25)]
    )
    totals = [sum(v.item() for v in terms.values()) - LEAST.get(name, 0) for terms in history]
    assert sum(totals[-5:]) < 0.8 * sum(totals[:5])


@pytest.mark.parametrize("name", METHODS)
def test_leaves_a_plain_model_behind(name):
    method, model = make(name), toy_clip()
    before = {n: w.clone() for n, w in model.clip.state_dict().items()}
    run = toy_run(method, model)
    if method.trains:
        train(method, run, [toy_batch()])
    assert all(torch.equal(before[n], w) for n, w in model.clip.state_dict().items()), (
        "the frozen model moved"
    )
    left, own = method.finish(run), model.clip.state_dict() | model.head
    assert not any(w.requires_grad for w in left.values())
    if (
        PROMPT in left
    ):  # tokens that a plain tower has no place for: kept beside the untouched pretrained weights
        assert left.keys() == method.kept_leaves(run).keys() == {PROMPT}
        return
    assert left.keys() <= own.keys()
    assert all(left[n].shape == own[n].shape for n in left)
    assert method.snapshot(run).keys() <= own.keys()


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_bits(name):
    ends = []
    for _ in range(2):
        method = make(name)
        run = toy_run(method)
        train(method, run, [toy_batch(seed=s) for s in range(3)])
        ends.append(method.finish(run))
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in ends[0])


@pytest.mark.parametrize(
    ("name", "preset"), [(name, p) for name, method in METHODS.items() for p in method.presets]
)
def test_presets_are_values_of_fields_and_make_a_method(name, preset):
    check_fields(METHODS[name](**METHODS[name].presets[preset]))


@pytest.mark.parametrize("name", METHODS)
def test_fields_are_plain_data(name):
    assert json.loads(json.dumps(asdict(METHODS[name]()))) == asdict(METHODS[name]())


@pytest.mark.parametrize("name", TRAINED)
def test_ragged_micro_batches_give_the_gradient_of_the_batch(name):
    # float64: a pixel whose gradient is nearly 0 may step the other way in float32; CPU draws do
    # not depend on pieces
    method, batch = make(name), toy_batch(7)
    batch = replace(batch, images=batch.images.double())
    gradients = []
    for pieces in ([batch], batch.split(3)):
        run = toy_run(method, toy_clip().double())
        terms = method.gradients(run, pieces).terms
        gradients.append({n: p.grad for n, p in run.params.items() if p.grad is not None} | terms)
    assert gradients[0].keys() == gradients[1].keys()
    for key in gradients[0]:
        torch.testing.assert_close(gradients[0][key], gradients[1][key], rtol=1e-6, atol=1e-10)


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(UserError, match="grace"):
        method_class("grase")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("ft", "lr", -1.0), ("ft", "weight_decay", -1.0), ("lora", "r", 0), ("lora", "targets", "("),
        ("lora", "lora_alpha", 0.0), ("at", "eps", -0.1), ("at", "attack_steps", -1), ("at", "eps_warmup", 2.0),
        ("at", "attack_stop", -0.1),
        ("grace", "percentile", 180.0), ("grace", "low_percentile", 90.0), ("grace", "beta", 5.0),
        ("grace", "refresh_every", 0), ("grace", "rho", -1.0), ("grace", "r_max", -1), ("grace", "lr", float("nan")),
        ("wise-ft", "wise_alpha", 1.5), ("ftp", "k", 2.0), ("ftp", "mu", -1.0), ("spd", "lam", -1.0), ("sam", "m", 0),
        ("asam", "eta", -0.1), ("tpgm", "radius_steps", -1), ("linear-probe", "c_low", 0.0), ("lp-ft", "c_low", 1e3),
        ("lp-ft", "c_values", 0), ("l2-sp", "alpha", -1.0),
    ],
)  # fmt: skip
def test_values_without_meaning_are_refused(name, field, value):
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')}"):
        check_fields(METHODS[name](**{field: value}))


def test_a_gradient_can_only_be_reused_where_there_is_one():
    with pytest.raises(UserError, match=r"--awp-reuse.*--attack-steps"):
        check_fields(METHODS["grace"](awp_reuse=True, attack_steps=0))


@pytest.mark.parametrize("name", METHODS)
def test_defaults_have_meaning(name):
    check_fields(METHODS[name]())
