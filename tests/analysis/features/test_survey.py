"""One pass for all: distributions, label spaces, and which features are paired."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from grace_geom.analysis.features import Perturbations, cache, paired, survey
from grace_geom.analysis.features.survey import (
    FeaturePlan,
    attack,
    attacked_features,
    clean_features,
    weight_perturbed,
)
from grace_geom.data import from_arrays
from grace_geom.errors import UserError
from grace_geom.models import ClipClassifier
from tests.analysis.features.test_adversary import FAST, toy_set
from tests.toys import toy_clip


def toys() -> dict[str, ClipClassifier]:
    return {"a": toy_clip(0), "b": toy_clip(1)}


def test_every_checkpoint_on_every_distribution():
    both, id_set = toys(), toy_set(9)
    renamed = toy_set(8)
    object.__setattr__(renamed, "class_names", ("star", "circle", "hexagon"))
    object.__setattr__(renamed, "spec", "other")
    plan = FeaturePlan(batch=4, adversary=FAST)
    found = clean_features(both, id_set, {"other": renamed}, plan)
    x_adv = attack(both["a"], both["a"], id_set, plan)
    adv = attacked_features(both, x_adv, id_set, plan)
    assert {name: list(sets) for name, sets in found.items()} == {
        "a": ["id", "other"],
        "b": ["id", "other"],
    }
    mapped = {0: 2, 1: 0, 2: -1}  # star, circle, and a class that ID does not have
    assert found["a"]["other"].labels.tolist() == [mapped[int(y)] for y in renamed.labels]
    paired(found["a"]["id"], found["b"]["id"])
    paired(found["a"]["id"], adv["a"])
    with pytest.raises(UserError, match="not paired"):
        paired(found["a"]["id"], found["a"]["other"])
    with torch.no_grad():
        assert_close(
            adv["b"].embedding,
            both["b"].encode(torch.from_numpy(np.array(x_adv))),
            rtol=1e-4,
            atol=1e-5,
        )


def test_a_subset_is_not_paired_with_the_whole_or_another_order():
    both, id_set, plan = toys(), toy_set(9), FeaturePlan()
    whole = clean_features(both, id_set, {}, plan)["a"]["id"]
    for other in (id_set.subset(5, 0), id_set.take(np.arange(9)[::-1])):
        with pytest.raises(UserError, match="not paired"):
            paired(whole, clean_features(both, other, {}, plan)["a"]["id"])


def test_perturbed_features_belong_to_the_same_images():
    model, id_set = toy_clip(), toy_set(9)
    still = FeaturePlan(
        batch=4, awp_batch=5, adversary=Perturbations(eps=0.0, attack_steps=1, rho=0.0)
    )
    x_adv = attack(model, model, id_set, still)
    clean, adv = weight_perturbed(model, model, x_adv, id_set, still)
    expected = clean_features({"a": model}, id_set, {}, still)["a"]["id"].embedding
    expected = torch.nn.functional.normalize(expected, dim=-1)
    assert_close(clean, expected, rtol=1e-4, atol=1e-5)
    assert_close(adv, expected, rtol=1e-4, atol=1e-5)


def test_one_pass_serves_every_analysis_of_a_folder(tmp_path, monkeypatch):
    both, id_set, passes = toys(), toy_set(9), []
    real = survey.collect
    monkeypatch.setattr(
        survey, "collect", lambda m, *a, **k: passes.append(sorted(m)) or real(m, *a, **k)
    )
    plan = FeaturePlan(batch=4, adversary=FAST, cache=tmp_path)

    def everything(models=both, plan=plan):
        x_adv = attack(both["a"], both["a"], id_set, plan)
        return clean_features(models, id_set, {}, plan), attacked_features(
            models, x_adv, id_set, plan
        )

    clean, adv = everything({"a": both["a"]})
    again, adv_again = everything()
    assert passes == [
        ["a"],
        ["a"],
        ["b"],
        ["b"],
    ]  # clean and attacked; the second time only what was not known
    assert torch.equal(again["a"]["id"].layers["block.0"], clean["a"]["id"].layers["block.0"])
    assert (
        torch.equal(adv_again["a"].embedding, adv["a"].embedding)
        and adv_again["a"].distribution == "adv"
    )
    assert not torch.equal(again["a"]["id"].embedding, again["b"]["id"].embedding)
    everything(plan=replace(plan, pool="mean"))
    everything({"a": toy_clip(2)})
    clean_features(both, id_set.subset(5, 0), {}, plan)
    assert passes[4:] == [["a", "b"], ["a", "b"], ["a"], ["a"], ["a", "b"]]
    for file in tmp_path.glob("feat-*.npz"):
        file.write_bytes(file.read_bytes()[:80])  # cut off: collected again, not crashed on
    everything()
    assert passes[9:] == [["a", "b"], ["a", "b"]]


def test_a_data_file_that_was_replaced_is_attacked_and_collected_again(tmp_path):
    models, plan = {"a": toy_clip()}, FeaturePlan(batch=4, adversary=FAST, cache=tmp_path)
    old = toy_set(9)
    new = from_arrays(
        old.spec, 255 - old.fetch.images, old.labels, old.class_names
    )  # same SPEC, labels and numbers
    for found in (old, new):
        attacked = attack(models["a"], models["a"], found, plan)
        clean = clean_features(models, found, {}, plan)["a"]["id"]
        x = torch.from_numpy(found.fetch.images).permute(0, 3, 1, 2) / 255
        assert np.abs(attacked - x.numpy()).max() <= FAST.eps + 1e-6
        with torch.no_grad():
            assert_close(clean.embedding, models["a"].encode(x), rtol=1e-4, atol=1e-5)


def test_features_too_large_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 100)
    clean_features(toys(), toy_set(9), {}, FeaturePlan(cache=tmp_path))
    assert list(tmp_path.iterdir()) == []
