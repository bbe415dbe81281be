"""Records with anything in the place of anything: a right value, or one line with file and key.

``FUZZ_SEEDS=500 python -m pytest tests/records/test_fuzz_records.py`` tries more.
"""

import hashlib
import io
import json
import multiprocessing
import os
import random
import zipfile

import numpy as np
import pytest

from grace_geom.errors import UserError
from grace_geom.records import (
    Accuracy,
    DialPoint,
    DialRecord,
    EvalRecord,
    Measure,
    Part,
    RecordError,
    Result,
    pack,
    read_settings,
    summarise,
)
from grace_geom.records.arrays import read_arrays
from grace_geom.study.state import StudyState
from tests.records.test_flat import flat

SEEDS = range(int(os.environ.get("FUZZ_SEEDS", "40")))
ODD = [
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    10**400,
    "",
    "x",
    "1",
    [],
    [[]],
    {},
    {"a": {}},
    [None],
    "é\x00",
]
ATTACK = {"name": "pgd", "eps": 4 / 255, "norm": "linf", "seed": 0, "precision": "float32",
          "parts": [{"name": "pgd", "steps": 10, "restarts": 1}]}  # fmt: skip


def accuracy(suite: str = "id", k: int = 40, data: str = "set", n: int = 100, **more) -> Accuracy:
    right = np.arange(n) < k
    subset = {"of": n, "seed": 0, "ids_sha256": "ab", "content": "c", "ids": [1, 2]}
    group = {"name": "fog/1", "n": 3, "correct": 1, "accuracy": 1 / 3}
    part = {"name": "pgd", "attacked": 50, "robust": k, "ci_low": 0.2, "ci_high": 0.6}
    more = {"subset": subset, "groups": (group,), "parts": (part,), "outcomes": pack(right)} | more
    return Accuracy(suite, data, "npz:a", n, k, k / n, k / n - 0.1, k / n + 0.1, 1.0, **more)


def evaluation(*rows: Accuracy) -> EvalRecord:
    rows = rows or (accuracy(), accuracy("ood"), accuracy("adv", 20, attack=ATTACK))
    return EvalRecord("ab" * 32, "run", "ft", 0, {"data": "a", "eval_seed": 0}, rows).summed()


def result() -> Result:
    values = {"lambda_1": Measure(2.0, 0.1, 1.5, 2.5), "trace/a.b": Measure(1.0)}
    arrays = {"nodes": np.ones((2, 3)), "names": np.array(["a", "b"])}
    about = {"label": "run", "path": "run/ckpt.pt", "sha256": "ab" * 32, "base": "cd" * 32}
    about |= {"images": {"id": [5, "ef" * 32]}, "others": {"start": "01" * 32}}
    parts = {"run": Part(values, arrays, {"id": 5}), "lost": Part(not_measured="not finite")}
    joint = {"correlation": Measure(0.5, low=0.1, high=0.8)}
    return Result("spectrum", (about,), {"n": 5}, parts, joint, {"axis": np.arange(3)}, 1.0)


@pytest.mark.parametrize(
    ("key", "entry", "at"),
    [
        ("images", 5, r"\$\.checkpoints\[0\]\.images: expected object"),
        ("images", {"id": 5}, r'images\["id"\]: expected array, got int'),
        ("images", {"id": [5]}, r'images\["id"\]: expected array of length 2'),
        ("images", {"id": ["5", "ab"]}, r'images\["id"\]\[0\]: expected int'),
        ("images", {"id": [-5, "ab"]}, r'images\["id"\]\[0\]: expected int'),
        ("images", {"id": [5, 7]}, r'images\["id"\]\[1\]: expected str'),
        ("others", {"start": 5}, r'others\["start"\]: expected str'),
        ("others", ["ab"], r"others: expected object"),
        ("base", 5, r"base: expected str"),
    ],
)
def test_what_a_checkpoint_was_measured_on_is_checked(tmp_path, key, entry, at):
    path = result().save(tmp_path)
    plain = json.loads(path.read_text())
    plain["checkpoints"][0][key] = entry
    path.write_text(json.dumps(plain))
    with pytest.raises(RecordError, match=rf"spectrum\.json: .*{at}.*; run the analysis again"):
        Result.load(path)


