"""mCE against published numbers and by hand."""

import dataclasses

import pytest

from grace_geom.records import Accuracy, wilson
from grace_geom.records.corruption import ALEXNET, ALEXNET_CLEAN, corruption_error

RESNET50 = dict(zip(
    ALEXNET, (80, 82, 83, 75, 89, 78, 80, 78, 75, 66, 57, 71, 85, 77, 77), strict=True
))  # fmt: skip
"""CE in % of ResNet-50 in the paper's table 1, whose mCE is 76.7 and whose clean error is 23.9."""
N = 50_000


def accuracy(share: float, n: int = N, spec: str = "imagenet", groups=()) -> Accuracy:
    k = round(share * n)
    return Accuracy("id", "d", spec, n, k, k / n, *wilson(k, n), 0.0, groups=tuple(groups))


def corrupted(errors: dict[str, float], spec: str = "imagenet-c", n: int = N) -> Accuracy:
    """Errors that differ by severity around these means."""
    groups = [
        {"name": f"{c}/{s}", "n": n, "accuracy": 1 - e * (1 + (s - 3) / 30)}
        for c, e in errors.items()
        for s in range(1, 6)
    ]
    return accuracy(0.5, spec=spec, groups=groups)


def test_alexnet_has_100_percent():
    found = corruption_error(corrupted(ALEXNET, n=10**6), accuracy(1 - ALEXNET_CLEAN, 10**6))
    assert found.mce == pytest.approx(1, abs=1e-9) and found.relative == pytest.approx(1, abs=1e-6)


def test_resnet50_has_its_published_errors():
    a = corrupted({c: RESNET50[c] / 100 * e for c, e in ALEXNET.items()})
    found = corruption_error(a, accuracy(1 - 0.239))
    assert 100 * found.mce == pytest.approx(76.7, abs=0.5)  # of CEs that are rounded to 1 %
    assert 100 * found.relative == pytest.approx(105.0, abs=2)
    assert found.mean == pytest.approx(
        sum(RESNET50[c] / 100 * e for c, e in ALEXNET.items()) / 15, abs=1e-12
    )


def test_other_sets_are_not_divided_by_alexnet():
    cifar = corruption_error(corrupted(ALEXNET, "folder:cifar10-c"), accuracy(0.9))
    assert cifar.mce is None and cifar.relative is None
    assert cifar.mean == pytest.approx(sum(ALEXNET.values()) / 15)
    some = corrupted(ALEXNET)
    part = dataclasses.replace(some, groups=some.groups[:-1])  # a severity of JPEG is missing
    assert corruption_error(part).mce is None and corruption_error(accuracy(0.5)) is None
    assert corruption_error(some).relative is None  # no clean accuracy


def test_the_interval_is_that_of_errors_that_move_together():
    n, e = 400, 0.4
    a = accuracy(0.5, spec="x", groups=[{"name": f"{c}/{s}", "n": n, "accuracy": 1 - e}
                                        for c in "ab" for s in range(1, 6)])  # fmt: skip
    found = corruption_error(a)
    low, high = wilson(round(e * n), n)
    assert found.mean_interval == pytest.approx((low, high), abs=2e-3)
    assert corruption_error(a).mean == pytest.approx(e)
