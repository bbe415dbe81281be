"""Data sets are refused early only where it is sure that nobody will find them."""

from pathlib import Path

import pytest

from grace_geom.errors import UserError
from grace_geom.refusals import check_data, check_evaluation, check_study

ALL = ("id", "ood", "adv", "natural_adv", "zeroshot")


def values(**given):
    sets = {"ood": {}, "natural_adv": {}, "zeroshot": {}}
    return {"suites": ALL, "data": None, "data_root": None, **sets, **given}


@pytest.mark.parametrize(
    "given",
    [
        {"data": "nowhere"},
        {"data": "npz:no.npz", "data_root": Path("/")},
        {"zeroshot": {"x": "folder:/no/such/folder"}},
        {"ood": {"x": "npz:no.npz"}, "data_root": "/"},
    ],
)
def test_an_evaluation_is_refused_for_sets_that_are_nowhere(given):
    with pytest.raises(UserError, match=r"unknown data set|no such file or folder"):
        check_evaluation(values(**given))


@pytest.mark.parametrize(
    "given",
    [
        {"data": "npz:no.npz"},  # it may lie below the data root of the training run
        {"ood": {"x": "nowhere"}, "suites": ("id",)},  # nobody reads it
        {"data": "nowhere", "suites": ("ood",)},
        {"data": "shapes", "ood": {"x": "wds:{000..099}.tar"}},
    ],
)
def test_an_evaluation_that_may_find_its_sets_is_not_refused(given):
    check_evaluation(values(**given))


def test_training_data_lies_here_or_below_the_data_root(tmp_path):
    (tmp_path / "there.npz").touch()
    for check in (check_data, check_study):
        check(values(data="npz:there.npz", data_root=tmp_path))
        check(values(data=f"npz:{tmp_path}/there.npz"))
        with pytest.raises(UserError, match=r"no such file or folder: there\.npz"):
            check(values(data="npz:there.npz"))
