"""Rows of one table that were not measured alike are told apart, and the whole measurement
counts.
"""

import pytest

from grace_geom.records import Accuracy, headline_attack, strongest, summarise, uneven
from grace_geom.records.statistics import wilson


def accuracy(suite: str, n: int, correct: int, steps: int = 0, **more) -> Accuracy:
    attack = None
    if steps:
        part = {"name": "pgd", "steps": steps, "restarts": 1}
        attack = {"name": "pgd", "eps": 4 / 255, "seed": 0, "parts": [part]}
    share = correct / n
    subset = {"of": 2000, "ids_sha256": f"{n}"} | more
    interval = wilson(correct, n)
    return Accuracy(suite, "set", "spec", n, correct, share, *interval, 0.0, "", attack,
                    subset=subset)  # fmt: skip


WHOLE = [accuracy("id", 2000, 1600), accuracy("ood", 2000, 1000), accuracy("adv", 500, 200, 100)]
SHORT = [accuracy("id", 200, 170), accuracy("ood", 200, 90), accuracy("adv", 200, 120, 5)]


@pytest.mark.parametrize("order", [1, -1])
def test_the_number_on_most_images_under_the_longest_attack_counts(order):
    mixed = (WHOLE + SHORT)[::order]
    assert {(a.suite, a.n) for a in strongest(mixed) if a.attack is None} == {
        ("id", 2000), ("ood", 2000)
    }  # fmt: skip
    assert headline_attack(mixed) == [WHOLE[2]]
    assert {c: e and e.value for c, e in summarise(mixed).items()} == {
        c: e and e.value for c, e in summarise(WHOLE).items()
    }


def test_rows_of_another_n_attack_or_content_are_marked_and_explained():
    rows = [("a", [WHOLE]), ("b", [SHORT]), ("c", [WHOLE, WHOLE])]
    found = uneven(rows)
    assert {i for i, _ in found.cells} == {1}
    assert {c for _, c in found.cells} >= {"ID", "OOD", "Adv", "HM"}
    assert "Adv set on 200 of 2000 images" in found.note_of(1)
    assert "5 steps" in found.note_of(1) and "not 500 of 2000 images" in found.note_of(1)
    other = [accuracy("id", 2000, 1600, content="b" * 16), *WHOLE[1:]]
    same_n = uneven([("a", [WHOLE]), ("b", [other])])
    assert same_n.mark(1, "ID") == "†" and same_n.mark(1, "OOD") == ""
    seeds = uneven([("a", [WHOLE]), ("mixed", [WHOLE, [SHORT[0], *WHOLE[1:]]])])
    assert seeds.mark(1, "ID") == "†", "seeds of one row that were measured on other images"
    lacks = uneven([("a", [WHOLE]), ("b", [[*WHOLE, accuracy("zeroshot", 10, 5)]])])
    assert lacks.cells <= {(i, c) for i in (0, 1) for c in ("OOD'", "HM'")}
    assert not uneven([("a", [WHOLE]), ("b", [list(WHOLE)])]).notes
