"""The curvature benchmark runs where no peer is installed, and our own answers there are right."""

import importlib

import pytest

from benchmarks import curvature


def rows(table) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in table.rows}


def test_tables_without_any_peer():
    model, batch = curvature.M(width=4, layers=1, patch=16), curvature.sample(6)
    table, forward = curvature.cost_table(model, batch, rounds=2)
    assert (
        list(rows(table))[:4] == ["forward", "gradient", "HVP, kept graph", "HVP, rebuilt graph"]
        and forward > 0
    )
    eigen = rows(curvature.eigen_table(model, curvature.sample(), {}, forward))
    assert list(eigen) == ["ours", "ours, basis in float16", "scipy eigsh on our product"]
    assert float(eigen["ours"][-1]) < 2e-4
    density = rows(curvature.density_table(model, batch, {}, forward, steps=5))
    assert density["ours"][0] == "5" and float(density["ours"][-1]) < 1e-6
    smallest = curvature.M(width=2, layers=1, patch=8)  # its dense Hessian has 538 columns
    trace = rows(curvature.trace_table(seeds=2, budgets=(4, 8), net=smallest, images=4))
    assert len(trace) == 4 and all(float(x) > 0 for x in trace["Hutchinson"])


def test_a_peer_that_is_absent_is_named(monkeypatch, capsys):
    real = importlib.import_module

    def absent(name, *rest):
        if name == "curvlinops":
            raise ImportError("No module named 'curvlinops'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert "curvlinops" not in curvature.find_peers()
    assert "curvlinops is left out: No module named" in capsys.readouterr().out


def test_the_model_is_the_one_that_is_spoken_of():
    assert sum(p.numel() for p in curvature.M().parameters()) == pytest.approx(0.47e6, rel=0.01)
