"""Where a run was made, as plain values."""

import torch
import yaml

from grace_geom.provenance import provenance


def test_provenance_is_plain_and_never_fails(monkeypatch):
    found = provenance()
    assert yaml.safe_load(yaml.safe_dump(found)) == found
    assert found["packages"]["torch"] and found["threads"] == torch.get_num_threads()
    monkeypatch.setattr(
        "subprocess.run", lambda *a, **k: (_ for _ in ()).throw(FileNotFoundError("git"))
    )
    assert provenance()["commit"] is None
