"""Contrastive pretraining: its loss, its economies, its door, and the weights that are shipped."""

import base64
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom import pretrain as door
from grace_geom.data import from_arrays
from grace_geom.data.shapes.sets import HARD_IDS, SHAPES_SETS, fingerprint, ids_of, render
from grace_geom.errors import UserError
from grace_geom.files import sha256
from grace_geom.models import ModelSpec, build, open_clip_model, register_configs, tokenizer_of
from grace_geom.models.loading import SHIPPED
from grace_geom.models.sources import CONFIGS
from grace_geom.tools.tiny_clip import (
    Pairs,
    Schedule,
    adversarial_ids,
    contrastive_loss,
    encode_tokens,
    gather,
    labelled_pairs,
    pretrain,
    shapes_pairs,
    thinned,
)
from grace_geom.tools.tiny_clip.making import Pretraining
from grace_geom.tools.tiny_clip.training import LossCurve, batches

WEIGHTS = SHIPPED / "tiny-shapes.safetensors"
MEASURED = [
    name for name in SHAPES_SETS if name != "shapes:hard"
]  # the filter leaves none right there


@pytest.fixture(scope="session")
def record() -> dict:
    return json.loads(WEIGHTS.with_suffix(".json").read_text())


def measured(record: dict, name: str) -> dict:
    return next(a for a in record["accuracies"] if a["data"] == name)


def tiny() -> torch.nn.Module:
    return open_clip_model(ModelSpec("tiny-shapes", "random"))[0]


def few_pairs(n: int = 48) -> Pairs:
    return Pairs.of(*shapes_pairs(n, seed=0), tokenizer_of("tiny-shapes"))


def keep() -> torch.Tensor:
    return tokenizer_of("tiny-shapes")(["a photo of a circle."])


def test_loss_without_repeats_is_open_clips():
    image, text = (F.normalize(torch.randn(16, 8, dtype=torch.float64), dim=-1) for _ in range(2))
    scale = torch.tensor(14.3, dtype=torch.float64)
    ours = contrastive_loss(image, text, scale, torch.arange(16))
    assert_close(ours, open_clip.ClipLoss()(image, text, scale))


def test_equal_captions_are_positives_of_each_other():
    """With all captions equal every cosine is as good as any other, and the loss is least where
    they are equal.
    """
    text = F.normalize(torch.randn(1, 8, dtype=torch.float64), dim=-1).expand(6, 8)
    same = torch.zeros(6, dtype=torch.long)
    flat = contrastive_loss(text, text, torch.tensor(10.0), same)
    assert_close(flat, torch.tensor(6.0, dtype=torch.float64).log())
    image = F.normalize(torch.randn(6, 8, dtype=torch.float64), dim=-1)
    assert contrastive_loss(image, text, torch.tensor(10.0), same) > flat


def test_short_captions_have_the_features_of_the_whole_context():
    clip = tiny()
    tokens = tokenizer_of("tiny-shapes")(["a red star", "a photo of two small dotted hexagons", ""])
    with torch.no_grad():
        whole = clip.encode_text(tokens)
        short = encode_tokens(clip, tokens[:, :12], clip.token_embedding.weight)
    assert_close(short, whole)


def test_learns_and_touches_only_the_token_rows_in_use():
    clip, pairs = tiny(), few_pairs()
    curve = pretrain(
        clip, pairs, Schedule(steps=21, batch_size=24, lr=2e-3), keep(), torch.device("cpu")
    )
    assert curve.loss[-1] < 0.8 * curve.loss[0]
    used = torch.unique(torch.cat([pairs.tokens.flatten(), keep().flatten()]))
    rows = clip.token_embedding.weight.detach().abs().sum(1)
    assert torch.equal(rows.nonzero().flatten(), used)


