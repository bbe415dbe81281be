from dataclasses import replace

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.methods.curvature import (
    gauss_newton_diagonal,
    moving_average,
    rank_curriculum,
    scores,
)
from grace_geom.methods.lora import ATTENTION_AND_MLP, target_matrices
from tests.toys import toy_batch, toy_clip


def test_estimate_is_n_times_the_squared_gradient_of_an_independent_computation():
    model, batch = toy_clip().double(), toy_batch(6)
    batch = replace(batch, images=batch.images.double())
    names = target_matrices(model, ATTENTION_AND_MLP)
    h = gauss_newton_diagonal(
        lambda w, b: F.cross_entropy(model(b.images, w), b.labels), model.weights(), names, [batch]
    )
    # independent: open_clip's own encode_image and .backward() on the module's parameters
    clip = toy_clip().double().clip
    head, mean, std = model.head["head.weight"], model.mean, model.std
    clip.requires_grad_(True)
    image = clip.encode_image((batch.images - mean) / std, normalize=True)
    F.cross_entropy(image @ head.T, batch.labels).backward()
    parameters = dict(clip.named_parameters())
    for name in names:
        assert_close(h[name], 6 * parameters[name].grad ** 2, rtol=1e-8, atol=1e-14)


def test_ragged_pieces_give_the_whole_batch_s_estimate():
    model, batch = toy_clip().double(), toy_batch(7)
    batch = replace(batch, images=batch.images.double())
    names = target_matrices(model, ATTENTION_AND_MLP)

    def loss(w, b):
        return F.cross_entropy(model(b.images, w), b.labels)

    whole = gauss_newton_diagonal(loss, model.weights(), names, [batch])
    pieces = gauss_newton_diagonal(loss, model.weights(), names, batch.split(3))
    for name in names:
        assert_close(pieces[name], whole[name], rtol=1e-8, atol=1e-14)


def test_first_estimate_initialises_and_later_ones_decay():
    one, two = {"W": torch.full((2, 2), 1.0)}, {"W": torch.full((2, 2), 2.0)}
    h = moving_average({}, one, 0.9)
    assert torch.equal(h["W"], one["W"])
    assert_close(moving_average(h, two, 0.9)["W"], torch.full((2, 2), 0.9 * 1 + 0.1 * 2))


def test_ranks_follow_the_percentiles():
    score = {f"W{i}": float(i) for i in range(11)}  # percentiles 20 and 80 are exactly 2 and 8
    ranks = rank_curriculum(score, r_max=4)
    assert [ranks[f"W{i}"] for i in range(11)] == [0, 0, 2, 2, 2, 2, 2, 2, 4, 4, 4]


def test_equal_scores_all_count_as_high():
    assert set(rank_curriculum(dict.fromkeys("abc", 1.0), 4).values()) == {4}


def test_score_is_the_mean_of_the_entries():
    assert scores({"a": torch.tensor([[1.0, 2.0], [3.0, 6.0]])}) == {"a": 3.0}