def write(kind: str, folder) -> tuple[os.PathLike, object]:
    """A right file of a kind, and how it is read and used."""
    if kind == "eval":
        load = lambda p: summarise(EvalRecord.load(p).accuracies)  # noqa: E731
        return evaluation().save(folder / "eval.json"), load
    if kind == "dial":
        point = DialPoint(0.5, (accuracy(),), (accuracy(data="held-out"),))
        record = DialRecord("ab" * 32, "run", "ft", {"data": "a"}, (point,), 0.5, "by")
        return record.save(folder / "dial.json"), DialRecord.load
    if kind == "study":
        probe = {"steps": 10, "setup": 1.0, "step": 0.1, "forward": 0.1, "image": 0.01}
        plain = {"format": "grace_geom.study/1", "probes": {"ft": probe},
                 "trials": {"ft": {"0.001": 0.5, "1e-05": None}}}  # fmt: skip
        (folder / "study.json").write_text(json.dumps(plain))
        return folder / "study.json", lambda p: [
            s.cost for s in StudyState.load(p, _refuse).probes.values()
        ]
    if kind == "flat":
        values = {"a/x": 1.0, "a/b/x": 2.0, "joint": 0.5, "c/not_measured": "not finite"}
        return flat(folder, ["a", "a/b"], values, {"a/y": np.ones(2)}), Result.load
    return result().save(folder), Result.load


def _refuse(said: str) -> None:
    raise RecordError(said)


