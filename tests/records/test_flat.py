"""Results of format 1, whose names begin with a label only where there are several checkpoints."""

import hashlib
import json
import math

import numpy as np
import pytest

from app import store
from grace_geom.records import Finding, Measure, Part, RecordError, Result
from tests.app.conftest import write_run


def flat(folder, labels, found, arrays=None, /, **about):
    """A result as format 1 wrote it."""
    checkpoints = [{"label": s, "path": f"/elsewhere/{s}/ckpt.pt", "n": {"id": 7}} for s in labels]
    plain = {
        "name": "spectrum", "checkpoints": checkpoints, "settings": {"n": 9}, "values": {},
        "arrays": {}, "seconds": 2.5, "versions": {"numpy": "1"}, "format": "grace_geom.result/1",
        "npz_sha256": "",
    }  # fmt: skip
    for name, value in found.items():
        said = f"not measured: {value}" if isinstance(value, str) else ""
        number = None if isinstance(value, str) else value
        plain["values"][name] = {"value": number, "error": None, "estimator": said}
    folder.mkdir(parents=True, exist_ok=True)
    if arrays:
        np.savez(folder / "spectrum.npz", **arrays)
        data = (folder / "spectrum.npz").read_bytes()
        plain["npz_sha256"] = hashlib.sha256(data).hexdigest()
        plain["arrays"] = {
            name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in arrays.items()
        }
    path = folder / "spectrum.json"
    path.write_text(json.dumps(plain | about))
    return path


def numbers(part: Part) -> dict[str, float]:
    return {name: m.value for name, m in part.values.items()}


def test_one_checkpoint_has_every_name_as_it_is(tmp_path):
    array = np.arange(3.0, dtype=np.float32)
    path = flat(tmp_path, ["ft"], {"ft/x": 1.0, "trace": 2.0}, {"nodes/ft": array})
    result = Result.load(path)
    assert numbers(result.parts["ft"]) == {"ft/x": 1.0, "trace": 2.0} and not result.values
    assert result.parts["ft"].arrays["nodes/ft"].tolist() == array.tolist()
    assert result.parts["ft"].n == {"id": 7} and "n" not in result.checkpoints[0]
    assert result.seconds == 2.5 and result.versions == {"numpy": "1"}
    assert Result.load(path, arrays=False).parts["ft"].arrays == {}


def test_names_are_of_the_longest_label_and_the_others_of_all(tmp_path):
    values = {"a/x": 1.0, "a/b/x": 2.0, "ab/x": 3.0, "correlation": 4.0}
    arrays = {name: np.full(2, v, np.float32) for name, v in values.items()}
    result = Result.load(flat(tmp_path, ["a", "a/b", "ab"], values, arrays))
    assert {label: numbers(part) for label, part in result.parts.items()} == {
        "a": {"x": 1.0}, "a/b": {"x": 2.0}, "ab": {"x": 3.0},
    }  # fmt: skip
    assert {label: p.arrays["x"][0] for label, p in result.parts.items()} == {
        "a": 1, "a/b": 2, "ab": 3,
    }  # fmt: skip
    assert result.values == {"correlation": Measure(4.0)} and list(result.arrays) == ["correlation"]


def test_a_checkpoint_that_was_not_measured_is_a_part_with_its_reason(tmp_path):
    """Beside a single measured one, whose names have its label although one is listed."""
    path = flat(tmp_path, ["ft"], {"ft/x": 1.0, "a/b/not_measured": "weights are not finite"})
    result = Result.load(path)
    assert numbers(result.parts["ft"]) == {"x": 1.0} and not result.values
    assert result.parts["a/b"] == Part(not_measured="weights are not finite")
    assert list(result.parts) == ["ft", "a/b"]


def test_an_absent_number_of_a_part_stays_one(tmp_path):
    result = Result.load(flat(tmp_path, ["a", "b"], {"a/x": "no light", "b/x": 1.0}))
    absent = result.parts["a"].values["x"]
    assert math.isnan(absent.value) and absent.estimator == "not measured: no light"


def test_labels_that_are_not_on_record_are_the_folders(tmp_path):
    nameless = [{"path": "/old/ft-s0/ckpt.pt"}]
    result = Result.load(flat(tmp_path, [], {"x": 1.0}, checkpoints=nameless))
    assert numbers(result.parts["ft-s0"]) == {"x": 1.0}
    assert result.checkpoints == ({"path": "/old/ft-s0/ckpt.pt", "label": "ft-s0"},)


