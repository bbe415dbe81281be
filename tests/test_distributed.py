"""Two or three processes do what one does: the same update, the same ranks, the same accuracies;
and one may die.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from grace_geom import distributed
from grace_geom.attacks import AttackSpec
from grace_geom.batch import Batch
from grace_geom.checkpoint import load_checkpoint
from grace_geom.cli import RECORD
from grace_geom.data import from_arrays
from grace_geom.distributed import World
from grace_geom.evaluate import main as evaluate
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.methods import METHODS, Method
from grace_geom.serialise import read_yaml
from grace_geom.train import main
from grace_geom.training import Plan, Trainer
from tests.processes import fork, ranks, wait, wait_until
from tests.small_run import lines, write_npz
from tests.toys import CLASSES, TEMPLATES, register_toy, toy_batch, toy_clip, toy_run


def method(name: str) -> Method:
    settings = {"grace": {"attack_steps": 2, "r": 2}, "at": {"attack_steps": 2}}
    settings["grace, gradient reused"] = settings["grace"] | {"awp_reuse": True}
    settings["grace, sketch"] = settings["grace"] | {"awp_direction": "sketch", "awp_steps": 2}
    settings["grace, images leave early"] = settings["grace"] | {"attack_stop": 1.0}
    return METHODS[name.split(",")[0]](lr=1e-2, optimizer="sgd", **settings.get(name, {}))


def share(batch: Batch, here: World) -> Batch:
    return Batch(*(x[here.rank :: here.size] for x in (batch.images, batch.labels, batch.index)))


def two_steps(name: str, micro: int | None) -> dict[str, object]:
    """Two optimiser steps on batches of 12, of which this process holds its share."""
    here = distributed.world()
    m = method(name)
    trainer = Trainer(
        m, toy_run(m, toy_clip().double(), steps=4), Plan(4, 2, micro_batch=micro, clip_norm=0.5)
    )
    trainer.run.params = {
        n: w.detach().double().requires_grad_() for n, w in trainer.run.params.items()
    }
    trainer.optimizer = m.make_optimizer(trainer.run.params)
    for group in trainer.optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    numbers = []
    for seed in range(2):
        batch = share(toy_batch(12, seed), here)
        numbers.append(trainer.step(Batch(batch.images.double(), batch.labels, batch.index)))
    return {
        "params": {n: w.detach() for n, w in trainer.run.params.items()},
        "h": trainer.run.state.get("h", {}), "ranks": trainer.run.state.get("ranks", {}),
        "numbers": [{k: float(v) for k, v in row.items()} for row in numbers],
        "images": trainer.images_seen, "rng": trainer.run.generator.get_state(),
    }  # fmt: skip


def noisy_set():
    """A number of images that neither two nor three processes share evenly."""
    images = np.random.default_rng(0).integers(0, 256, (23, 16, 16, 3), dtype=np.uint8)
    return from_arrays("noise", images, np.arange(23) % 3, CLASSES, TEMPLATES)


def accuracies() -> list[object]:
    attack = AttackSpec("pgd", 2 / 255, steps=2)
    found = [
        evaluate_set(toy_clip(), noisy_set(), "id", "noise", attack=a, batch_size=4)
        for a in (None, attack)
    ]
    return [
        (a.correct, a.right().tolist(), [(p["attacked"], p["robust"]) for p in a.parts or ()])
        for a in found
    ]


CASES = (
    ("ft", None),
    ("at", None),
    ("sam", None),
    ("grace", None),
    ("grace", 6),
    ("grace, gradient reused", 6),
    ("grace, images leave early", 6),
    ("grace, sketch", None),
)
"""Methods, and images a forward pass of all processes together."""


def worker(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/store", rank=rank, world_size=size
    )
    found: dict = {(name, micro): two_steps(name, micro and micro // size) for name, micro in CASES}
    found["accuracies"] = accuracies()
    found["any"] = [distributed.anyone(rank == 1), distributed.anyone(False)]
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def several(request, tmp_path_factory) -> list[dict]:
    """What each of two, then of three processes found."""
    size, folder = request.param, tmp_path_factory.mktemp("several")
    assert wait([fork(worker, rank, size, str(folder)) for rank in range(size)]) == [0] * size
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


@pytest.mark.parametrize("name, micro", CASES)
def test_several_processes_make_the_update_of_one_at_the_same_batch(several, name: str, micro):
    alone = two_steps(name, micro)
    first, *others = (process[name, micro] for process in several)
    for found in (first, *others):
        assert found["ranks"] == alone["ranks"] and found["images"] == alone["images"] == 24
        for part in ("params", "h"):
            assert found[part].keys() == alone[part].keys()
            for key, value in alone[part].items():
                assert_close(found[part][key], value, rtol=1e-6, atol=1e-9)
        for ours, theirs in zip(found["numbers"], alone["numbers"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert all(
        torch.equal(first["params"][k], other["params"][k])
        for k in alone["params"]
        for other in others
    )
    assert all(torch.equal(found["rng"], alone["rng"]) for found in (first, *others))


def test_an_evaluation_shared_out_is_the_evaluation(several):
    alone = accuracies()
    assert all(process["accuracies"] == alone for process in several)


def test_what_one_process_asks_all_learn(several):
    assert all(process["any"] == [True, False] for process in several)


def test_alone_nothing_is_done():
    x = torch.ones(2)
    distributed.mean([x])
    assert (
        x.tolist() == [1, 1] and distributed.world() == World() and distributed.everyones(3) == [3]
    )
    assert distributed.mine([1, 2, 3]) == [1, 2, 3]
    whole = np.arange(7)
    assert np.array_equal(distributed.woven([whole[r::3] for r in range(3)]), whole)


def toy_flags(folder: Path, **more: object) -> list[str]:
    data = write_npz(folder) if not (folder / "toy.npz").exists() else f"npz:{folder / 'toy.npz'}"
    values = {
        "method": "lora",
        "model": register_toy(),
        "pretrained": "random",
        "data": data,
        "r": 2,
        "lr": 1e-2,
        "batch-size": 8,
        "save-every": 2,
        "log-every": 1,
        "device": "cpu",
        "eval-every": 0,
        "out": folder / "run",
    } | more
    return [word for key, value in values.items() for word in (f"--{key}", str(value))]


def test_a_killed_process_ends_the_job_and_one_process_goes_on(tmp_path: Path):
    out = tmp_path / "run"
    job = ranks(tmp_path, toy_flags(tmp_path, epochs=100_000), 2, main)
    wait_until((out / "ckpt.pt").is_file)
    job[1].kill()
    assert wait(job)[0] == 130
    said, step = (tmp_path / "err.0").read_text(), load_checkpoint(out).step
    assert "interrupted: another process of this job ended" in said and "Traceback" not in said
    assert (
        f"the newest checkpoint is step {step}. Continue, on any number of processes, with:" in said
    )
    with pytest.raises(SystemExit, match="130"):
        main([*toy_flags(tmp_path, epochs=100_000, **{"stop-after": step + 3}), "--resume"])
    steps = [r["step"] for r in lines(out / "metrics.jsonl") if "loss" in r]
    assert steps == list(range(1, step + 4))


def test_a_stopped_run_of_one_goes_on_in_two_and_ends_as_if_it_had_been_one(tmp_path: Path):
    whole = toy_flags(tmp_path, epochs=2, out=tmp_path / "whole")
    main(whole)
    with pytest.raises(SystemExit, match="130"):
        main(toy_flags(tmp_path, epochs=2, **{"stop-after": 3}))
    job = ranks(tmp_path, [*toy_flags(tmp_path, epochs=2), "--resume"], 2, main)
    assert wait(job) == [0, 0], (tmp_path / "err.0").read_text()
    one, two = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "run")
    assert one.step == two.step and one.metrics["val_acc"] == two.metrics["val_acc"]
    for name, w in one.state_dict.items():
        assert_close(two.state_dict[name], w, rtol=1e-4, atol=1e-5)
    record = read_yaml(tmp_path / "run" / "config.yaml")[RECORD]
    assert record["resumed"][-1]["processes"] == 2
    flags = [
        str(tmp_path / "run"),
        "--suites",
        "id,adv",
        "--attack",
        "pgd",
        "--steps",
        "2",
        "--device",
        "cpu",
    ]
    assert wait(ranks(tmp_path, flags, 2, evaluate)) == [0, 0], (tmp_path / "err.0").read_text()
    shared = json.loads((tmp_path / "run" / "eval.json").read_text())
    evaluate([*flags, "--fresh"])
    alone = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert len(shared["accuracies"]) == 2
    for a, b in zip(shared["accuracies"], alone["accuracies"], strict=True):
        assert all(a[key] == b[key] for key in ("suite", "n", "correct", "outcomes"))


def test_one_process_asked_to_stop_stops_all_at_the_same_step(tmp_path: Path):
    out = tmp_path / "run"
    job = ranks(tmp_path, toy_flags(tmp_path, epochs=100_000), 2, main)
    wait_until((out / "ckpt.pt").is_file)
    job[1].terminate()
    assert wait(job) == [130, 130]
    assert f"stopped after step {load_checkpoint(out).step}" in (tmp_path / "err.0").read_text()


def test_batches_that_do_not_divide_are_refused(tmp_path: Path):
    job = ranks(tmp_path, toy_flags(tmp_path, epochs=1, **{"batch-size": 8}), 3, main)
    assert wait(job) == [2, 2, 2]
    assert "batches of 8 images do not divide among 3 processes" in (tmp_path / "err.0").read_text()
    assert not (tmp_path / "run").exists()