def places(plain, at=()):
    """Every entry of nested JSON."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in items:
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*at, key))


def damaged(plain, rng: random.Random):
    """One entry gone, or something else in its place."""
    *way, last = rng.choice(list(places(plain)))
    holder = plain
    for step in way:
        holder = holder[step]
    if rng.random() < 0.25:
        del holder[last]
    else:
        holder[last] = rng.choice(ODD)
    return plain


@pytest.mark.parametrize("kind", ["eval", "dial", "study", "result", "flat"])
def test_another_value_anywhere_is_right_or_named(tmp_path, kind):
    path, load = write(kind, tmp_path)
    whole, seen = path.read_text(), {"refused": 0, "read": 0}
    for seed in SEEDS:
        path.write_text(json.dumps(damaged(json.loads(whole), random.Random(seed))))
        try:
            load(path)
            seen["read"] += 1
        except RecordError as error:
            assert path.name in str(error) or ".npz" in str(error)
            assert any(word in str(error) for word in ("$.", "format", "does not belong"))
            assert len(str(error).splitlines()) == 1
            seen["refused"] += 1
    print(kind, seen)
    assert seen["refused"] > 0


@pytest.mark.parametrize("kind", ["eval", "dial", "study", "result", "flat"])
def test_other_bytes_anywhere_are_right_or_named(tmp_path, kind):
    path, load = write(kind, tmp_path)
    whole = path.read_bytes()
    for seed in SEEDS:
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            i = rng.randrange(len(data))
            data[i : i + rng.choice([0, 1, 1, 50])] = rng.randbytes(rng.choice([0, 1, 3]))
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            load(path)
        except RecordError as error:
            assert path.name in str(error) or ".npz" in str(error)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("n", "5", r"\$\.accuracies\[1\]\.n: expected int, got str"),
     ("n", 0, r"\$\.accuracies\[1\]\.n"), ("accuracy", None, r"\[1\]\.accuracy: expected float"),
     ("accuracy", 0.9, "is not correct / n"), ("correct", 101, "101 of n = 100"),
     ("subset", {"of": 10**15}, r"subset\.of"), ("outcomes", "AAAA", "no outcome for each"),
     ("suite", "idd", r"\[1\]\.suite"), ("attack", {"eps": 1}, r"\[1\]\.attack\.name: is missing")],
)  # fmt: skip
def test_the_key_is_named(tmp_path, key, value, said):
    path = evaluation().save(tmp_path / "eval.json")
    plain = json.loads(path.read_text())
    plain["accuracies"][1][key] = value
    path.write_text(json.dumps(plain))
    with pytest.raises(RecordError, match=f"eval.json: .*{said}.*evaluate again"):
        EvalRecord.load(path)


def test_names_of_mappings_are_named_too(tmp_path):
    path, load = write("study", tmp_path)
    path.write_text(path.read_text().replace("0.5", '"much"'))
    with pytest.raises(RecordError, match=r'\$\.trials\["ft"\]\["0\.001"\]: expected float'):
        load(path)


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', "[" * 10_000, '{"a": "\\ud800"}']
)
def test_what_is_no_strict_json_is_refused(tmp_path, text):
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(RecordError, match=r"eval\.json"):
        EvalRecord.load(tmp_path / "eval.json")


def npz(header: bytes, body: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("a.npy", magic + header + body)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "header",
    [b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n",
     b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
     b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 5), }\n",
     b"{'descr': '<U99999999', 'fortran_order': False, 'shape': (10,), }\n", b"(", b""],
)  # fmt: skip
def test_an_array_takes_no_more_memory_than_its_file_has(header):
    with pytest.raises(ValueError):
        read_arrays(npz(header, bytes(16)))


def test_damaged_arrays_are_right_or_named(tmp_path):
    path = result().save(tmp_path)
    whole, plain = (tmp_path / "spectrum.npz").read_bytes(), json.loads(path.read_text())
    for seed in SEEDS:
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "spectrum.npz").write_bytes(data)
        path.write_text(json.dumps(plain | {"npz_sha256": hashlib.sha256(data).hexdigest()}))
        try:
            loaded = Result.load(path)
            assert loaded.parts["run"].arrays["nodes"].shape == (2, 3)
        except RecordError as error:
            assert "spectrum." in str(error)


PIECES = ["a", "lr", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&x ", "*x", "<<", "!!", "int ",
          "1e5", "0x", "2020-13-45", ".nan", "~", "'", '"', "|", "\t", "é", "\\u", "yes", "#", "%",
          "? ", ",", "010", "1:30", "!!float ", "9" * 40]  # fmt: skip


def test_any_yaml_is_plain_settings_or_named(tmp_path):
    path = tmp_path / "config.yaml"
    for seed in range(10 * len(SEEDS)):
        rng = random.Random(seed)
        path.write_text("".join(rng.choices(PIECES, k=rng.randint(1, 12))), encoding="utf-8")
        try:
            json.dumps(read_settings(path))
        except UserError as error:
            assert "config.yaml" in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: 1\na: 2", "line 2: 'a' is there twice"), ("a: &b [*b]", "alias of what holds it"),
     ("a: 010", "octal"), ("a: .nan", "no number"), ("a: " + "[" * 100 + "]" * 100, "nested"),
     ("a: !!python/name:os.system", "not for settings"), ("\ta: 1", "not tabs"),
     ("a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
         f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)), "aliases")],
)  # fmt: skip
def test_yaml_that_is_no_settings_is_named_by_line(tmp_path, text, said):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RecordError, match=said):
        read_settings(tmp_path / "config.yaml")


def test_yaml_is_read_as_it_is_written(tmp_path):
    (tmp_path / "c.yaml").write_bytes(
        b"\xef\xbb\xbfon: 12:30\n2: 2020-13-45\nb: &x {q: 1}\nc: *x\n"
    )
    assert read_settings(tmp_path / "c.yaml") == {
        "on": "12:30", "2": "2020-13-45", "b": {"q": 1}, "c": {"q": 1},
    }  # fmt: skip


def _add(path, name: str, start) -> None:
    start.wait()
    for i in range(10):
        evaluation(accuracy("ood", data=f"{name}{i}")).merged_into(path)


def test_two_evaluations_at_once_keep_each_others_numbers(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    path = tmp_path / "eval.json"
    both = [context.Process(target=_add, args=(path, name, start)) for name in "ab"]
    for process in both:
        process.start()
    start.set()
    for process in both:
        process.join(60)
    kept = {a.data for a in EvalRecord.load(path).accuracies}
    assert kept == {f"{name}{i}" for name in "ab" for i in range(10)}


def test_what_was_left_out_on_purpose_stays_out(tmp_path):
    path = tmp_path / "eval.json"
    evaluation(accuracy(data="old"), accuracy("ood")).save(path)
    evaluation(accuracy(data="new")).merged_into(path, [accuracy(data="old")])
    assert [a.data for a in EvalRecord.load(path).accuracies] == ["new", "set"]
