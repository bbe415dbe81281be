"""The dashboard over a store: what is whole is shown, what runs is told, nothing is written."""

import os
import time
from pathlib import Path

import pytest

from app import mirror, store
from app.studying import Standing, remaining, sentence, standings
from grace_geom.errors import UserError
from grace_geom.store import FAILED, Store
from tests.app.conftest import sees, write_run


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    """A study of two runs that are whole, one of them measured again, and its table."""
    found = Store(f"file://{tmp_path}/store")
    for run, clean in (("ft-s0", 70), ("grace-s0", 80)):
        folder = write_run(tmp_path / "made", run, clean, 40)
        (folder / "ckpt.pt").write_bytes(b"weights")
        found.put_folder(folder, run)
    again = write_run(tmp_path / "again", "ft-s0", 90, 10)
    found.put_folder(again, "ft-s0@2")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "table.md").write_text("| a |")
    found.put_folder(tmp_path / "tables", "tables")
    return found


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()
    }


def test_the_newest_versions_are_there_without_weights_and_the_store_is_as_before(
    shared: Store, tmp_path: Path
) -> None:
    before = state_of(tmp_path / "store")
    kept = mirror.of_url(shared.url)
    kept.look()
    found = store.entries(kept.root)
    assert sorted(found) == ["ft-s0", "grace-s0"] and kept.problems == ()
    assert found["ft-s0"].accuracies[0].correct == 90  # of the second version
    assert (kept.root / "table.md").read_text() == "| a |"
    assert not list(kept.root.rglob("*.pt"))
    assert state_of(tmp_path / "store") == before


def test_what_comes_is_brought_once_and_what_is_known_stays(
    shared: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = mirror.of_url(shared.url)
    kept.look()
    moved: list[str] = []
    real = kept.store.objects.download
    monkeypatch.setattr(
        kept.store.objects, "download", lambda path, file: (moved.append(path), real(path, file))[1]
    )
    stamp = store.listing_stamp(kept.root)
    kept.look(every=0)
    assert moved == [] and store.listing_stamp(kept.root) == stamp
    shared.put_folder(write_run(tmp_path / "made", "at-s0", 60, 50), "at-s0")
    kept.look()
    assert "at-s0" not in kept.whole  # somebody looked just now
    kept.look(every=0)
    assert "at-s0" in store.entries(kept.root) and store.listing_stamp(kept.root) != stamp
    # the same log as the others': by its digest it is here already
    assert sorted(Path(path).name for path in moved) == ["config.yaml", "eval.json"]


def test_a_store_that_is_away_leaves_what_was_seen(shared: Store, monkeypatch) -> None:
    kept = mirror.of_url(shared.url)
    kept.look()

    def away(below: str = "") -> list[str]:
        raise UserError("cannot be listed: no route to host")

    monkeypatch.setattr(kept.store, "names", away)
    kept.look(every=0)
    assert kept.problems == ("cannot be listed: no route to host",)
    assert sorted(store.entries(kept.root)) == ["ft-s0", "grace-s0"]


def test_a_broken_run_costs_only_itself(shared: Store, tmp_path: Path) -> None:
    file = shared.manifest("grace-s0").files["eval.json"]
    (tmp_path / "store" / file.object).write_text("{}")
    kept = mirror.of_url(shared.url)
    kept.look()
    assert [p for p in kept.problems if "its folder is broken" in p]
    assert sorted(store.entries(kept.root)) == ["ft-s0"]


def test_it_says_what_runs_where_and_what_failed_and_why(shared: Store) -> None:
    shared.objects.write(
        "plan.json", b'{"seconds": {"ft-s0": 50, "at-s0": 60, "at-s1": 70}, "devices": 2}'
    )
    note = {"step": 25, "total": 100, "seconds": 10.0}
    runs = shared.claim("at-s0", "me@here", 60, note=lambda: note)
    fails = shared.claim("lora-s0", "you@there", 60)
    assert runs is not None and fails is not None
    runs._send()
    fails.release(FAILED, "OutOfMemoryError: 80 GiB")
    kept = mirror.of_url(shared.url)
    kept.look()
    found = {s.run: s for s in standings(kept, time.time())}
    assert {run: s.state for run, s in found.items()} == {
        "lora-s0": "failed", "at-s0": "running", "at-s1": "waiting",
        "ft-s0": "finished", "grace-s0": "finished",
    }  # fmt: skip
    assert next(iter(found)) == "lora-s0" and found["lora-s0"].why == "OutOfMemoryError: 80 GiB"
    one = found["at-s0"]
    assert (one.owner, one.step, one.total, one.left) == ("me@here", 25, 100, 30.0)
    assert remaining(list(found.values())) == 30.0 + 70.0
    assert sentence(list(found.values()), kept.plan.devices) == (  # 2 devices for 100 s
        "Of 5 runs: 2 finished, 1 waiting, 1 running, 1 failed; about 1 min 40 s and "
        "0.06 device hours left."
    )
    late = {s.run: s for s in standings(kept, time.time() + 1000)}["at-s0"]
    assert late.state == "abandoned" and "no sign of life" in late.why
    runs.release()


def test_the_time_left_is_not_guessed() -> None:
    running, unknown = Standing("a", "running", left=10.0), Standing("b", "waiting")
    assert remaining([running, unknown]) is None
    waits = Standing("b", "waiting", left=7200.0)
    assert remaining([waits]) is None
    assert sentence([waits]) == "Of 1 runs: 1 waiting; about 2.0 device hours left."
    assert sentence([running, unknown]) == "Of 2 runs: 1 waiting, 1 running."
    assert sentence([Standing("b", "finished")]) == "Of 1 runs: 1 finished."


@pytest.mark.parametrize("page", ["overview", "training", "run"])
def test_a_page_is_drawn_over_a_store(opened, shared: Store, page: str) -> None:
    runs = shared.claim("at-s0", "me@here", 60)
    app = opened(shared.url, page)
    assert not app.exception
    seen = sees(app)
    assert "2 runs in file" in seen
    assert page == "run" or f"{os.sep}dashboard" not in seen  # the copy's place, but for commands
    assert ("The study" in seen and "1 running" in seen) == (page == "training")
    assert not [b for b in app.button if b.key and b.key.startswith("tag_")]  # only read
    assert runs is not None
    runs.release()


def test_a_study_that_has_just_begun_is_shown(opened, tmp_path: Path) -> None:
    begun = Store(f"file://{tmp_path}/new")
    claim = begun.claim("at-s0", "me@here", 60)
    assert claim is not None
    app = opened(begun.url)
    assert not app.exception and "1 running" in sees(app)
    claim.release()


def test_an_address_that_is_no_store_is_told(opened) -> None:
    app = opened("gs://bucket/study")
    assert not app.exception and "pip install grace" in app.error[0].value
