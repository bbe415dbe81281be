"""A store that does not answer for a while: asked again, a stated number of times."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from grace_geom.errors import UserError
from grace_geom.store import STOPPED, TRIES, AwayError, Store, away
from grace_geom.study import shared as module
from tests.analysis.conftest import blank
from tests.store.test_shared_study import scheduler
from tests.stub_study import Stub, rows_by_label

WHY = OSError(errno.EIO, "the line is cut")


@dataclass
class Cut:
    """A line that fails so many more times, and for this reason."""

    left: int = 0
    why: OSError = WHY
    asked: int = 0


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cut]:
    """Listings of stores on this disk fail while ``left`` is above 0; nobody waits long."""
    line, system = Cut(), Store(tmp_path).objects.system
    real = system.find

    def find(*args: object, **options: object) -> object:
        line.asked += 1
        if line.left > 0:
            line.left -= 1
            raise line.why
        return real(*args, **options)

    monkeypatch.setattr(system, "find", find)
    monkeypatch.setattr(away, "FIRST", 1e-4)
    monkeypatch.setattr("grace_geom.study.figure.save", blank)
    yield line


def waiting(tmp_path: Path, cut: Cut, fails: int):
    """A scheduler that waits for the one run of a study; its owner stops when the line fails."""
    url = str(tmp_path / "store")
    mine = Store(url).claim("ft-s0", "me", 60)
    assert mine is not None
    one, _ = scheduler(url, tmp_path / "1", Stub(), methods=("ft",), seeds=(0,), baseline="ft")

    def hear(line: str) -> None:
        if "waiting for it" in line:
            mine.release(STOPPED)
            cut.left, cut.asked = fails, 0

    assert one.shared is not None
    one.shared.say = hear
    return one


def test_a_scheduler_that_waits_outlasts_a_few_failures(tmp_path, cut, capsys) -> None:
    one = waiting(tmp_path, cut, 3)
    rows = rows_by_label(one.run())
    assert len(rows["ft"].records) == 1 and cut.left == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "the line is cut" in line]
    assert len(told) == 3 and "cannot be listed" in told[0]
    assert told[2].endswith(f"asked again in 0.0004 s, 4 of {TRIES} times")


def test_it_ends_after_the_stated_number(tmp_path, cut) -> None:
    one = waiting(tmp_path, cut, 10**6)
    with pytest.raises(AwayError, match=rf"cannot be listed: the line is cut.*asked {TRIES} times"):
        one.run()
    assert cut.asked == TRIES


def test_what_will_not_pass_is_not_asked_again(tmp_path, cut) -> None:
    one = waiting(tmp_path, cut, 10**6)
    cut.why = PermissionError(errno.EACCES, "not yours")
    with pytest.raises(UserError, match="not yours"):
        one.run()
    assert cut.asked == 1


def test_a_wrong_address_is_not_asked_again(tmp_path, cut) -> None:
    cut.left = 10**6
    with pytest.raises(AwayError):
        module.SharedStudy(Store(tmp_path / "store"), tmp_path)
    assert cut.asked == 1


def test_a_claim_whose_answer_was_lost_is_still_the_claimants(tmp_path, cut, monkeypatch) -> None:
    real, lost = os.link, []

    def link(one: str, other: str) -> None:
        real(one, other)
        if not lost:
            lost.append(other)
            raise WHY

    monkeypatch.setattr(os, "link", link)
    objects = Store(tmp_path, tries=2).objects
    assert objects.create("claims/a/1.json", b"mine") and len(lost) == 1
    assert not objects.create("claims/a/1.json", b"yours")
    assert objects.read("claims/a/1.json") == b"mine"


def test_leases_are_watched_anew_after_the_store_was_away(tmp_path, cut) -> None:
    shared = module.SharedStudy(Store(tmp_path / "store"), tmp_path, 60)
    before = shared.patience
    shared._look()
    assert shared.patience is before
    cut.left = 1
    shared._look()
    assert shared.patience is not before
