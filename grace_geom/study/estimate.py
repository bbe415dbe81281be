"""How long a study will take: a few steps of each method, timed, before anything is started."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from grace_geom.attacks import AttackSpec
from grace_geom.config import NOT_THE_RUN, TrainConfig
from grace_geom.data import loader
from grace_geom.devices import DTYPES, pick_device, pick_precision, release_gpu
from grace_geom.engines import EngineOptions
from grace_geom.evaluation import Measures, Sets, targets
from grace_geom.evaluation.identity import key_of
from grace_geom.files import sha256
from grace_geom.methods import Method, Run
from grace_geom.models import build
from grace_geom.provenance import device_name
from grace_geom.training import Plan, Trainer
from grace_geom.training.data import images_of

STANDING = 0.3
"""Share of the attacked images that is assumed to stand to the end where training attacked too;
else a tenth of it.
"""


AS_CHEAP = frozenset(NOT_THE_RUN) - {"device", "deterministic", "compile", "data_root"} | {
    "seed", "split_seed", "lr",
}  # fmt: skip
"""Settings that do not change what a step costs, nor how many there are."""


@dataclass(frozen=True)
class Timing:
    """What one method costs here.

    Attributes:
        steps: Optimiser steps of a run.
        setup: Seconds outside the steps.
        step: Seconds a step.
        forward: Seconds of one forward pass of a step's batch without gradients.
        image: The same for one image, at evaluation.
    """

    steps: int
    setup: float
    step: float
    forward: float
    image: float

    @property
    def cost(self) -> float:
        """A step in forward passes of its batch."""
        return self.step / self.forward

    @property
    def seconds(self) -> float:
        """Of a whole training."""
        return self.setup + self.steps * self.step


def conditions(config: TrainConfig, where: EngineOptions, workers: int) -> str:
    """16 hexadecimal digits of what :func:`probe` depends on: a timing that was taken under others
    says nothing.

    For runs on this machine the device's name is in it, since ``--device auto`` is another one
    elsewhere; with SLURM the content of the site's options, which choose it. Which machines Ray
    takes is not known here.

    Args:
        config: A run of the method.
        where: The engine, and what it gives each run.
        workers: Runs at a time on this machine, which share its cores.

    Raises:
        UserError: If the device is not here.
    """
    settings = {name: value for name, value in config.flat().items() if name not in AS_CHEAP}
    place: list[Any] = [where.engine, where.cpus_per_run, where.gpus_per_run]
    if where.engine == "local":
        place += [workers, device_name(pick_device(config.device))]
    elif where.slurm_options is not None:
        place.append(sha256(where.slurm_options))
    return key_of({"run": settings, "where": place})


def stops_early(method: Method) -> bool:
    """Whether a step may cost less than :func:`probe` says."""
    return getattr(method, "attack_stop", None) is not None


def probe(config: TrainConfig) -> Timing:
    """Time a few steps of a run, after one that is not counted. Nothing is written.

    The step that is not counted holds what happens now and then (a first curvature estimate,
    allocation); the others lie a quarter and three quarters into the run, for attacks that grow
    with it. How many images stop early (``attack_stop``) depends on weights that are not trained
    yet: the step is timed as if none did, which bounds it. On the CPU a quarter of the batch is
    timed and the time multiplied; a GPU takes all of it, since small batches leave it idle.
    """
    try:
        return _probed(config)
    finally:
        release_gpu()  # the runs want its memory


def _probed(config: TrainConfig) -> Timing:
    device, method = pick_device(config.device), config.build_method()
    if stops_early(method):
        method = dataclasses.replace(method, attack_stop=None)  # type: ignore[call-arg]
    train, held_out = images_of(config)
    model = build(config.spec, train.class_names, train.templates, device)
    per_epoch = max(1, len(train) // config.batch_size)
    steps = config.total_steps(per_epoch) if method.trains else 0
    began = time.perf_counter()
    params, state = method.setup(model, torch.Generator().manual_seed(config.seed))
    setup = time.perf_counter() - began
    precision = pick_precision(config.precision, device)
    model.autocast_dtype = DTYPES[precision]
    size = max(1, config.batch_size // 4) if device.type == "cpu" else config.batch_size
    some = train.take(range(min(len(train), size)))
    inputs = model.preprocess.at(config.image_size)
    batch = next(iter(loader(some, size, inputs, train=True, device=device)))
    whole = config.batch_size / len(batch)
    with torch.no_grad():
        forward = _shortest(lambda: model(batch.images), device)
    each, size = method.outside, min(len(held_out), config.batch_size)
    passes = each.train * len(train) + each.held_out * len(held_out) + each.held_out_batches * size
    setup += forward / len(batch) * passes
    if not steps:
        return Timing(0, setup, 0.0, forward * whole, forward / len(batch))
    run = Run(model, params, torch.Generator(device).manual_seed(config.seed), steps, state)
    micro = None if config.micro_batch == "auto" else config.micro_batch
    plan = Plan(
        steps, per_epoch, micro_batch=micro, clip_norm=config.largest_norm, precision=precision
    )
    trainer = Trainer(method, run, plan)
    trainer.step(batch)  # at step 0, where some methods estimate what later steps use
    quarters = []
    for begin in (
        steps // 4,
        3 * steps // 4,
    ):  # the mean of a cost that rises with the run, as of `steps_warmup`
        run.step = begin
        quarters.append(_shortest(lambda: trainer.step(batch), device, budget=1.0))
    step = sum(quarters) / len(quarters)
    return Timing(steps, setup, step * whole, forward * whole, forward / len(batch))


def evaluation_seconds(measures: Measures, config: TrainConfig, image: float, sets: Sets) -> float:
    """Of one evaluation; data sets that are missing are found here, before anything is trained.

    Args:
        measures: What is measured.
        config: A run of the study.
        image: Seconds a forward pass of one image.
        sets: The data sets.
    """
    attacked = "eps" in {f.name for f in dataclasses.fields(config.build_method())}
    total = 0.0
    for target in targets(measures, config.data, config.ood):
        image_set = sets(target.spec, target.split, config.split_seed)
        n = min(target.n or len(image_set), len(image_set))
        standing = STANDING if attacked else STANDING / 10
        passes = (
            1.0
            if target.attack is None
            else 5 + standing * passes_of(target.attack, len(image_set.class_names))
        )
        total += n * image * passes
    return total


def passes_of(attack: AttackSpec, classes: int) -> float:
    """Forward passes for an image that stands to the end; a step is a forward and a backward to the
    input.
    """
    total = 0.0
    for part in attack.settings(0, classes)["parts"]:
        if "queries" in part:
            total += part["queries"]
        else:
            runs = part.get("restarts", 1) * part.get("targets", 1) * part.get("searches", 1)
            total += _passes_of_a_step(part, classes) * part["steps"] * runs
    return total


def _passes_of_a_step(part: Mapping[str, Any], classes: int) -> float:
    if part["name"].startswith("fab"):  # it looks at each new point once more
        return 2 + 1.2 * (classes if part["name"] == "fab" else 1)
    return 2.2 * part.get("draws", 1)


def _shortest(work: Callable[[], object], device: torch.device, budget: float = 2.0) -> float:
    """Seconds of one call: the shortest of a few after one that is not counted, since other
    programs only add time.
    """
    spent = _seconds(work, device)
    times: list[float] = []
    while not times or (spent < budget and len(times) < 5):
        times.append(_seconds(work, device))
        spent += times[-1]
    return min(times)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
