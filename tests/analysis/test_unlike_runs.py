"""All analyses on checkpoints that have little in common, and on samples that define little: every
cell is a number or a dash whose footnote says why.
"""

import importlib
import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from grace_geom.analysis.curvature import finite
from grace_geom.analysis.features import Perturbations, adversarial_images, survey
from grace_geom.analysis.numbers import Footnotes, absent
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import read_part
from grace_geom.analysis.state import State
from grace_geom.analysis.subject import open_subject
from grace_geom.attacks import AttackSpec, pgd_attack
from grace_geom.checkpoint import checkpoint_of, open_checkpoint, save_checkpoint
from grace_geom.data import loader, resolve
from grace_geom.errors import NotFiniteError
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.geometry.krylov import Krylov
from grace_geom.models import ModelSpec, build
from grace_geom.plots.columns import union
from grace_geom.plots.sample import sample_size
from grace_geom.records import Measure, Part, Result
from tests.analysis.parts import only
from tests.toys import CLASSES, CONFIG, TEMPLATES, register_toy, toy_batch

ORDER = ("star", "circle", "square")
"""The same classes, otherwise ordered."""

WEIGHTS = ["--params", "ln_post|proj$"]
CALLS = {
    "anisotropy": ["--replicates", "2", "--top", "2", "--bottom", "0", "--probes", "2",
                   "--max-products", "4", *WEIGHTS],
    "bound_terms": ["--replicates", "2", "--probes", "4", "--samples", "2", *WEIGHTS],
    "feature_stability": ["--replicates", "2"],
    "hessian_spectrum": ["--top", "2", "--probes", "2", "--max-products", "4",
                         "--density-probes", "1", "--density-steps", "2", *WEIGHTS],
    "image_gallery": ["--shown", "4", "--smooth", "1"],
    "loss_landscape": ["--slices", "random,contour,line,eigen", "--points", "3",
                       "--contour-points", "2", "--line-points", "2", *WEIGHTS],
    "parameter_drift": [],
    "representation_drift": ["--replicates", "2"],
    "robustness_curve": ["--steps", "1", "--queries", "2", "--radii", "2/255"],
    "sharpness": ["--rho", "0.05", "--rho-adaptive", "0.5", "--rho-relative", "0.01",
                  "--rho-average", "2.0", "--ascent-steps", "1", "--samples", "2", *WEIGHTS],
}  # fmt: skip


