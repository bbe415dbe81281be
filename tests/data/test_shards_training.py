"""Training from shards: each image once an epoch whoever reads it, shuffled, resumable, local and
over HTTP.
"""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grace_geom.data import loader, resolve
from grace_geom.data.batches import blocks_of, buffered_order
from grace_geom.distributed import World
from grace_geom.errors import UserError
from tests.data.makers import pictures, turns, write_npz, write_shard

SIZES = (5, 9, 2, 8)  # images a shard


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Four ragged shards, 24 images, each of which says in its pixels which it is."""
    folder = tmp_path_factory.mktemp("shards")
    first = 0
    for k, n in enumerate(SIZES):
        images = np.repeat(
            np.arange(first, first + n, dtype=np.uint8)[:, None], 8 * 8 * 3, axis=1
        ).reshape(n, 8, 8, 3)
        write_shard(folder / f"{k:03d}.tar", images, turns(first + n)[first:], first=first)
        first += n
    (folder / "classnames.txt").write_text("apple\nbear\ncar\n")
    return folder


@pytest.fixture(scope="module")
def address(shards: Path) -> Iterator[str]:
    """The same shards on a web server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(shards))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ids(batches) -> list[list[int]]:
    """Which images the batches show, read from their pixels."""
    return [(batch.images[:, 0, 4, 4] * 255).round().int().tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return [i for batch in batches for i in batch]


def read(image_set, **options):
    return loader(image_set, 6, 8, train=True, seed=3, **{"buffer": 7, "drop_last": True} | options)


@pytest.mark.parametrize("where", ["local", "http"])
def test_processes_and_workers_share_an_epoch_exactly(
    shards: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path))
    root = address if where == "http" else shards
    image_set = resolve(f"wds:{root}/{{000..003}}.tar", "eval")
    assert len(image_set) == sum(SIZES)
    whole = ids(read(image_set))
    assert sorted(flat(whole)) == list(range(24)), "every image once"
    for size in (2, 3):
        shares = [
            ids(read(image_set, share=World(rank, size), workers=rank % 2, context="fork"))
            for rank in range(size)
        ]
        for k, batch in enumerate(whole):
            assert [share[k] for share in shares] == [batch[rank::size] for rank in range(size)]


def test_any_position_can_be_resumed_and_epochs_differ(shards: Path):
    image_set = resolve(
        f"wds:{shards}/{{000..003}}.tar", "train", val_fraction=0.0
    )  # a fifth is the test
    whole = ids(read(image_set, drop_last=False))
    assert ids(read(image_set, drop_last=False, skip_batches=2)) == whole[2:]
    assert ids(read(image_set, drop_last=False, epoch=1)) != whole
    assert len(blocks_of(image_set)) == len(image_set) == len(flat(whole))


def test_the_buffer_shuffles_across_shards_but_reads_nearly_in_sequence():
    blocks = np.repeat(np.arange(50), 20)
    found = buffered_order(blocks, buffer=60, seed=0, epoch=0)
    assert sorted(found.tolist()) == list(range(1000))
    row = np.concatenate(
        [np.flatnonzero(blocks == k) for k in np.random.default_rng([0, 0]).permutation(50)]
    )
    ahead = np.argsort(row)[found] - np.arange(
        1000
    )  # how far ahead of its place in the row an image comes
    assert ahead.max() < 60, "an image never comes before the buffer has reached it"
    open_at_once = [len(set(blocks[found[i : i + 20]])) for i in range(0, 900, 20)]
    assert 3 <= np.mean(open_at_once) <= 12, "neighbours come from several shards, not from all"
    waits = np.flatnonzero(np.diff(found) != 1).size
    assert waits > 900, "no shard is read through as it lies"
    one = buffered_order(blocks, buffer=1, seed=0, epoch=0)
    assert np.array_equal(one, row), "a buffer of one image only shuffles the shards"
    everything = buffered_order(blocks, buffer=2000, seed=0, epoch=0)
    assert abs(np.corrcoef(everything, np.arange(1000))[0, 1]) < 4 / np.sqrt(1000)
    assert not np.array_equal(found, buffered_order(blocks, 60, seed=0, epoch=1))


def test_a_buffer_without_shards_and_batches_that_do_not_divide_are_refused(
    shards: Path, tmp_path: Path
):
    npz = resolve(f"npz:{write_npz(tmp_path / 'x.npz', pictures(6), turns(6))}", "eval")
    with pytest.raises(
        UserError, match=r"--shuffle-buffer is for images in shards .*x\.npz is not"
    ):
        read(npz)
    image_set = resolve(f"wds:{shards}/000.tar", "eval")
    with pytest.raises(UserError, match="batches of 5 images do not divide among 2 processes"):
        read(image_set, drop_last=False, share=World(0, 2))
