"""Which checkpoints were compared with something else than the others."""

from grace_geom.records.references import Reference, unlike_references


def test_one_digest_under_two_names_is_one_reference():
    a, b = Reference("runs/a", "ab" * 32), Reference("runs/a/ckpt.pt", "ab" * 32)
    assert unlike_references({"x": a, "y": b}) == {} and hash(a) == hash(b)
    other = Reference("runs/a", "cd" * 32)
    found = unlike_references({"x": a, "y": b, "z": other})
    assert list(found) == ["z"] and "runs/a (cdcdcd)" in found["z"]
