"""The feature benchmark runs where no other tool is installed, and its own answers are right."""

from benchmarks import features


def test_tables_without_any_peer(monkeypatch):
    monkeypatch.setattr(features, "_tool", lambda name: None)
    rows = {row[0]: row for row in features.cka_table(96, 40, 1).rows}
    assert list(rows) == ["ours, minibatch", "ours, exact"]
    assert float(rows["ours, exact"][3]) < 1e-9 < float(rows["ours, minibatch"][3]) < 0.2
    (row,) = features.dimension_table(400, 3, 10, 1).rows
    assert row[0] == "ours" and 2.5 < float(row[3]) < 3.5
