"""Whatever a checkpoint of ours may hold: one line that names the file, or the values that were
written.
"""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from grace_geom.checkpoint import checkpoint_of, load_checkpoint, open_checkpoint, save_checkpoint
from grace_geom.errors import UserError
from grace_geom.models.tensor_files import digest
from tests.toys import toy_batch, toy_clip

SETTINGS = {
    "method": "lora", "data": "shapes", "data_root": None, "ood": {"a": "b"}, "templates": None,
    "seed": 0, "split_seed": 0, "val_fraction": 0.1, "val_images": 100, "image_size": None,
    "lora_alpha": None, "r": 2,
}  # fmt: skip
TRAINER = {
    "step": 3, "images_seen": 24, "skipped": 0, "params": {"w": torch.ones(2)}, "method": {},
    "sampler": {"epoch": 0, "batch": 3, "steps_per_epoch": 5}, "rng": {},
    "scheduler": {"total_steps": 10, "warmup_steps": 1}, "scaler": {}, "metrics": {},
    "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
}  # fmt: skip
ODD = (
    None, 1, -1, True, 0.5, float("nan"), "", "text", b"bytes", [], [1], ["a", 2], {}, {"a": 1},
    {1: 2}, torch.tensor(1.0), torch.zeros(0), torch.full((3, 16), float("nan")),
    torch.ones(3, 16, dtype=torch.complex64), np.float64(1), np.zeros(2), Path("/x"), 10**30,
    [[[]]], {"a": {"b": torch.ones(1)}}, torch.float16,
)  # fmt: skip


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "c.pt"
    checkpoint = checkpoint_of(toy_clip(), {}, config=SETTINGS, trainer=TRAINER, step=3)
    save_checkpoint(path, checkpoint)
    return torch.load(path, weights_only=True)


def places(content):
    """Every key of the file, those of the settings and of the trainer too."""
    for name, value in content.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, key) for key in list(value)[:14])


def replaced(content, place, value):
    if len(place) == 1:
        return content | {place[0]: value}
    return content | {place[0]: content[place[0]] | {place[1]: value}}


def outcome(path: Path) -> str:
    """``refused`` in one line that names the file, or ``read`` to finite logits."""
    try:
        model, _ = open_checkpoint(path)
    except UserError as error:
        assert path.name in str(error) and "\n" not in str(error), error
        return "refused"
    with torch.no_grad():
        assert model(toy_batch(2).images).isfinite().all()
    return "read"


def test_the_whole_file_is_read(content, tmp_path):
    torch.save(content, tmp_path / "c.pt")
    assert outcome(tmp_path / "c.pt") == "read"


@pytest.mark.parametrize("seed", range(3))
def test_another_type_anywhere_is_one_line(content, seed, tmp_path):
    rng = random.Random(seed)
    for place in rng.sample(list(places(content)), 14):
        torch.save(replaced(content, place, rng.choice(ODD)), tmp_path / "odd.pt")
        outcome(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("step",), "3", "its step: expected int, got str"),
        (("class_names",), "abc", "its class_names: expected array, got str"),
        (("class_names",), ["a", 2, "c"], r"its class_names\[1\]: expected str, got int"),
        (("templates",), ["no place"], r"its templates\[0\]: expected str matching"),
        (("config", "split_seed"), "0", "its config.split_seed: expected int"),
        (("base", "seed"), None, "its base.seed: expected int"),
        (("preprocess", "std"), [0.0, 1.0, 1.0], "its preprocess.std"),
        (("trainer", "params"), {"w": 1}, "its trainer.params: expected Tensor"),
        (("adapter",), [1], "its adapter"),
        (("format",), None, "its format is a NoneType"),
        (("format",), "grace_geom.checkpoint/zero", "its format is"),
        (("model",), "no-such-model", "not known here"),
    ],
)
def test_the_key_is_named(content, place, value, says, tmp_path):
    torch.save(replaced(content, place, value), tmp_path / "odd.pt")
    with pytest.raises(UserError, match=says):
        open_checkpoint(tmp_path / "odd.pt")


def test_other_tensors_than_were_written_are_told_unless_one_insists(content, tmp_path):
    changed = content["state_dict"] | {"visual.proj": content["state_dict"]["visual.proj"] + 1}
    torch.save(content | {"state_dict": changed}, tmp_path / "c.pt")
    for read in (load_checkpoint, open_checkpoint):
        with pytest.raises(UserError, match=r"not those that were written.*--no-verify"):
            read(tmp_path / "c.pt")
        read(tmp_path / "c.pt", verify=False)
    older = {k: v for k, v in content.items() if k not in ("tensors_sha256", "rest_sha256")}
    torch.save(older, tmp_path / "c.pt")
    load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("class_names", lambda names: [names[0].swapcase(), *names[1:]]),
        ("class_names", lambda names: names[::-1]),
        ("templates", lambda templates: [f"{templates[0]}!", *templates[1:]]),
        ("preprocess", lambda p: p | {"mean": [p["mean"][0] + 1e-6, *p["mean"][1:]]}),
        ("config", lambda config: config | {"split_seed": 1}),
        ("step", lambda step: step + 1),
    ],
)
def test_a_name_or_setting_that_was_not_written_is_told(content, part, change, tmp_path):
    torch.save(content | {part: change(content[part])}, tmp_path / "c.pt")
    for read in (load_checkpoint, open_checkpoint):
        with pytest.raises(UserError, match=r"c\.pt.* names and settings are not.*--no-verify"):
            read(tmp_path / "c.pt")
        read(tmp_path / "c.pt", verify=False)
    older = {k: v for k, v in content.items() if k != "rest_sha256"}
    torch.save(older | {part: change(content[part])}, tmp_path / "c.pt")
    load_checkpoint(tmp_path / "c.pt")  # of a version that kept the tensors' digest alone
    torch.save(older | {"state_dict": {}}, tmp_path / "c.pt")
    with pytest.raises(UserError):
        load_checkpoint(tmp_path / "c.pt")


def test_no_flipped_byte_of_a_class_name_passes(content, tmp_path):
    # zip archives have sums of their own; this format has none
    torch.save(content, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    assert outcome(tmp_path / "c.pt") == "read"
    data, name = (tmp_path / "c.pt").read_bytes(), content["class_names"][1].encode()
    at = data.index(name)
    (tmp_path / "c.pt").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(UserError, match="its names and settings are not those"):
        open_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_told_or_what_was_written(content, seed, tmp_path):
    rng = random.Random(seed)
    torch.save(content, tmp_path / "c.pt")
    data = (tmp_path / "c.pt").read_bytes()
    for _ in range(5):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            damaged = damaged[: rng.randrange(len(data))]
        (tmp_path / "d.pt").write_bytes(damaged)
        try:
            found = load_checkpoint(tmp_path / "d.pt")
        except UserError as error:
            assert "d.pt" in str(error)
            continue
        assert all(torch.equal(w, content["state_dict"][n]) for n, w in found.state_dict.items())


def test_a_digest_depends_on_numbers_not_on_how_they_lie_in_memory():
    odd = {
        "one": torch.tensor([3]).as_strided((1,), (0,)),
        "many": torch.tensor([5]).expand(4),
        "scalar": torch.tensor(2.0),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "empty": torch.empty(0, 3),
    }
    plain = {
        name: torch.tensor(w.tolist(), dtype=w.dtype).reshape(w.shape) for name, w in odd.items()
    }
    assert digest(odd) == digest(plain)
    assert digest(odd | {"one": torch.tensor([4])}) != digest(plain)
