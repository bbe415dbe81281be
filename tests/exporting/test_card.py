"""The model card: its numbers are those of the record, its metadata is what the Hub reads."""

import dataclasses
import re
import shlex

import pytest

from grace_geom.config import NOT_THE_RUN, make_config, parse_train
from grace_geom.exporting import ExportRequest, export_model
from grace_geom.exporting.recipe import public, training_command
from grace_geom.files import sha256
from grace_geom.records import Accuracy, EvalRecord, wilson
from tests.exporting.toy_checkpoints import full_checkpoint

ATTACK = {
    "name": "pgd", "eps": 4 / 255, "norm": "linf", "precision": "float32", "seed": 0,
    "parts": [{"name": "pgd", "loss": "ce", "steps": 20, "restarts": 1, "alpha": 1 / 255}],
}  # fmt: skip


def accuracy(suite: str, correct: int, attack=None) -> Accuracy:
    low, high = wilson(correct, 200)
    return Accuracy(
        suite, "shapes", "shapes", 200, correct, correct / 200, low, high, 0.0,
        head="the checkpoint's head", attack=attack, notes=("six copies were left out",),
    )  # fmt: skip


def card_of(folder, **request) -> tuple[str, str]:
    path = folder / "ckpt.pt"
    said = export_model(ExportRequest(path, folder / "out", "open_clip", force=True, **request))
    return (folder / "out" / "README.md").read_text(), said


@pytest.fixture
def evaluated(tmp_path):
    path = full_checkpoint(tmp_path)
    rows = (accuracy("id", 187), accuracy("adv", 61, ATTACK))
    EvalRecord(sha256(path), "run", "ft", 0, {}, rows).save(tmp_path / "eval.json")
    return tmp_path


def test_the_numbers_of_the_record_are_in_table_and_metadata(evaluated):
    text, said = card_of(evaluated, license="mit", base="openai/clip-vit-base-patch32")
    assert re.search(r"\| shapes \(id\) \| none \| 93.5 % \| 89\.\d to 96\.\d \| 200 \|", text)
    attack = "pgd 4/255, ce loss, 20 steps, 1 restart, step 1/255, float32, seed 0"
    assert f"| shapes (adv) | {attack} | 30.5 %" in text
    assert text.count("six copies were left out") == 1
    assert "The accuracy of the checkpoint (93.5 % on shapes) holds with this head only" in said
    huggingface_hub = pytest.importorskip("huggingface_hub")
    data = huggingface_hub.ModelCard(text).data
    assert (data.license, data.base_model) == ("mit", "openai/clip-vit-base-patch32")
    assert (data.library_name, data.pipeline_tag) == ("open_clip", "zero-shot-image-classification")
    found = [(r.dataset_name, r.metric_type, r.metric_value) for r in data.eval_results]
    assert found == [("shapes", "accuracy", 0.935), ("shapes", "accuracy", 0.305)]
    assert "20 steps" in data.eval_results[1].metric_name


def test_a_record_of_another_checkpoint_gives_no_number(evaluated):
    record = EvalRecord.load(evaluated / "eval.json")
    dataclasses.replace(record, checkpoint="0" * 64).save(evaluated / "eval.json")
    text, said = card_of(evaluated)
    assert "eval.json is of another checkpoint: evaluate again" in said
    assert "93.5" not in text + said and "model-index" not in text
    assert "and was not measured" in said


def test_a_local_base_is_no_model_of_the_hub(evaluated, monkeypatch):
    monkeypatch.chdir(evaluated)
    (evaluated / "models" / "b32").mkdir(parents=True)
    assert "base_model" not in card_of(evaluated, base="models/b32")[0]
    assert "base_model: models/b33" in card_of(evaluated, base="models/b33")[0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("npz:/home/me/a.npz+/home/me/b.npz", "npz:a.npz+b.npz"),
        ("folder:~/photos/holiday", "folder:holiday"),
        ("../weights/vit.pt", "vit.pt"),
        ("local-dir:/home/me/clip/", "local-dir:clip/"),
        ("hf-hub:org/name", "hf-hub:org/name"),
        ("wds:http://host/path/{0..9}.tar", "wds:http://host/path/{0..9}.tar"),
        ("shapes", "shapes"),
        (0.5, 0.5),
    ],
)
def test_folders_of_a_machine_are_not_told(value, shown):
    assert public(value) == shown


@pytest.mark.parametrize(
    "values",
    [
        {"method": "grace", "eps": 2 / 255, "r": 4, "gv": False, "max_steps": 30, "seed": 3},
        {"method": "pmg-aft", "preset": "published", "lr": 0.001, "epochs": 3},
        {"method": "ft", "data": "npz:a.npz", "model": "ViT-B-32", "pretrained": "openai"},
    ],
)
def test_the_command_trains_the_same_run(values, capsys):
    config = make_config(values).flat()
    command = shlex.split(training_command(config))
    assert command[:3] == ["python", "-m", "grace_geom.train"]
    again = parse_train(command[3:]).flat()
    kept = [name for name in config if name not in NOT_THE_RUN]
    assert {name: again[name] for name in kept} == {name: config[name] for name in kept}
    assert len(command) < 24, "defaults are not repeated"


def test_settings_of_an_unknown_method_are_shown_without_a_command(tmp_path):
    full_checkpoint(tmp_path, config={"method": "plugin-of-mine", "data": "shapes", "lr": 0.1})
    text, _ = card_of(tmp_path)
    assert "cannot repeat these settings" in text and "| `lr` | 0.1 |" in text
