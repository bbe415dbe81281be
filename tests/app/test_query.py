"""Which runs a query means, and what it says where it means nothing."""

import pytest

from app import natural, query
from app.query import QueryError

RUNS = {
    "a/grace-s2": {
        "name": "grace-s2", "method": "grace", "eps": 8 / 255, "lr": 1e-3, "seed": 2,
        "tag": ["final"], "note": "two words", "HM": 71.0, "ood": {"v2": "shapes:v2"},
    },
    "a/grace-s10": {
        "name": "grace-s10", "method": "grace", "eps": 4 / 255, "lr": 1e-4, "seed": 10, "tag": [],
        "note": "", "HM": 64.0, "ood": {},
    },
    "a/at-s2": {
        "name": "at-s2", "method": "at", "eps": 4 / 255, "lr": 1e-3, "seed": 2,
        "tag": ["old", "hidden"], "note": "", "ood": {"sketch": "shapes:sketch"}, "clip": None,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", "grace-s2 grace-s10 at-s2"),
        ("GRA", "grace-s2 grace-s10"),
        ("grace s2", "grace-s2"),
        ("method=grace", "grace-s2 grace-s10"),
        ("method=grac", ""),
        ("method=at,ft", "at-s2"),
        ("method!=grace", "at-s2"),
        ("method~ra", "grace-s2 grace-s10"),
        ("eps>4/255", "grace-s2"),
        ("eps>=4/255 eps<8/255", "grace-s10 at-s2"),
        ("eps=4/255", "grace-s10 at-s2"),
        ("lr=0.001", "grace-s2 at-s2"),
        ("seed=2", "grace-s2 at-s2"),
        ("tag:final", "grace-s2"),
        ("-tag:old", "grace-s2 grace-s10"),
        ('note~"two words"', "grace-s2"),
        ("HM>70", "grace-s2"),
        ("HM<=70", "grace-s10"),
        ("seed<=2", "grace-s2 at-s2"),
        ("ood~sketch", "at-s2"),
        ("clip=none", ""),
        ("method = grace", ""),  # three words, and no name has a lone =
    ],
)
def test_a_query_means_these_runs(asked, found):
    meant = query.matching(query.parse(asked), RUNS)
    assert meant == [f"a/{name}" for name in found.split()]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("epps>1", "No run has a setting epps. Did you mean eps?"),
        ("qqqq=1", "No run has a setting qqqq. The Run page lists the settings."),
        ("eps>large", "eps>large: large is no number. Numbers are written as 0.1, 1e-3 or 4/255."),
        ("eps>1/0", "1/0 is no number"),
        ("method=", "method= lacks a value: write method=VALUE, without a space."),
        ('note~"two', "A quote is not closed"),
        ("grace -", "A lone - means nothing"),
    ],
)
def test_a_query_that_means_nothing_is_refused_in_words(asked, said):
    with pytest.raises(QueryError, match=said.replace("?", r"\?")):
        query.matching(query.parse(asked), RUNS)


def test_a_term_that_is_built_by_clicking_finds_its_runs():
    for field, value in (("method", "grace"), ("note", "two words"), ("eps", 8 / 255)):
        terms = query.parse(query.written(field, value))
        assert "a/grace-s2" in query.matching(terms, RUNS)
    assert query.asks_for(query.parse("tag:hidden"), "hidden")
    assert not query.asks_for(query.parse("tag:final hidden"), "hidden")


def test_names_are_ordered_as_people_count():
    names = ["s10", "s2", "S1", "a", "lr-1e-10", "lr-1e-9", "²", ""]
    wanted = ["", "a", "lr-1e-9", "lr-1e-10", "S1", "s2", "s10", "²"]
    assert sorted(names, key=natural.key) == wanted
