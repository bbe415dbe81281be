"""Claims: one owner at a time, whoever dies, stops or comes at the same moment."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from grace_geom.store import (
    FAILED,
    NOBODY,
    STOPPED,
    TRIES,
    AwayError,
    Patience,
    SeenClaim,
    Store,
    away,
)
from grace_geom.store import claims as module
from tests.processes import fork, wait_until

LEASE = 0.4


def take(store: Store, name: str = "run", seconds: float = LEASE):
    """The claim, however long the one before has to be watched."""
    found = []
    wait_until(lambda: found.append(store.claim(name, "taker", seconds)) or found[-1])
    return found[-1]


def test_one_holds_it_until_it_is_released(store: Store) -> None:
    mine = store.claim("run", "me", 20)
    assert mine is not None and mine.held
    other = Store(store.url)
    assert other.claim("run", "you", 20) is None
    state = other.claims()["run"]
    assert (state.number, state.record.owner, state.end) == (1, "me", None)
    assert state.record.process == os.getpid()
    mine.release(FAILED, "no such luck")
    state = other.claims("run")["run"]
    assert state.end is not None and (state.end.how, state.end.why) == ("failed", "no such luck")
    yours = other.claim("run", "you", 20)
    assert yours is not None and yours.number == 2
    yours.release()


def test_of_many_at_once_one_gets_it(url: str) -> None:
    found = []
    start = threading.Barrier(6)

    def want(i: int) -> None:
        start.wait()
        found.append(Store(url).claim("run", f"{i}", 20))

    threads = [threading.Thread(target=want, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [claim for claim in found if claim is not None]
    won.release()


def test_it_is_renewed_while_the_work_goes_on(store: Store) -> None:
    mine = store.claim("run", "me", 1.0, note=lambda: {"step": 7})  # a busy machine is late, too
    assert mine is not None
    other, beats = Store(store.url), 0
    while beats < 6:  # a lease and a half
        assert other.claim("run", "you", 1.0) is None
        beats = other.claims()["run"].beat.count
        time.sleep(0.05)
    assert other.claims()["run"].beat.note == {"step": 7} and mine.held
    mine.release()


@pytest.mark.parametrize(
    ("lease", "fails", "takes", "pauses"),
    [
        (120, 2, 0, [1, 2]),
        (120, 10**6, 0, [1, 2, 4, 8, 16, 32, 57]),  # the last one is what is left
        (120, 10**6, 30, [1, 2, 4]),  # 30 s until a request is given up: 127 s in all
        (3600, 10**6, 0, [1, 2, 4, 8, 16, 32, *[60] * 58, 57]),
    ],
)
def test_the_end_is_told_again_until_the_lease_is_over(
    tmp_path, monkeypatch, capsys, lease, fails, takes, pauses
) -> None:
    asked, waited, spent = [], [], []
    mine = Store(tmp_path, tries=TRIES).claim("run", "me", lease)
    assert mine is not None
    real, began = os.link, mine._renewed

    def link(one: str, other: str) -> None:
        asked.append(other)
        if len(asked) <= fails:
            spent.append(takes)
            raise OSError(errno.EIO, "the line is cut")
        real(one, other)

    clock = SimpleNamespace(sleep=waited.append, monotonic=lambda: began + sum(waited + spent))
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(away, "time", clock)
    if fails > 2:
        with pytest.raises(AwayError, match=rf"the line is cut.*asked {len(pauses) + 1} times"):
            mine.release(STOPPED)
    else:
        mine.release(STOPPED)
    assert waited == pytest.approx(pauses) and len(asked) == len(pauses) + 1
    assert f"asked again in 1 s, for {lease - takes} s more" in capsys.readouterr().err
    end = Store(tmp_path).claims()["run"].end
    assert (end is None) == (fails > 2) and (end is None or end.how == STOPPED)


def test_nothing_is_claimed_that_is_whole(store: Store, tmp_path: Path) -> None:
    (tmp_path / "put").mkdir()
    (tmp_path / "put" / "a").write_text("one")
    mine = store.claim("run", "me", 20)
    assert mine is not None
    store.put_folder(tmp_path / "put", "run")
    mine.release()
    assert Store(store.url).claim("run", "you", 20) is None


def hold(url: str, told) -> None:
    mine = Store(url).claim("run", "forked", LEASE)
    told.send(mine is not None)
    time.sleep(60)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stopped_owner_loses_it_after_a_lease(tmp_path: Path, how: int) -> None:
    heard, told = multiprocessing.Pipe(duplex=False)
    process = fork(hold, str(tmp_path), told)
    try:
        assert heard.recv()
        os.kill(process.pid, how)
        began = time.monotonic()
        mine = take(Store(tmp_path))
        assert mine.number == 2 and time.monotonic() - began > LEASE
        os.kill(process.pid, signal.SIGCONT) if how == signal.SIGSTOP else None
        time.sleep(LEASE)  # the other wakes, sees that it has lost, and does not end what is mine
        assert mine.held and Store(tmp_path).claims()["run"].end is None
        mine.release()
    finally:
        process.kill()
        process.join()


def test_who_wakes_late_knows_that_it_has_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine = store.claim("run", "me", LEASE)
    assert mine is not None
    mine._stop.set()  # as a stopped process: no beat any more
    wait_until(lambda: not mine.held)
    taken = take(Store(tmp_path))
    mine.release()
    assert taken.number == 2 and taken.held
    taken.release()


def test_a_beat_under_way_while_another_takes_over_is_seen_by_one_of_them(tmp_path: Path) -> None:
    """The owner's late beat arrives between the taker's last look and its claim, or after both."""
    store = Store(tmp_path)
    mine = store.claim("run", "me", 60)
    assert mine is not None
    before = store.claims()["run"].seen
    mine._send()
    assert Store(tmp_path).claim("run", "early", LEASE, after=before) is None  # sees the beat
    assert mine.held
    assert Store(tmp_path).claim("run", "hasty", LEASE) is None  # it may not know yet
    mine._send()
    assert not mine.held  # sees the number that was given back: nobody has it, none of two
    began = time.monotonic()
    assert take(Store(tmp_path)).number == 3 and time.monotonic() - began > LEASE


def test_a_store_that_is_away_costs_the_claim_only_after_a_lease(tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    mine = store.claim("run", "me", LEASE)
    assert mine is not None
    real, failed = mine._brief.write, []

    def flaky(path: str, content: bytes) -> None:
        if len(failed) < 2:
            failed.append(path)
            raise module.UserError("away")
        real(path, content)

    monkeypatch.setattr(mine._brief, "write", flaky)
    wait_until(lambda: mine._beat > 0)
    assert mine.held and mine.problem == "away"
    mine.release()


def test_patience_starts_anew_with_every_beat(tmp_path: Path) -> None:
    now = [0.0]
    patience = Patience(lambda: now[0])
    store = Store(tmp_path)
    mine = store.claim("run", "me", 100)
    assert mine is not None
    for at, beat, over in [(0, 0, False), (100, 0, False), (106, 0, True), (107, 1, False),
                           (211, 1, False), (213, 1, True)]:  # fmt: skip
        while mine._beat < beat:
            mine._send()
        now[0] = at
        assert patience.over(store.claims()["run"]) is over, at
    mine.release()


def test_the_first_claim_follows_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.claim("run", "me", 20, after=NOBODY)
    assert first is not None and first.number == 1
    assert store.claim("run", "you", 20, after=NOBODY) is None
    first.release()
    assert store.claim("run", "you", 20, after=SeenClaim(1)).number == 2  # type: ignore[union-attr]