def pack(folder: Path, name: str, images: np.ndarray, labels: np.ndarray, classes) -> str:
    np.savez(folder / f"{name}.npz", images=images, labels=labels)
    (folder / f"{name}.classes.json").write_text(json.dumps(list(classes)))
    return f"npz:{folder / name}.npz"


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """Runs by name, each a folder with a checkpoint."""
    root = tmp_path_factory.mktemp("lab")
    batch = toy_batch(200, 0)
    x = (batch.images.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    y = batch.labels.numpy()
    data = pack(root, "id", x, y, CLASSES)
    odd, other = pack(root, "odd", 255 - x, y, CLASSES), pack(root, "other", x, y, CLASSES)
    turned = pack(root, "turned", x, np.array([ORDER.index(c) for c in CLASSES])[y], ORDER)
    pair = pack(root, "pair", x[y < 2], y[y < 2], CLASSES[:2])
    single = pack(root, "single", x[y < 1], y[y < 1], CLASSES[:1])
    deep = json.loads(json.dumps(CONFIG))
    deep["vision_cfg"]["layers"] = 3
    (root / "toy-deeper.json").write_text(json.dumps(deep))
    open_clip.add_model_config(root / "toy-deeper.json")

    def run(name: str, spec: str, classes=CLASSES, scale=1.2, net="", **config) -> None:
        model = build(ModelSpec(net or register_toy(), "random", 0), classes, TEMPLATES)
        weights = {
            n: w * (scale if w.ndim == 2 else 1)
            for n, w in model.weights().items()
            if n not in model.head
        }
        if name == "constant":
            weights["visual.ln_post.weight"] = torch.zeros(16)
            weights["visual.ln_post.bias"] = torch.full((16,), 0.3)
        if name == "dead":
            weights["visual.proj"] = torch.zeros(16, 16)
        if name == "broken":
            weights["visual.proj"] = torch.full((16, 16), math.nan)
        checkpoint = checkpoint_of(model, weights, config={"data": spec, "method": "ft"} | config)
        save_checkpoint(root / name / "ckpt.pt", checkpoint)

    run("usual", data, ood={"odd": odd})
    run("deeper", turned, ORDER, 1.3, "toy-deeper")
    run("turned", turned, ORDER, 1.3)
    run("constant", data, ood={"other": other})
    run("dead", data, ood={"odd": odd})
    run("broken", data)
    run("start", data, scale=1.0)
    run("large", data, image_size=24)
    run("pair", pair, CLASSES[:2])
    run("single", single, CLASSES[:1])
    return root


def call(lab: Path, name: str, runs: list[str], out: Path, *more: str) -> Result:
    """The result of an analysis, of which no warning may reach the screen."""
    argv = [str(lab / run) for run in runs]
    few = ["--n", "12", "--batch", "8", *CALLS[name], "--out", str(out)]
    few += [] if name == "parameter_drift" else ["--attack-steps", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        importlib.import_module(f"analyses.{name}").main([*argv, *few, *more])
    return Result.load(out / f"{name}.json")


def tables(text: str) -> None:
    """No cell holds a bare nan or inf, and every mark has its line."""
    assert not re.search(r"(?<![\w.])(nan|inf)(?![\w.])", text), text
    marks = set(re.findall(r"(?<=\s)-([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text))
    assert marks <= set(re.findall(r"^([⁰¹²³⁴⁵⁶⁷⁸⁹]+) \w", text, re.MULTILINE)), text


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.drawn
@pytest.mark.usefixtures("sketched")
def test_unlike_runs_share_a_table(lab, tmp_path, capsys, name):
    runs = ["deeper", "usual", "constant", "broken"]
    result = call(lab, name, runs, tmp_path)
    said, told = capsys.readouterr()
    tables(said)
    assert "\nbroken: not measured: " in told
    for run in runs:
        assert f"\n{run} " in said or f"at {run} " in said
    assert "broken: not measured: " in said and "not finite" in said
    assert list(result.parts) == runs and "not finite" in result.parts["broken"].not_measured
    assert not result.parts["broken"].values and not result.parts["broken"].arrays


def test_a_checkpoint_left_out_is_told_however_quiet(lab, tmp_path, capsys):
    call(lab, "parameter_drift", ["usual", "broken"], tmp_path, "--quiet", "--json")
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("broken: not measured: ") and json.loads(out)["warnings"] == [line]


DEAD = ("anisotropy", "bound_terms", "feature_stability", "hessian_spectrum", "loss_landscape")


@pytest.mark.parametrize("name", DEAD)
@pytest.mark.drawn
@pytest.mark.usefixtures("sketched")
def test_a_dead_tower_is_answered_cell_by_cell_or_refused(lab, tmp_path, capsys, name):
    try:
        call(lab, name, ["dead"], tmp_path)
    except SystemExit as stop:
        assert stop.code == 2
    said = capsys.readouterr()
    tables(said.out)
    assert re.search(r"no finite second derivative|the same for every image", said.out + said.err)


@pytest.mark.parametrize(
    ("name", "n"), [("anisotropy", 1), ("feature_stability", 1), ("representation_drift", 3)]
)
def test_too_few_images_are_said(lab, tmp_path, capsys, name, n):
    more = ["--parts", "features"] if name == "anisotropy" else []
    call(lab, name, ["usual"], tmp_path, "--n", str(n), *more)
    said = capsys.readouterr().out
    tables(said)
    assert f"{n} rows; unbiased estimates need 4" in said


def test_the_pretrained_model_alone_has_a_bound(lab, tmp_path, capsys):
    found = only(call(lab, "bound_terms", ["start"], tmp_path)).values
    assert found["A"].value == 0 and math.isfinite(found["C"].value)
    tables(capsys.readouterr().out)


def test_two_classes_leave_one_attack_out_and_one_class_is_refused(lab, tmp_path, capsys):
    found = call(lab, "robustness_curve", ["pair", "usual"], tmp_path).parts
    said = capsys.readouterr().out
    tables(said)
    assert (
        math.isnan(found["pair"].values["apgd-t/2/255"].value) and "apgd-t is not defined" in said
    )
    assert (
        0 <= found["pair"].values["apgd-ce/2/255"].value <= found["pair"].values["clean"].value <= 1
    )
    assert 0 <= found["usual"].values["apgd-t/2/255"].value <= 1
    with pytest.raises(SystemExit) as stop:
        call(lab, "robustness_curve", ["single"], tmp_path / "single")
    assert stop.value.code == 2 and "one class only" in capsys.readouterr().err


def test_transfer_asks_the_question_of_the_row(lab, tmp_path):
    found = call(lab, "robustness_curve", ["usual", "turned"], tmp_path).parts
    images = resolve(f"npz:{lab}/id.npz", "test").subset(12, 0)
    model, seer = (open_checkpoint(lab / run / "ckpt.pt")[0] for run in ("usual", "turned"))
    (batch,) = loader(images, 12, 16, train=False)
    x_adv = pgd_attack(model, batch.images, batch.labels, 4 / 255, 1 / 255, 1, seed=0,
                       index=torch.from_numpy(images.index), until_fooled=False).x_adv  # fmt: skip
    names = [ORDER[i] for i in seer(x_adv).argmax(1).tolist()]
    right = [name == CLASSES[y] for name, y in zip(names, batch.labels.tolist(), strict=True)]
    assert found["usual"].values["transfer/turned"].value == pytest.approx(np.mean(right))


def test_images_have_the_size_of_the_run(lab, tmp_path):
    found = only(call(lab, "robustness_curve", ["large"], tmp_path))
    assert found.arrays["example_clean"].shape[1:3] == (24, 24)
    subject = open_subject(lab / "large" / "ckpt.pt", "large", Common((), n=12))
    assert subject.batches(subject.images())[0].images.shape[-1] == 24
    attack = AttackSpec("pgd", 2 / 255, steps=1)
    evaluated = evaluate_set(
        subject.model, subject.images(), "adv", "adv", attack=attack, image_size=24
    )
    assert found.values["pgd/2/255"].value == pytest.approx(evaluated.accuracy)


def test_n_is_what_was_used(lab, tmp_path, capsys):
    result = call(lab, "sharpness", ["usual"], tmp_path, "--n", "1000")
    said = capsys.readouterr().out
    there = len(resolve(f"npz:{lab}/id.npz", "test"))
    assert only(result).n == {"id": there}
    assert f"n = {there} (asked: 1000)" in said and "n = 1000" not in said


def test_words_for_samples():
    assert sample_size({}, 5) == "n = 5"
    assert sample_size({"a": {"id": 5}, "b": {"id": 5, "odd": 5}}, 5) == "n = 5"
    assert sample_size({"a": {"id": 5, "odd": 3}}, 9) == "n = 5 (asked: 9), odd: 3"
    assert sample_size({"a": {"id": 5}, "b": {"id": 7}}, 7) == "n = 5 (a), 7 (b) (asked: 7)"


def test_footnotes_mark_equal_reasons_alike():
    feet = Footnotes()
    texts = [
        feet.cell(m).text(False)
        for m in (Measure(1.0), absent("no light"), None, absent("no light"), Measure(math.inf))
    ]
    assert texts == ["1", "-¹", "-²", "-¹", "-³"]
    assert feet.notes[0] == "¹ no light" and len(feet.notes) == 3


def test_a_union_keeps_every_order():
    assert union([["0", "1", "out"], ["0", "1", "2", "out"]]) == ["0", "1", "2", "out"]
    assert union([["0", "out"], ["a", "b"]]) == ["a", "b", "0", "out"]


def test_a_product_that_is_not_finite_is_refused():
    with pytest.raises(NotFiniteError, match="no finite second derivative"):
        finite(lambda v: v / 0)(torch.zeros(3))


def kept_state(path: Path) -> dict:
    """A state as an interrupted run leaves it."""
    krylov = Krylov(torch.ones(6))
    for _ in range(2):
        krylov.extend(lambda v: torch.arange(6.0) * v)
    state = State(krylov, lambda: 2)
    state.load(path)
    state.rows("probes").append(torch.ones(3))
    state.save()
    return torch.load(path, weights_only=True)


def with_(content: dict, **changes) -> dict:
    return content | changes


DAMAGE = {
    "empty": lambda raw, c: b"",
    "text": lambda raw, c: b"no state",
    "half": lambda raw, c: raw[: len(raw) // 2],
    "zip of nothing": lambda raw, c: b"PK\x05\x06" + bytes(18),
    "a list": lambda raw, c: [1, 2],
    "no rows": lambda raw, c: {k: v for k, v in c.items() if k != "rows"},
    "rows of text": lambda raw, c: with_(c, rows={"probes": "many"}),
    "products of text": lambda raw, c: with_(c, products="2"),
    "no basis": lambda raw, c: with_(c, krylov=None),
    "another T": lambda raw, c: with_(c, krylov=with_(c["krylov"], T=torch.zeros(5, 5))),
    "nan": lambda raw, c: with_(c, krylov=with_(c["krylov"], T=torch.full((2, 2), math.nan))),
    "digest of text": lambda raw, c: with_(c, sha256="0"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_said_and_measured_anew(tmp_path, capsys, damage):
    path = tmp_path / "spectrum.state"
    content = kept_state(path)
    new = DAMAGE[damage](path.read_bytes(), content)
    if isinstance(new, bytes):
        path.write_bytes(new)
    else:
        torch.save(new, path)
    state = State(Krylov(torch.ones(6)), lambda: 0)
    state.load(path)
    assert state.earlier == 0 and len(state.krylov) == 0 and state.rows("probes") == []
    assert f"{path} is damaged" in capsys.readouterr().err


def test_no_flipped_byte_of_a_state_is_taken_for_a_number(tmp_path):
    path = tmp_path / "spectrum.state"
    kept_state(path)
    whole = State(Krylov(torch.ones(6)), lambda: 0)
    whole.load(path)
    assert whole.earlier == 2 and len(whole.krylov) == 2
    raw = path.read_bytes()
    for at in np.linspace(0, len(raw) - 1, 60).astype(int):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :])
        state = State(Krylov(torch.ones(6)), lambda: 0)
        state.load(path)
        if state.earlier:  # a byte that nothing reads
            assert np.array_equal(state.krylov.T, whole.krylov.T)
            assert state.krylov.vectors().equal(whole.krylov.vectors())


@pytest.mark.parametrize("damage", ["flipped", "cut", "json"])
def test_damaged_attacked_images_are_said_and_made_anew(lab, tmp_path, capsys, damage):
    model, images = (
        open_checkpoint(lab / "usual" / "ckpt.pt")[0],
        resolve(f"npz:{lab}/id.npz", "test"),
    )
    images, fast = images.subset(4, 0), Perturbations(attack_steps=1)
    first = np.array(adversarial_images(model, model, images, fast, cache=tmp_path))
    (file,) = tmp_path.glob("adv-*.npy")
    raw = file.read_bytes()
    if damage == "json":
        file.with_suffix(".json").write_text("[]")
    else:
        file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 0x3F]) if damage == "flipped" else raw[:-9])
    again = adversarial_images(model, model, images, fast, cache=tmp_path)
    assert np.array_equal(first, again) and "is damaged" in capsys.readouterr().err


def test_a_damaged_part_is_said_and_not_read(tmp_path, capsys):
    stored = Part({"x": Measure(1.0)}, {"a": np.ones(2)}, {"id": 4})
    Result("part", ({"label": "run"},), {}, {"run": stored}).save(tmp_path)
    path = tmp_path / "part.json"
    part, _ = read_part(path)
    assert part.n == {"id": 4} and part.values["x"].value == 1.0 and not capsys.readouterr().err
    whole = path.read_text()
    for text in (
        "{",
        "[]",
        whole.replace('"n": {', '"m": {'),
        whole.replace('"id": 4', '"id": "x"'),
    ):
        path.write_text(text)
        assert read_part(path) is None and f"{path} is damaged" in capsys.readouterr().err
    assert read_part(tmp_path / "absent.json") is None and not capsys.readouterr().err


def test_a_tower_without_the_asked_tokens_is_refused_before_the_attack(
    lab, tmp_path, capsys, monkeypatch
):
    def attacked(*args, **kwargs):
        raise AssertionError("the attack was made")

    monkeypatch.setattr(survey, "adversarial_images", attacked)
    for name in ("feature_stability", "representation_drift", "bound_terms", "anisotropy"):
        with pytest.raises(SystemExit) as stop:
            call(lab, name, ["usual"], tmp_path, "--layers", "no such layer")
        assert stop.value.code == 2 and "matches no layer" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        reference = ["--reference", str(lab / "deeper")]
        call(lab, "representation_drift", ["usual"], tmp_path, *reference)
    assert stop.value.code == 2 and "of the same depth" in capsys.readouterr().err
