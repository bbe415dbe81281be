"""Factorial designs and their effects, against the analysis of variance and closed forms."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import stats

from grace_geom import effects as command
from grace_geom.errors import UserError
from grace_geom.study.design import Design, efficiency, fraction, read_design
from grace_geom.study.effects import Response, effects, read_table, responses
from grace_geom.study.options import StudyOptions, jobs_of

FACTORS = {
    "a": {"off": "a=0", "on": "a=1"},
    "b": {"low": "b=0", "middle": "b=1", "high": "b=2"},
    "c": {"no": "", "yes": "c=1"},
}
DESIGN = Design("grace", FACTORS, (("a", "b"),))


def runs(noise: float, blocks: int = 3, cells=None, seed: int = 0) -> list[Response]:
    """A mean of 50; on: +2; high: +3 over low; yes: -1; on and high together: +1.5 more."""
    rng = np.random.default_rng(seed)
    found = []
    for block in range(blocks):
        shared = 4 * rng.standard_normal()
        for a, b, c in cells or DESIGN.cells:
            value = 50 + 2 * a + 1.5 * b - c + 1.5 * (a == 1 and b == 2) + shared
            found.append(Response((a, b, c), str(block), value + noise * rng.standard_normal()))
    return found


def test_contrasts_are_differences_of_means_on_a_complete_design():
    some = runs(0.7)
    found = effects(DESIGN, some)
    for contrast in found.contrasts:
        place = list(FACTORS).index(contrast.factor)
        level = list(FACTORS[contrast.factor]).index(contrast.level)
        means = [np.mean([r.value for r in some if r.cell[place] == k]) for k in (level, 0)]
        assert contrast.value == pytest.approx(means[0] - means[1], abs=1e-6)
    assert found.mean == pytest.approx(np.mean([r.value for r in some]), abs=1e-6)


def test_tests_and_intervals_are_those_of_the_analysis_of_variance_with_blocks():
    some = runs(0.7)
    found = effects(DESIGN, some)
    y = np.array([r.value for r in some])
    blocks = np.eye(3)[[int(r.block) for r in some]]
    cells = np.array([r.cell for r in some])

    def rest(X):
        fitted = X @ np.linalg.lstsq(X, y, rcond=None)[0]
        return float(np.sum((y - fitted) ** 2))

    a, b, c = (np.eye(k)[cells[:, i]] for i, k in enumerate((2, 3, 2)))
    ab = np.einsum("ni,nj->nij", a, b).reshape(len(y), -1)
    whole = np.hstack([blocks, ab, c])
    df = len(y) - np.linalg.matrix_rank(whole)
    variance = rest(whole) / df
    assert found.df == df
    assert found.residual == pytest.approx(np.sqrt(variance), rel=1e-3)
    smaller = {("c",): np.hstack([blocks, ab]), ("a", "b"): np.hstack([blocks, a, b, c])}
    for test in found.tests:
        if test.term in smaller:
            F = (rest(smaller[test.term]) - rest(whole)) / test.df / variance
            assert pytest.approx(F, rel=2e-3) == test.F
            assert test.p == pytest.approx(stats.f.sf(F, test.df, df), rel=1e-2, abs=1e-12)
    yes = next(x for x in found.contrasts if x.factor == "c")
    half = stats.t.ppf(0.975, df) * np.sqrt(variance * 2 / (len(y) / 2))
    assert yes.high - yes.value == pytest.approx(half, rel=1e-3)
    power = (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) / stats.t.ppf(0.975, df)
    assert yes.detectable == pytest.approx(half * power, rel=1e-3)


def test_a_fraction_without_noise_gives_the_planted_effects():
    (cells,) = fraction(DESIGN, 8, 0)
    found = {(x.factor, x.level): x.value for x in effects(DESIGN, runs(1e-6, 2, cells)).contrasts}
    assert found["a", "on"] == pytest.approx(2 + 1.5 / 3, abs=1e-3)
    assert found["b", "high"] == pytest.approx(3 + 1.5 / 2, abs=1e-3)
    assert found["c", "yes"] == pytest.approx(-1, abs=1e-3)


def test_intervals_hold_the_truth_as_often_as_they_say():
    (cells,), hits = fraction(DESIGN, 9, 0), 0
    for seed in range(40):
        yes = next(
            x
            for x in effects(DESIGN, runs(1.0, 3, cells, seed)).contrasts
            if (x.factor, x.level) == ("b", "middle")
        )
        hits += yes.low <= 1.5 <= yes.high
    assert stats.binom.cdf(hits, 40, 0.95) > 1e-3
    assert stats.binom.sf(hits - 1, 40, 0.95) > 1e-3


def test_holm_corrects_in_order():
    some = effects(DESIGN, runs(1.5)).contrasts
    ordered = sorted(some, key=lambda x: x.p)
    worst = 0.0
    for rank, x in enumerate(ordered):
        worst = max(worst, min(1.0, (len(ordered) - rank) * x.p))
        assert x.p_holm == pytest.approx(worst)


def test_one_block_is_least_squares():
    some = runs(0.5, blocks=1)
    found = effects(Design("grace", FACTORS), some)
    assert found.between == 0
    assert found.df == len(some) - 5


@pytest.mark.parametrize("cells", [[(0, 0, 0), (1, 1, 1)], DESIGN.cells[:7]])
def test_too_few_runs_are_refused(cells):
    with pytest.raises(UserError, match=r"runs cannot tell|nothing over"):
        effects(DESIGN, runs(1.0, 1, cells))


def test_what_only_studies_tell_apart_is_refused():
    some = [replace(r, block=f"{r.block} {r.cell[2]}") for r in runs(1.0)]
    with pytest.raises(UserError, match="every study needs rows of every level"):
        effects(DESIGN, some)


def test_a_column_without_any_difference_is_refused():
    with pytest.raises(UserError, match="the same value, 0: nothing"):
        effects(DESIGN, [replace(r, value=0.0) for r in runs(1.0, 1)])


def test_no_swap_betters_a_fraction_and_the_seed_repeats_it():
    (cells,) = fraction(DESIGN, 8, 3)
    assert [cells] == fraction(DESIGN, 8, 3)
    best = efficiency(DESIGN, cells)
    for i, other in itertools.product(range(8), set(DESIGN.cells) - set(cells)):
        assert efficiency(DESIGN, [*cells[:i], other, *cells[i + 1 :]]) <= best + 1e-9
    assert efficiency(DESIGN, DESIGN.cells) == pytest.approx(1)


def test_parts_of_a_design_tell_effects_from_the_seeds_of_the_parts():
    parts = fraction(DESIGN, 10, 0, blocks=3)
    assert sorted(map(len, parts)) == [3, 3, 4]
    assert len({cell for cells in parts for cell in cells}) == 10
    some = [
        replace(r, block=str(k))
        for k, cells in enumerate(parts)
        for r in runs(1e-6, 1, cells, seed=k)  # every part with a level of its own
    ]
    found = {(x.factor, x.level): x.value for x in effects(DESIGN, some).contrasts}
    assert found["a", "on"] == pytest.approx(2 + 1.5 / 3, abs=1e-3)
    assert found["c", "yes"] == pytest.approx(-1, abs=1e-3)


def test_no_swap_between_parts_betters_them():
    parts = fraction(DESIGN, 12, 1, blocks=3)

    def value(parts):
        cells = [cell for part in parts for cell in part]
        blocks = np.eye(3)[[k for k, part in enumerate(parts) for _ in part], 1:]
        X = np.hstack([DESIGN.matrix(cells), blocks])
        return np.linalg.slogdet(X.T @ X)[1]

    best = value(parts)
    for k, m in itertools.combinations(range(3), 2):
        for i, j in itertools.product(range(4), range(4)):
            other = [list(part) for part in parts]
            other[k][i], other[m][j] = other[m][j], other[k][i]
            assert value(other) <= best + 1e-9


def test_a_part_is_printed_with_its_seed(tmp_path, capsys):
    path = tmp_path / "d.yaml"
    path.write_text("method: grace\nfactors: {rank: {a: r=1, b: r=2}, gv: {a: gv=on, b: gv=off}}")
    command.main(["--design", str(path), "--runs", "4", "--part", "2/2"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seeds"] == [1]
    assert len(printed["methods"]) == 2


@pytest.mark.parametrize("part", ["0/3", "4/3", "2", "a/b"])
def test_an_impossible_part_is_refused(part, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--part", part])
    assert stop.value.code == 2
    assert "expected K/N" in capsys.readouterr().err


def test_every_row_of_the_packaged_design_trains():
    design = read_design("grace-parts")
    labels = tuple(design.label(cell) for cell in design.cells)
    assert len(set(labels)) == 72
    some = labels[::7]  # every level of every factor is in one of them
    assert len(jobs_of(StudyOptions(methods=some, seeds=(0,)), {})) == len(some)
    for levels in design.factors.values():
        for option in (o for options in levels.values() for o in options.split(":")):
            assert any(option in label.split(":") for label in some), option


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("method: graze\nfactors: {}", "method"),
        ("method: grace\nfactors: {a: {x: r=1}}", "factors"),
        ("method: grace\nfactors: {a: {x: r=1, y: r=1}}", "same options"),
        ("method: grace\nfactors: {a: {x: r=1, y: r=2}}\ninteractions: [[a, b]]", "interactions"),
        ("method: grace\nfactors: {a: {x: r=1, y: r=2}}\ninteractions: [5]", "interactions"),
        ("method: grace\nfactors: {a: {x: r=1, y: r=2}}\ninteractions: 5", "interactions"),
        ("method: [grace]\nfactors: {a: {x: r=1, y: r=2}}", "method"),
        ("method: grace\nfactors: {}", "factors"),
    ],
)
def test_a_design_that_is_none_is_refused_by_its_line(tmp_path, text, named):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=named):
        read_design(str(path))


def test_the_command_prints_rows_and_effects(tmp_path, capsys):
    command.main([])
    assert capsys.readouterr().out.count("  - grace:task=") == 72
    path, study = tmp_path / "d.yaml", tmp_path / "s"
    path.write_text("method: grace\nfactors: {rank: {small: r=1, large: r=2}}")
    study.mkdir()
    values = {"grace:r=1": (0.5, 0.52), "grace:r=2": (0.6, 0.66)}
    rows = [
        {"method": label, "columns": {"HM": {"seeds": dict(enumerate(pair))}}}
        for label, pair in values.items()
    ]
    table = {"format": "grace_geom.study/1", "rows": rows, "study": {"data": "shapes"}}
    (study / "table.json").write_text(json.dumps(table))
    command.main([str(study), "--design", str(path), "--columns", "HM"])
    said = capsys.readouterr().out
    assert "large − small" in said
    assert "+12.0" in said
    command.main([str(study), "--design", str(path), "--columns", "HM", "--json"])
    found = json.loads(capsys.readouterr().out)["result"]["data"]["shapes"]["HM"]
    (contrast,) = found["contrasts"]
    assert contrast["value"] == pytest.approx(12) and contrast["low"] < 12 < contrast["high"]
    other = tmp_path / "other"
    other.mkdir()
    more = [
        {**row, "columns": {"HM": {"seeds": {"0": 0.3 + 0.1 * i, "1": 0.31 + 0.1 * i}}}}
        for i, row in enumerate(rows)
    ]
    pack = {"data": "npz:packs/birds_train.npz+packs/birds_test.npz"}
    (other / "table.json").write_text(json.dumps({**table, "rows": more, "study": pack}))
    file = tmp_path / "effects.svg"
    command.main(
        [str(study), str(other), "--design", str(path), "--columns", "HM", "--figure", str(file)]
    )
    said = capsys.readouterr().out
    assert "shapes, HM: main effects" in said and "birds_train, HM: main effects" in said
    assert "+12.0" in said and "+10.0" in said
    drawn = " ".join(file.read_text().split())
    assert "rank: large" in drawn and "mixed models over 4 runs on shapes" in drawn
    with pytest.raises(SystemExit) as stop:
        command.main([str(tmp_path), "--design", str(path)])
    assert stop.value.code == 2
    with pytest.raises(UserError, match="no row of"):
        responses(read_design("grace-parts"), {"s": read_table(study)}, "HM")
    (study / "table.json").write_text(json.dumps({**table, "rows": [{"method": 3}]}))
    with pytest.raises(UserError, match=r"table\.json: .*method"):
        read_table(study)
    (study / "table.json").write_text(json.dumps({**table, "format": "grace_geom.study/2"}))
    with pytest.raises(UserError, match="newer version"):
        read_table(study)
