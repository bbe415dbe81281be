"""UMAP of features: what it is fitted to, and what is said where it is not installed."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from grace_geom.analysis.feature_stability import StabilityOptions
from grace_geom.analysis.features import umap_map
from grace_geom.errors import UserError


class Mapper:
    """Notes what it is given and keeps the first two numbers."""

    def __init__(self, **settings: object) -> None:
        self.settings = settings

    def fit_transform(self, X: np.ndarray) -> np.ndarray:
        self.seen = X
        return X[:, :2]

    def transform(self, X: np.ndarray) -> np.ndarray:
        return X[:, :2] + self.seen[:1, :2]


def test_the_map_is_fitted_to_id_and_the_others_are_placed_in_it(monkeypatch):
    made: list[Mapper] = []

    def make(**settings: object) -> Mapper:
        made.append(Mapper(**settings))
        return made[-1]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=make))
    sets = {"id": torch.ones(8, 3), "adv": torch.zeros(8, 3)}
    found = umap_map.umap_of(sets, 15, 7)
    (mapper,) = made
    assert mapper.settings["n_neighbors"] == 7 and mapper.settings["random_state"] == 7
    assert mapper.settings["metric"] == "cosine"
    np.testing.assert_array_equal(found["umap/id"], np.ones((8, 2)))
    np.testing.assert_array_equal(found["umap/adv"], np.ones((8, 2)))  # from the fit to ID


def test_without_umap_learn_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(umap_map, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'grace_geom\[umap\]'"):
        umap_map.check_umap()


def test_results_without_a_map_keep_the_name_of_their_cache():
    plain, mapped = (StabilityOptions(checkpoints=(), umap=asked) for asked in (False, True))
    assert not any(key.startswith("umap") for key in plain.settings())
    assert mapped.settings()["umap_neighbours"] == 15


@pytest.mark.nightly  # compiles for half a minute
def test_groups_stay_apart():
    pytest.importorskip("umap")
    g = torch.Generator().manual_seed(0)
    groups = torch.eye(3).repeat_interleave(20, 0) + 0.05 * torch.randn(60, 3, generator=g)
    found = umap_map.umap_of({"id": groups, "adv": groups + 0.01}, 10, 0)
    centres = found["umap/id"].reshape(3, 20, 2).mean(1)
    moved = found["umap/adv"].reshape(3, 20, 2).mean(1)
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[np.triu_indices(3, 1)]
    assert np.linalg.norm(moved - centres, axis=1).max() < gaps.min() / 3
