"""Images chosen by what zero-shot gets wrong show no difference to zero-shot."""

from types import SimpleNamespace

import pytest

from grace_geom.records.summary import by_construction


@pytest.mark.parametrize(
    ("column", "method", "spec", "expected"),
    [
        ("NatAdv", "zero-shot", "shapes:hard", True),
        ("NatAdv", "zero-shot", "imagenet-a", False),
        ("NatAdv", "ft", "shapes:hard", False),
        ("OOD", "zero-shot", "shapes:hard", False),
    ],
)
def test_only_the_embedded_hard_images_against_zero_shot(column, method, spec, expected):
    accuracy = SimpleNamespace(suite="natural_adv", spec=spec)
    assert by_construction(column, method, [accuracy]) == expected
