"""A study whose runs train nothing: they write what a run would leave, from a seed."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import torch

from grace_geom.checkpoint import Checkpoint, save_checkpoint, trained_on
from grace_geom.config import TrainConfig
from grace_geom.data.base import digest
from grace_geom.errors import Interrupted
from grace_geom.evaluation import Measures, Sets, image_set_of, record_file, targets
from grace_geom.evaluation.identity import asked
from grace_geom.evaluation.one_checkpoint import question
from grace_geom.files import sha256, write_text
from grace_geom.methods import METHODS
from grace_geom.records import Accuracy, EvalRecord, pack
from grace_geom.records.statistics import wilson
from grace_geom.serialise import to_yaml
from grace_geom.study import Row, Study, StudyOptions
from grace_geom.study.estimate import Timing
from grace_geom.study.execute import Steps

CLASSES = 12
MEASURES = Measures(suites=("id", "ood", "adv"), n_attack=100)
BASE = {"zero-shot": 0.6, "ft": 0.75, "lora": 0.72, "at": 0.55, "lora-at": 0.56, "grace": 0.7}


def accuracy(
    suite: str, data: str, spec: str, right: np.ndarray, of: int, attack: dict | None = None
) -> Accuracy:
    n, k = len(right), int(right.sum())
    subset = {"of": of, "seed": 0, "ids_sha256": f"{spec}/{n}"}
    interval = wilson(k, n)
    return Accuracy(
        suite,
        data,
        spec,
        n,
        k,
        k / n,
        *interval,
        0.5,
        attack=attack,
        subset=subset,
        outcomes=pack(right),
    )


def one_seed(label: str, cells: dict[tuple[str, str], np.ndarray]) -> Row:
    """A row of one seed with these outcomes, by suite and data."""
    attack = {"name": "apgd-ce", "eps": 4 / 255, "parts": []}
    found = [
        accuracy(s, d, d, right, len(right), attack if s == "adv" else None)
        for (s, d), right in cells.items()
    ]
    return Row(label, {0: EvalRecord("ab", label, label, 0, {}, tuple(found)).summed()})


def outcomes(label: str, seed: int, suite: str, data: str, n: int) -> np.ndarray:
    """What a stub run gets right: a share that depends on everything, the same each time."""
    share = BASE[label] - {"id": 0.0, "ood": 0.15, "adv": 0.5}[suite] + 0.01 * seed
    rng = np.random.default_rng([seed, len(data), list(BASE).index(label)])
    return rng.random(n) < share


def checkpoint(config: TrainConfig, members: dict[str, torch.Tensor]) -> Checkpoint:
    """The smallest that is read without complaint; another one for every run."""
    head = {"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}
    return Checkpoint(
        "tiny", {"w": torch.zeros(1)}, ("a",), ("{}",), head,
        config=config.flat() | {"name": config.run_dir.name}, step=1, members=members,
    )  # fmt: skip


class Stub:
    """Trains nothing: writes what a run would leave, and remembers its calls."""

    def __init__(self, fails: str = "", stops: str = "") -> None:
        self.fails, self.stops = fails, stops
        self.members: dict[str, torch.Tensor] = {}
        self.trained: list[str] = []
        self.evaluated: list[str] = []

    def train(self, config: TrainConfig) -> Path:
        out = config.run_dir
        assert config.resume == (out / "config.yaml").exists()
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.yaml", to_yaml(config.flat() | {"resume": False}))
        if self.stops and self.stops in out.name:
            raise Interrupted("stopped after step 3")
        if self.fails and self.fails in out.name:
            raise RuntimeError("no such luck")
        lr = config.build_method().lr
        lines = [
            {"step": 10, "seconds": 3.0},
            {"step": 20, "seconds": 7.0, "val_acc": 0.5 / (1 + abs(math.log10(lr) + 3))},
        ]
        write_text(out / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        save_checkpoint(out / "ckpt.pt", checkpoint(config, self.members))
        self.trained.append(out.name)
        return out

    def evaluate(self, folder: Path, measures: Measures, source: object) -> EvalRecord:
        label, _, seed = folder.name.rpartition("-s")
        found = []
        for target in targets(measures, "shapes"):
            run = trained_on(folder / "ckpt.pt")
            image_set = image_set_of(target, measures, Sets(), {}, None, run)
            n = len(image_set)
            attack = target.attack.settings(measures.eval_seed, CLASSES) if target.attack else None
            right = outcomes(label, int(seed), target.suite, target.name, n)
            whole = image_set.note.get("subset", {}).get("of", n)
            one = accuracy(target.suite, target.name, target.spec, right, whole, attack)
            ids = {"ids_sha256": digest(image_set.index), "content": image_set.content}
            now = asked(image_set, target.suite, attack=target.attack, seed=measures.eval_seed)
            found.append(dataclasses.replace(one, subset=one.subset | ids, identity=now))
            assert question(target, 0, CLASSES) == found[-1].question
        settings = {"eval_seed": measures.eval_seed, "head": {"classes": CLASSES}}
        checkpoint = sha256(folder / "ckpt.pt")
        record = EvalRecord(
            checkpoint, folder.name, label, int(seed), settings, tuple(found)
        ).summed()
        record.save(record_file(folder / "ckpt.pt"))
        self.evaluated.append(folder.name)
        return record


def timed(config: TrainConfig) -> Timing:
    return Timing(20 if METHODS[config.method].trains else 0, 0.1, 0.05, 0.01, 1e-4)


def study(out: Path, stub: Stub, **more) -> tuple[Study, list[str]]:
    options = {"methods": ("zero-shot", "ft", "grace"), "seeds": (0, 1), "out": out} | more
    said: list[str] = []
    return Study(
        StudyOptions(**options),
        MEASURES,
        Steps(stub.train, stub.evaluate),
        timed,
        said.append,
        said.append,
    ), said


def rows_by_label(rows: list[Row]) -> dict[str, Row]:
    return {row.label: row for row in rows}
