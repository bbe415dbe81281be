"""Two evaluations of one checkpoint at once, with unlike settings: neither loses a number."""

from dataclasses import replace

from grace_geom.records import EvalRecord
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
