"""The places that decide a test's marks exist."""

from tests.conftest import BROWSER, DISTRIBUTED, FIRST, SLOW, TESTS


def test_every_place_of_a_mark_exists():
    gone = [
        place for place in {*SLOW, *DISTRIBUTED, *BROWSER, *FIRST} if not (TESTS / place).exists()
    ]
    assert not gone
