"""Sizes, models and clocks of ``benchmarks/gpu.py``."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from grace_geom.batch import Batch
from grace_geom.methods import METHODS, Run
from grace_geom.models import ClipClassifier, ModelSpec, build
from grace_geom.training import Plan, Trainer


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        device: Where.
        rate: Network of the attack's rate, the GRACE step and the memory; its batch.
        large: Network of the largest step, and its batch.
        curved: Network of the Hessian products, and its images.
        compared: Images of the comparison with the CPU.
        products: Hessian products of the comparison.
        steps: PGD steps.
        repeats: Of everything that is timed.
        jpegs: Pictures of the loader.
        precision: Of training.
        backend: Of ``torch.compile``: inductor writes kernels, on a CPU for minutes.
    """

    device: str = "cuda"
    rate: tuple[str, int] = ("ViT-B-16", 128)
    large: tuple[str, int] = ("ViT-L-14", 256)
    curved: tuple[str, int] = ("ViT-B-32", 64)
    compared: int = 64
    products: int = 40
    steps: int = 10
    repeats: int = 5
    jpegs: int = 2048
    precision: str = "bf16"
    backend: str = "inductor"


FULL = Sizes()
TINY = "tiny-shapes"
DRY = Sizes("cpu", (TINY, 4), (TINY, 4), (TINY, 4), 4, 4, 1, 1, 8, "float32", "aot_eager")


def random_model(name: str, device: str) -> ClipClassifier:
    """A network of random weights with twelve classes."""
    names = [f"class {i}" for i in range(12)]
    return build(ModelSpec(name, "random"), names, ["a photo of a {}"]).to(device)


def noise(model: ClipClassifier, n: int) -> Batch:
    """``n`` random images with random labels, from one seed."""
    g = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, *model.preprocess.size, generator=g)
    labels = torch.randint(0, len(model.class_names), (n,), generator=g)
    return Batch(images, labels, torch.arange(n)).to(model.device)


def trainer_of(
    model: ClipClassifier, name: str, sizes: Sizes, micro: int | None = None, **settings: Any
) -> Trainer:
    """Of one method at step 0, in the precision of training."""
    method = METHODS[name](**settings)
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    run = Run(model, params, torch.Generator(model.device).manual_seed(0), 10**6, state)
    plan = Plan(10**6, 10**6, precision=sizes.precision, micro_batch=micro)  # type: ignore[arg-type]
    model.autocast_dtype = {"bf16": torch.bfloat16, "float32": None}[sizes.precision]
    return Trainer(method, run, plan)


def seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """The median of several calls, after two that are not counted."""
    found = []
    for _ in range(repeats + 2):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - began)
    return statistics.median(found[2:])


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(work: Callable[[], object], device: str) -> int | None:
    """What torch had allocated at most during the call; ``None`` on a CPU, which does not count."""
    if device != "cuda":
        work()
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    wait(device)
    return torch.cuda.max_memory_allocated()
