"""What settings and numbers are called."""

from dataclasses import fields

import pytest

from grace_geom.config import TrainConfig
from grace_geom.methods import METHODS, method_class
from grace_geom.records import titles


@pytest.mark.parametrize(
    ("analysis", "key", "said"),
    [
        ("parameter_drift", "drift", "relative weight drift"),
        ("hessian_spectrum", "lambda_1", "largest Hessian eigenvalue λ₁"),
        ("hessian_spectrum", "lambda_12", "Hessian eigenvalue λ₁₂"),
        ("representation_drift", "cka/adv/block.3", "CKA with the reference, attacked block 3"),
        ("representation_drift", "cka/ood/embedding", "CKA with the reference, OOD embedding"),
        ("feature_stability", "centroid_cosine/adv", "class-centroid cosine ID→attacked"),
        ("anisotropy", "features/id/lid/block.0", "LID of features, ID block 0"),
        ("sharpness", "adv-ce/ball/0.1", "rise of the loss under attack within ρ = 0.1"),
        ("sharpness", "ce/loss", "clean loss at the checkpoint"),
        (
            "robustness_curve",
            "apgd-ce/4/255",
            "accuracy under APGD-CE, ε = 4/255, robustness curve",
        ),
        ("robustness_curve", "transfer/a_b", "accuracy on the attacked images of a_b"),
        ("new_analysis", "some_number/id", "some number ID, new analysis"),
    ],
)
def test_numbers_have_titles_for_people(analysis, key, said):
    assert titles.number(analysis, key) == said


def test_settings_are_called_by_what_they_do():
    assert titles.setting("lr") == "learning rate"
    assert titles.setting("batch_size") == "batch size"
    assert len(set(titles.SETTINGS.values())) == len(titles.SETTINGS)
    assert len(set(titles.NUMBERS.values())) == len(titles.NUMBERS)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("loss_task", "task loss"),
        ("loss_lar", "LAR-AWP loss"),
        ("val_acc_pgd", "held-out accuracy under PGD"),
        ("lr", "learning rate"),
        ("grad_scale", "grad scale"),
    ],
)
def test_logged_numbers_have_names_for_sentences(key, said):
    assert titles.logged(key) == said


def test_every_setting_that_runs_can_differ_in_has_a_title():
    of_methods = {f.name for name in METHODS for f in fields(method_class(name))}
    of_runs = {f.name for f in fields(TrainConfig)} - {"options"}  # these are the methods'
    known = titles.SETTINGS.keys() | titles.PLAIN
    assert of_methods | of_runs == known, "a title for each, and none for what no run has"
    assert not titles.SETTINGS.keys() & titles.PLAIN
    assert all("_" not in titles.setting(key) for key in known)
