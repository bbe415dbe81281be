"""Two evaluations, or interpolations, of one checkpoint at once, with unlike settings: neither
loses a number.
"""

from dataclasses import replace

import pytest

from grace_geom.evaluation.record_files import set_aside
from grace_geom.records import DialPoint, DialRecord, EvalRecord
from tests.app.conftest import evaluation


def aside(path):
    return lambda record: path.with_name(f"eval-was-{record.settings['seed']}.json")


def kept(path) -> list[str]:
    return sorted(a.suite for a in EvalRecord.load(path).accuracies)


def test_records_of_unlike_settings_change_places_and_lose_nothing(tmp_path):
    path = tmp_path / "eval.json"
    whole = evaluation("grace", 95, 60)
    one, other = (replace(whole, settings=whole.settings | {"seed": seed}) for seed in (0, 5))
    rows = {suite: [a for a in whole.accuracies if a.suite == suite] for suite in ("id", "adv")}
    for suite in ("id", "adv"):  # each process writes one number, then the other does
        for record in (one, other):
            mine = replace(record, accuracies=tuple(rows[suite]))
            mine.merged_into(path, (), aside(path))
    expected = sorted(a.suite for suite in rows for a in rows[suite])
    assert EvalRecord.load(path).settings["seed"] == 5
    assert kept(path) == expected
    assert kept(tmp_path / "eval-was-0.json") == expected


def dial(seed: int, *points: DialPoint) -> DialRecord:
    return DialRecord("ab" * 32, "run", "ft", {"seed": seed}, points)


def test_interpolations_of_unlike_settings_change_places_and_lose_nothing(tmp_path):
    path, whole = tmp_path / "dial.json", evaluation("grace", 95, 60)
    for suite in ("id", "adv"):
        rows = tuple(a for a in whole.accuracies if a.suite == suite)
        for seed in (0, 5):
            dial(seed, DialPoint(0.5, rows)).merged_into(path, aside=aside(path))
    for seed, file in ((5, path), (0, tmp_path / "eval-was-0.json")):
        record = DialRecord.load(file)
        assert record.settings == {"seed": seed}
        assert {a.suite for a in record.point(0.5).accuracies} == {"id", "adv"}


@pytest.mark.parametrize("now", [None, 1.0])
def test_a_call_that_chose_no_t_keeps_what_another_chose_meanwhile(tmp_path, now):
    path, whole = tmp_path / "dial.json", evaluation("grace", 95, 60)
    points = [DialPoint(t, whole.accuracies) for t in (0.5, 1.0)]
    replace(dial(0, points[0]), chosen=0.5, chosen_by="hm").save(path)
    late = replace(dial(0, points[1]), chosen=now, chosen_by="clean" if now else "")
    found = late.merged_into(path, aside=aside(path))
    assert found == DialRecord.load(path) and len(found.points) == 2
    assert (found.chosen, found.chosen_by) == ((1.0, "clean") if now else (0.5, "hm"))


@pytest.mark.parametrize("kind", ["eval", "dial"])
def test_what_lies_aside_already_keeps_its_numbers_when_more_is_put_there(tmp_path, kind):
    """As where a process was moved aside, and wrote again before it could be brought back."""
    whole, path = evaluation("grace", 95, 60), tmp_path / f"{kind}.json"
    halves = [tuple(a for a in whole.accuracies if (a.suite == "id") == first) for first in (1, 0)]
    old, more = (
        replace(whole, accuracies=rows) if kind == "eval" else dial(0, DialPoint(0.5, rows))
        for rows in halves
    )
    new = replace(old, settings={"seed": 5})
    set_aside(old.save(path), new)
    (moved,) = tmp_path.glob(f"{kind}-was-*.json")
    more.save(path)
    set_aside(path, new)
    found = type(old).load(moved)
    rows = found.accuracies if kind == "eval" else found.point(0.5).accuracies
    assert len(rows) == len(whole.accuracies) and not path.exists()
