"""Shards and the dashboard's copy, over an S3 server."""

from pathlib import Path

import numpy as np
import torch

from app import mirror
from app import store as shown
from grace_geom.data import loader, resolve
from grace_geom.store import Store
from tests.app.conftest import write_run
from tests.data.makers import pictures, rgb, turns, write_shard


def test_shards_of_a_bucket_are_those_of_a_disk(s3: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "cache"))
    bucket = Store(f"{s3}/shards").objects
    for k in range(2):
        write_shard(tmp_path / f"{k:03d}.tar", pictures(4, seed=k), turns(4), first=4 * k)
    (tmp_path / "classnames.txt").write_text("apple\nbear\ncar\n")
    for path in tmp_path.glob("*.t*"):
        bucket.upload(path, path.name)
    far = resolve(f"wds:{s3}/shards/{{000..001}}.tar", "eval")
    near = resolve(f"wds:{tmp_path}/{{000..001}}.tar", "eval")
    assert far.class_names == near.class_names and far.labels.tolist() == near.labels.tolist()
    assert all(np.array_equal(rgb(far, i), rgb(near, i)) for i in range(8))
    (copy,) = (tmp_path / "cache").rglob("001.tar")
    assert copy.stat().st_mtime == bucket.info("001.tar").changed  # the server's, on every machine
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "other"))
    there = resolve(f"wds:{s3}/shards/{{000..001}}.tar", "eval", stream=True)
    assert there.content == far.content and not list((tmp_path / "other").rglob("*.tar"))
    how = {"train": True, "buffer": 3, "workers": 2, "context": "fork"}
    for one, other in zip(loader(there, 3, 8, **how), loader(far, 3, 8, **how), strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_the_dashboard_keeps_a_copy_of_a_bucket(s3: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "cache"))
    store = Store(f"{s3}/shown")
    store.put_folder(write_run(tmp_path, "ft-s0", 70, 40), "ft-s0")
    kept = mirror.of_url(store.url)
    kept.look()
    assert kept.problems == ()
    assert shown.entries(kept.root)["ft-s0"].accuracies[0].correct == 70