def test_what_is_loaded_from_format_1_is_saved_as_format_2(tmp_path):
    values = {"a/x": 1.0, "a/b/x": 2.0, "c/not_measured": "lost", "joint": 0.5}
    old = Result.load(flat(tmp_path / "old", ["a", "a/b"], values, {"a/b/y": np.ones(2)}))
    path = old.save(tmp_path / "new")
    plain, new = json.loads(path.read_text()), Result.load(path)
    assert plain["format"] == "grace_geom.result/2"
    assert plain["parts"]["a"]["values"]["x"]["value"] == 1.0
    assert plain["parts"]["a"]["n"] == {"id": 7}
    assert plain["parts"]["c"]["not_measured"] == "lost" and "joint" in plain["values"]
    assert {k: numbers(p) for k, p in new.parts.items()} == {
        k: numbers(p) for k, p in old.parts.items()
    }
    assert new.parts["a/b"].arrays["y"].tolist() == [1, 1]
    with np.load(tmp_path / "new/spectrum.npz") as file:
        assert file.files == ["a/b/y"]


@pytest.mark.parametrize("labels", [["ft"], ["ft", "at"]])
def test_one_checkpoint_has_the_shape_of_several(tmp_path, labels):
    parts = {s: Part({"x": Measure(1.0)}, {"y": np.ones(2)}, {"id": 3}) for s in labels}
    path = Result("s", tuple({"label": s} for s in labels), {}, parts).save(tmp_path)
    plain = json.loads(path.read_text())
    assert plain["values"] == {} == plain["arrays"] and list(plain["parts"]) == labels
    for label in labels:
        assert list(plain["parts"][label]) == ["values", "arrays", "n"]
        assert Finding("run", Result.load(path), label).value("x") == Measure(1.0)
    with np.load(tmp_path / "s.npz") as file:
        assert file.files == [f"{label}/y" for label in labels]


def test_arrays_whose_keys_would_be_one_are_both_kept(tmp_path):
    parts = {
        "a": Part({}, {"b/x": np.zeros(2), "x": np.full(2, 1)}),
        "a/b": Part({}, {"x": np.full(3, 2)}),
    }
    path = Result("s", (), {}, parts, arrays={"a/x": np.full(4, 3)}).save(tmp_path)
    found = Result.load(path)
    assert [found.parts["a"].arrays[k].tolist() for k in ("b/x", "x")] == [[0, 0], [1, 1]]
    assert found.parts["a/b"].arrays["x"].tolist() == [2, 2, 2]
    assert found.arrays["a/x"].tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": {"a/x": {"value": "much"}}}, r'\$\.values\["a/x"\]\.value: expected float'),
        ({"values": {"a/x": {"error": 1.0}}}, r'\$\.values\["a/x"\]\.value: is missing'),
        ({"arrays": {"a/x": {"shape": [-1]}}}, r'\$\.arrays\["a/x"\]\.shape'),
        ({"checkpoints": [{"n": {"id": "x"}}]}, r"\$\.checkpoints\[0\]\.n"),
        ({"values": None}, r"\$\.values"),
    ],
)
def test_damage_is_named_where_it_is_in_the_file(tmp_path, change, said):
    with pytest.raises(RecordError, match=f"spectrum.json: {said}.*run the analysis again"):
        Result.load(flat(tmp_path, ["a", "b"], {}, None, **change))


def test_a_checkpoint_without_a_part_is_named(tmp_path):
    path = Result("s", ({"label": "a"},), {}, {"b": Part()}).save(tmp_path)
    with pytest.raises(
        RecordError, match=r"\$\.checkpoints\[0\]\.label: 'a' has no entry in parts"
    ):
        Result.load(path)


def test_the_dashboard_finds_the_one_checkpoint_that_was_measured(runs):
    """Its values were looked for without the label that they have."""
    values = {"grace-s0/lambda_1": 2.0, "ft-s0/not_measured": "weights are not finite"}
    flat(runs / "demo/analyses", ["grace-s0"], values, name="spectrum")
    found, problems = store.findings("spectrum", list(store.entries(runs).values()), runs)
    assert [(f.run, f.value("lambda_1").value) for f in found] == [("demo/grace-s0", 2.0)]
    assert not problems


@pytest.fixture
def runs(tmp_path):
    for name in ("ft-s0", "grace-s0"):
        write_run(tmp_path / "runs", f"demo/{name}", 60)
    return tmp_path / "runs"
