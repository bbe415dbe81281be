"""A stored training state with anything odd in it is refused in a line that names file and key."""

import copy
import math
import random
from dataclasses import replace

import pytest
import torch

from grace_geom.checkpoint import load_checkpoint, save_checkpoint
from grace_geom.errors import Interrupted, UserError
from grace_geom.training import run
from grace_geom.training.data import images_of
from tests.small_run import small_config, small_run

ODD = {
    "text": "text", "none": None, "huge": 10**17, "negative": -3, "nan": math.nan, "list": [1],
    "dictionary": {"a": 1}, "nan tensor": torch.full((2,), math.nan), "yes": True,
}  # fmt: skip


def places(tree, at=()):
    """The way to every entry of a tree, itself left out."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


MISSING = object()


def changed(tree, place, value):
    """The tree with another value at a place, or nothing there; what lies elsewhere is shared."""
    key, *rest = place
    new = copy.copy(tree)
    if value is MISSING and not rest:
        del new[key]
    else:
        new[key] = changed(tree[key], rest, value) if rest else value
    return new


def allowed(place, kind) -> bool:
    """What a state may lack, or hold beside its own: it changes nothing that is trained."""
    if kind == "missing":
        if place[:2] == ("optimizer", "param_groups") and len(place) == 4:  # of another torch
            return place[3] not in {
                "lr",
                "initial_lr",
                "weight_decay",
                "momentum",
                "betas",
                "params",
            }
        return (place[0] == "metrics" and len(place) > 1) or place[:2] == ("method", "directions")
    if place[-1] == "fused":  # of the device that it ran on
        return kind in {"none", "yes"}
    if kind == "dictionary":
        return place in {("metrics",), ("method",), ("scaler",)}
    if place[0] == "metrics":
        return len(place) > 1 and place[1] != "best_step" and kind in {"huge", "negative"}
    return place == ("images_seen",) and kind == "huge"


def trainer_of(folder, method, more):
    """The trainer of the same run, before its first step."""
    config = small_config(folder, method, **more)
    train, _ = images_of(config)
    return run._trainer(
        config, run._model(config, train, None, torch.device("cpu")), "float32", len(train)
    )


@pytest.fixture(scope="module", params=["grace", "ftp", "ft", "lora"])
def stopped(request, tmp_path_factory):
    """A folder with a run that was stopped, its method, and its checkpoint."""
    folder = tmp_path_factory.mktemp(request.param)
    more = {"ft": {"optimizer": "sgd"}}.get(request.param, {})
    with pytest.raises(Interrupted):
        small_run(folder, request.param, stop_after=3, **more)
    return folder, request.param, load_checkpoint(folder / "run"), more


def test_every_odd_entry_is_refused_by_its_key(stopped):
    folder, method, checkpoint, more = stopped
    whole, trainer = checkpoint.trainer, trainer_of(folder, method, more)
    assert whole["params"].keys() == trainer.run.params.keys() and len(whole["optimizer"]["state"])
    before = {name: w.detach().clone() for name, w in trainer.run.params.items()}
    top = [(place, kind) for place in places(whole) for kind in ("missing", *ODD)]
    deep = [x for x in top if len(x[0]) > 2]
    chosen = [x for x in top if len(x[0]) <= 2] + random.Random(0).sample(deep, min(len(deep), 150))
    for place, kind in chosen:
        if allowed(place, kind) and not (method == "grace" and place == ("method",)):
            continue
        with pytest.raises(UserError) as refused:
            trainer.restore(changed(whole, place, ODD.get(kind, MISSING)))
            pytest.fail(f"{place} {kind}")
        said = str(refused.value)
        assert said.startswith(("its trainer.", "the checkpoint belongs")) and "\n" not in said
        assert all(torch.equal(w, before[name]) for name, w in trainer.run.params.items())
    trainer.restore(whole)
    assert trainer.run.step == 3


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("step",), 2, "its trainer.step: is not its step, 3"),
        (("rng", "torch"), torch.zeros(5, dtype=torch.uint8), "its trainer.rng.torch: has 5 bytes"),
        (("optimizer", "state", 0, "exp_avg"), torch.full((16, 2), math.nan), "exp_avg: "),
    ],
)
def test_the_command_names_the_file_and_the_key(tmp_path, place, value, said):
    with pytest.raises(Interrupted):
        small_run(tmp_path, "lora", stop_after=3)
    file = tmp_path / "run" / "ckpt.pt"
    checkpoint = load_checkpoint(file)
    save_checkpoint(file, replace(checkpoint, trainer=changed(checkpoint.trainer, place, value)))
    with pytest.raises(UserError) as refused:
        small_run(tmp_path, "lora", resume=True)
    assert str(refused.value).startswith(f"--resume: {file}: ") and said in str(refused.value)