def test_three_steps_twice_are_the_same_bits():
    states = []
    for _ in range(2):
        clip = tiny()
        pretrain(clip, few_pairs(), Schedule(steps=3, batch_size=16), keep(), torch.device("cpu"))
        states.append(clip.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_pair_is_seen_once_a_pass():
    seen = torch.cat(list(batches(40, Schedule(steps=10, batch_size=8))))
    assert sorted(seen[:40].tolist()) == sorted(seen[40:].tolist()) == list(range(40))
    assert not torch.equal(seen[:40], seen[40:])


def test_learning_rate_rises_and_falls():
    schedule = Schedule(steps=200, lr=1e-3, warmup=0.05)
    rates = [schedule.lr_at(step) for step in range(200)]
    assert rates.index(max(rates)) in (9, 10)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[105] == pytest.approx(0.5e-3)
    assert rates[-1] < 1e-6


def test_thinned_curve_keeps_the_mean():
    curve = LossCurve(list(range(0, 2000, 20)), [float(k) for k in range(100)], [0.0] * 100)
    thin = thinned(curve, points=10)
    assert len(thin["loss"]) == 10
    assert np.mean(thin["loss"]) == pytest.approx(49.5)
    assert thin["last"] == {"step": 1980, "loss": 99.0}


def test_labelled_pictures_get_captions_of_their_class():
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(10) % 2
    image_set = from_arrays("toy", images, labels, ["cat", "dog"], ["a {}.", "one {} here."])
    pictures, captions = labelled_pairs(image_set, 32, seed=0, views=3)
    assert len(pictures) == len(captions) == 30
    np.testing.assert_array_equal(
        pictures[:10].numpy(), images
    )  # the first view is the picture itself
    assert {
        c.replace("one ", "").split()[-2 if "here" in c else -1].strip(".") for c in captions
    } == {"cat", "dog"}
    for caption, label in zip(captions[:10], labels, strict=True):
        assert ("cat", "dog")[label] in caption


def test_door_writes_weights_ids_and_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "w.safetensors"
    arguments = f"--out {out} --steps 2 --pairs 40 --batch-size 8 --n 12".split()
    door.main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    written = json.loads(out.with_suffix(".json").read_text())
    assert printed["result"] == written and printed["files"][0] == str(out)
    assert written["weights"]["sha256"] == sha256(out)
    assert written["settings"]["steps"] == 2
    assert [a["data"] for a in written["accuracies"]] == MEASURED
    assert len(json.loads((tmp_path / HARD_IDS.name).read_text())["ids"]) == written["hard"]["n"]
    with pytest.raises(SystemExit) as stop:
        door.main(arguments)
    assert stop.value.code == 2
    assert "--overwrite" in capsys.readouterr().err


def test_door_pretrains_on_a_labelled_file(tmp_path: Path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "toy.npz",
        images=rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(60) % 3,
    )
    (tmp_path / "toy.classes.json").write_text(json.dumps(["cat", "dog", "fish"]))
    out = tmp_path / "w.safetensors"
    door.main(
        f"--out {out} --data npz:{tmp_path / 'toy.npz'} --views 2 --steps 2 --batch-size 8".split()
    )
    written = json.loads(out.with_suffix(".json").read_text())
    (source,) = written["sources"].values()
    assert source["pairs"] % 2 == 0
    assert 0 < source["pairs"] < 120  # the train split, two views of each
    assert written["hard"] is None
    assert len(written["accuracies"]) == 1


@pytest.mark.parametrize(
    ("flags", "told"), [("--steps 0", "--steps"), ("--out w.pt", ".safetensors")]
)
def test_door_refuses(
    flags: str, told: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        door.main(flags.split())
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# The weights that are shipped.


def test_shipped_file_is_small_and_loads_in_plain_open_clip():
    assert WEIGHTS.stat().st_size <= 12 * 2**20
    if "tiny-shapes" not in open_clip.list_models():
        open_clip.add_model_config(CONFIGS)
    clip = open_clip.create_model("tiny-shapes", pretrained=str(WEIGHTS))
    stored = load_file(WEIGHTS)
    assert stored.keys() == clip.state_dict().keys()
    assert all(torch.equal(w, stored[name].float()) for name, w in clip.state_dict().items())
    tokens = open_clip.get_tokenizer("tiny-shapes")(["a photo of a star."])
    assert clip.encode_text(tokens).isfinite().all()


def test_record_is_of_these_weights_and_these_pictures(record: dict):
    assert record["weights"]["sha256"] == sha256(WEIGHTS)
    assert record["renderer"]["fingerprint"] == fingerprint()
    assert json.loads(HARD_IDS.read_text())["weights_sha256"] == sha256(WEIGHTS)
    assert {"seed", "steps", "batch_size", "lr", "pairs"} <= record["settings"].keys()
    assert record["seconds"]["training"] > 0
    assert record["provenance"]["device_name"]
    assert record["curve"]["loss"][-1] < record["curve"]["loss"][0]


def test_door_s_defaults_are_how_the_shipped_weights_were_made(record: dict):
    defaults = Pretraining()
    for name in (
        "data",
        "pairs",
        "model",
        "init",
        "steps",
        "batch_size",
        "lr",
        "warmup",
        "weight_decay",
        "seed",
    ):
        asked = getattr(defaults, name)
        assert record["settings"][name] == (list(asked) if isinstance(asked, tuple) else asked), (
            name
        )


@pytest.mark.parametrize("name", MEASURED)
def test_shipped_file_gives_the_recorded_accuracy(name: str, record: dict):
    """The same answers on the same pictures; another machine may round a near-tie the other way."""
    accuracy = measured(record, name)
    packed = np.frombuffer(base64.b64decode(accuracy["outcomes"]), dtype=np.uint8)
    recorded = np.unpackbits(packed)[: accuracy["n"]].astype(bool)
    assert recorded.sum() == accuracy["correct"]
    kind = SHAPES_SETS[name]
    model = build(ModelSpec(), kind.class_names, kind.templates)
    images, labels = render(name, "test", ids_of(name, "test")[:500])
    with torch.no_grad():
        right = (
            model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy() == labels
        )
    assert (right != recorded[:500]).sum() <= 5


def test_zero_shot_has_room_below_and_above(record: dict):
    """What the benchmark was calibrated for: far above chance, and far below what fine-tuning
    reaches.
    """
    assert 0.55 <= measured(record, "shapes")["accuracy"] <= 0.75
    for name in MEASURED:
        if SHAPES_SETS[name].suite == "ood":
            assert measured(record, name)["ci_low"] > 3 / 12


def test_hard_pictures_are_those_the_shipped_model_gets_wrong():
    ids = ids_of("shapes:hard", "test")
    kind = SHAPES_SETS["shapes:hard"]
    model = build(ModelSpec(), kind.class_names, kind.templates)
    found, looked_at = adversarial_ids(model, "shapes:hard", 400)
    assert len(set(found) ^ set(ids[ids < looked_at].tolist())) <= 4
    images, labels = render("shapes:hard", "test", ids[-200:])
    with torch.no_grad():
        answers = model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    assert (answers == labels).mean() <= 0.02


def test_model_config_is_known_to_open_clip():
    register_configs()
    assert "tiny-shapes" in open_clip.list_models()


def test_excluded_classes_give_no_pair(tmp_path):
    images = np.zeros((30, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.arange(30) % 3)
    (tmp_path / "some.classes.json").write_text(json.dumps({"class_names": ["ant", "bee", "cow"]}))
    spec = f"npz:{tmp_path / 'some.npz'}"
    options = {"image_size": 8, "seed": 0, "pairs": 1, "views": 1}
    captions = gather([spec], **options, exclude=["bee"]).captions
    assert not any("bee" in caption for caption in captions)
    assert any("ant" in c for c in captions)
    assert any("cow" in c for c in captions)
    with pytest.raises(UserError, match="wasp"):
        gather([spec], **options, exclude=["wasp"])
