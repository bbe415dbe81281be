"""The parts of ``benchmarks/gpu.py``: each measures one thing and returns plain values."""

import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_timing import (
    TINY,
    Sizes,
    noise,
    peak_bytes,
    random_model,
    seconds,
    trainer_of,
    wait,
)
from grace_geom.attacks import AttackSpec, pgd
from grace_geom.attacks import run as run_attack
from grace_geom.batch import Batch
from grace_geom.data import loader, resolve
from grace_geom.devices import pick_device
from grace_geom.geometry.krylov import Krylov, random_start
from grace_geom.geometry.lanczos import eigenpairs
from grace_geom.geometry.operators import CurvatureOperator, hessian
from grace_geom.methods.fast_attack import FastAttack, Mode, cross_entropy
from grace_geom.models import ClipClassifier, ModelSpec, build
from grace_geom.provenance import installed, provenance
from grace_geom.training import choose_micro_batch, measure
from grace_geom.training.memory import Memory, free_bytes
from grace_geom.weights import Weights, detach

Found = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
GOAL = 0.45
"""Share of the matrix rate that PGD is to reach."""


def environment(sizes: Sizes, peak: float) -> Found:
    """The card, the versions, and the peers that are installed."""
    found = provenance(pick_device(sizes.device))
    peers = {name: installed(name) for name in ("transformers", "peft", "pytest", "triton")}
    if sizes.device == "cuda":
        found["memory_gib"] = torch.cuda.get_device_properties(0).total_memory / 2**30
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
    return found | {"peers": peers}


def correctness(sizes: Sizes, peak: float) -> Found:
    """The shipped tiny CLIP in float32 here against float64 on the CPU: relative differences."""
    images = resolve("shapes", "test").subset(sizes.compared, 0)
    sides = {}
    for name, device, dtype in (
        ("here", str(pick_device(sizes.device)), torch.float32),
        ("exact", "cpu", torch.float64),
    ):
        model = build(ModelSpec(TINY), images.class_names, images.templates).to(device, dtype)
        (batch,) = loader(images, sizes.compared, model.preprocess, train=False, device=device)
        sides[name] = _numbers(model, replace(batch, images=batch.images.to(dtype)), sizes)
    here, exact = sides["here"], sides["exact"]
    found = {
        name: float((here[name] - exact[name]).norm() / exact[name].norm())
        for name in ("loss", "gradient", "product", "lambda_1")
    }
    standing = [side["standing"].bool() for side in (here, exact)]
    return found | {
        "images": sizes.compared,
        "standing": [int(side.sum()) for side in standing],
        "outcomes_that_differ": int((standing[0] != standing[1]).sum()),
    }


def _numbers(model: ClipClassifier, batch: Batch, sizes: Sizes) -> dict[str, Tensor]:
    """Float64 on the CPU, however they were made."""
    weights = {n: w for n, w in model.weights().items() if n.startswith("visual.")}

    def loss(w: Weights, b: Batch) -> Tensor:
        return F.cross_entropy(model(b.images, w), b.labels)

    A = hessian(loss, weights, [batch])
    v = random_start(A.dim, 0, A.like)
    found = eigenpairs(A.matvec, Krylov(v), top=1, max_products=sizes.products)
    spec = AttackSpec("pgd", 4 / 255, steps=sizes.steps, precision=str(A.like.dtype)[6:])
    standing = run_attack(spec, model, batch.images, batch.labels, keep_x_adv=False).robust
    numbers = {
        "loss": loss(weights, batch).detach(),
        "gradient": A.gradient(),
        "product": A.matvec(v / v.norm()),
        "lambda_1": found.values[:1],
        "standing": standing,
    }
    return {name: value.double().cpu() for name, value in numbers.items()}


def attack_rate(sizes: Sizes, peak: float) -> Found:
    """PGD as one operator after another, compiled, and from a CUDA graph; share of ``peak``."""
    pick_device(sizes.device)
    (name, n), found = sizes.rate, {}
    for mode in ("off", "attack", "graphs"):
        try:
            found[mode] = _rate(mode, name, n, sizes, peak)  # type: ignore[arg-type]
        except RuntimeError as error:  # the other ways are still worth knowing
            found[mode] = {"error": str(error)[:500]}
    return {"model": name, "batch": n, "steps": sizes.steps, "goal": GOAL, **found}


def _rate(mode: Mode, name: str, n: int, sizes: Sizes, peak: float) -> Found:
    model = random_model(name, sizes.device)
    model.autocast_dtype = torch.bfloat16
    batch, fixed = noise(model, n), detach(model.weights())
    told: list[dict[str, Any]] = []
    fast = FastAttack(mode, told.append, partial(torch.compile, backend=sizes.backend))
    generator = torch.Generator(sizes.device).manual_seed(0)

    def raised(x: Tensor) -> Tensor:
        return cross_entropy(model, fixed, batch.labels, x)

    def attack() -> Tensor:
        gradient = fast.gradient(model, raised, fixed, batch, cross_entropy)
        return pgd(
            raised, batch.images, 4 / 255, 1 / 255, sizes.steps, generator, gradient=gradient
        )

    took = seconds(attack, sizes.device, sizes.repeats)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch.images, fixed)
    rate = 2 * sizes.steps * counter.get_total_flops() / took / 1e12
    return {"ms": 1e3 * took, "tflops": rate, "share": rate / peak, "told": told}


def grace_step(sizes: Sizes, peak: float) -> Found:
    """``benchmarks/grace_step.py``: every part in forward passes, beside its floor and the peer."""
    from benchmarks import grace_step as script

    name, n = sizes.rate
    model = random_model(name, str(pick_device(sizes.device)))
    model.autocast_dtype = torch.bfloat16 if sizes.precision == "bf16" else None
    batch = noise(model, n)
    peer = script.peer(model, batch, sizes.steps)
    timed = script.parts(model, batch, sizes.steps) | peer
    found = script.measure(timed, sizes.repeats, sizes.device)
    forward = statistics.median(found["forward"])
    rows = {
        part: {
            "ms": 1e3 * statistics.median(found[part]),
            "forwards": statistics.median(found[part]) / forward,
            "of_floor": statistics.median(found[part]) / forward / floor,
        }
        for part, (_, floor) in timed.items()
    }
    return {"model": name, "batch": n, "peer": "measured" if peer else "not installed", **rows}


def large(sizes: Sizes, peak: float) -> Found:
    """A GRACE step of the largest network at its batch, in pieces as ``--micro-batch auto`` has
    them.
    """
    pick_device(sizes.device)
    (name, n), found = sizes.large, {}
    for label, lean in (("--grad-checkpoint", False), ("--grad-checkpoint --bf16-residual", True)):
        model = random_model(name, sizes.device)
        model.checkpoint_activations()
        model.keep_residual_low(lean)
        t = trainer_of(model, "grace", sizes, attack_steps=sizes.steps)
        memory = measure(t, model.preprocess.size)
        size = choose_micro_batch(memory, n, free_bytes(t.device))
        t.plan = replace(t.plan, micro_batch=size)
        batch = noise(model, n)
        t.step(batch)  # with the first curvature estimate
        began = time.perf_counter()
        allocated = peak_bytes(lambda t=t, batch=batch: t.step(batch), sizes.device)  # type: ignore[misc]
        found[label] = _beside(memory, size, allocated) | {
            "micro_batch": size,
            "seconds": time.perf_counter() - began,
        }
        del t, model, batch
    return {"model": name, "batch": n, "method": "grace", **found}


def _beside(memory: Memory, images: int, allocated: int | None) -> Found:
    """The estimate and what was allocated, GiB."""
    found = {"estimated_gib": memory.of(images) / 2**30}
    if allocated is None:
        return found
    return found | {"allocated_gib": allocated / 2**30, "ratio": allocated / memory.of(images)}


def memory(sizes: Sizes, peak: float) -> Found:
    """Peak memory of a step beside the estimate, by method and way."""
    pick_device(sizes.device)
    (name, n), found = sizes.rate, {}
    for method in ("ft", "at", "grace"):
        for recompute, lean in ((False, False), (True, False), (True, True)):
            model = random_model(name, sizes.device)
            model.checkpoint_activations(recompute)
            model.keep_residual_low(lean)
            quick = {} if method == "ft" else {"attack_steps": 1}
            t = trainer_of(model, method, sizes, **quick)
            estimated = measure(t, model.preprocess.size)
            batch = noise(model, n)
            t.step(batch)
            allocated = peak_bytes(lambda t=t, batch=batch: t.step(batch), sizes.device)  # type: ignore[misc]
            way = " --grad-checkpoint" * recompute + " --bf16-residual" * lean
            found[method + way] = _beside(estimated, n, allocated)
            del t, model, batch
    return {"model": name, "batch": n, **found}


def hessian_products(sizes: Sizes, peak: float) -> Found:
    """Hessian products a second in float32, on a kept graph and on one made anew."""
    (name, n), found = sizes.curved, {}
    model = random_model(name, str(pick_device(sizes.device)))
    batch = noise(model, n)
    weights = {k: w for k, w in model.weights().items() if k.startswith("visual.")}

    def operator(graph_bytes: int) -> CurvatureOperator:
        return hessian(
            lambda w, b: F.cross_entropy(model(b.images, w), b.labels), weights, [batch],
            graph_bytes=graph_bytes,
        )  # fmt: skip

    for label, graph_bytes in (("kept", 2**40), ("rebuilt", 0)):
        A = operator(graph_bytes)
        v = random_start(A.dim, 0, A.like)
        took = seconds(lambda A=A, v=v: A.matvec(v), sizes.device, sizes.repeats)  # type: ignore[misc]
        found[label] = {"products_per_s": 1 / took, "graph_gib": A.kept_bytes / 2**30}
    return {"model": name, "images": n, "weights": len(v), **found}


def loader_rate(sizes: Sizes, peak: float) -> Found:
    """Images a second that arrive on the device: from JPEG files by workers, and from memory."""
    device, found = pick_device(sizes.device), {}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(sizes.jpegs):
            place = Path(folder, "train", f"class{i % 2}")
            place.mkdir(parents=True, exist_ok=True)
            smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            smooth.resize((500, 375)).save(place / f"{i}.jpg")
        images = resolve(f"folder:{folder}", "train")
        workers = 0 if sizes.device == "cpu" else 15
        for label, train in (("training views", True), ("evaluation views", False)):
            batches = loader(images, 256, 224, train=train, workers=workers, device=device)
            began = time.perf_counter()
            n = sum(len(batch) for batch in batches)
            wait(sizes.device)
            found[label] = n / (time.perf_counter() - began)
    return {"images": sizes.jpegs, "workers": workers, "images_per_s": found}


def waits(sizes: Sizes, peak: float) -> Found:
    """How often a step makes the host wait, as torch's synchronisation debug mode sees it."""
    pick_device(sizes.device)
    (name, n), found = sizes.curved, {}
    for method in ("ft", "lora", "at", "trades", "awp", "grace"):
        model = random_model(name, sizes.device)
        t, batch = trainer_of(model, method, sizes), noise(model, n)
        t.step(batch)  # the first one estimates curvature
        found[method] = _waits_of(lambda t=t, batch=batch: t.step(batch), sizes.device)  # type: ignore[misc]
        del t, model, batch
    return found


def _waits_of(work: Callable[[], object], device: str) -> dict[str, int] | None:
    """By place; ``None`` where there is no such mode."""
    if device != "cuda":
        work()
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places: dict[str, int] = {}
    for w in caught:
        if "synchronizing" in str(w.message):
            place = f"{Path(w.filename).name}:{w.lineno}"
            places[place] = places.get(place, 0) + 1
    return places


def deterministic(sizes: Sizes, peak: float) -> Found:
    """What deterministic kernels cost a step, and whether two runs agree bit for bit.

    Both sides have cuBLAS's fixed workspaces, whose own cost is left out.
    """
    pick_device(sizes.device)
    (name, n), found = sizes.rate, Found()
    for label, strict in (("default", False), ("deterministic", True)):
        torch.use_deterministic_algorithms(strict)
        sums = []
        for _ in range(2):
            model = random_model(name, sizes.device)
            t, batch = trainer_of(model, "grace", sizes, attack_steps=sizes.steps), noise(model, n)
            took = seconds(lambda t=t, batch=batch: t.step(batch), sizes.device, 3)  # type: ignore[misc]
            sums.append([float(w.detach().double().sum()) for w in t.run.params.values()])
            del t, model, batch
        found[label] = {"ms": 1e3 * took, "two_runs_agree": sums[0] == sums[1]}
    torch.use_deterministic_algorithms(False)
    if not found["deterministic"]["two_runs_agree"]:
        found["error"] = "two runs with deterministic kernels differ"
    return found | {"cost": found["deterministic"]["ms"] / found["default"]["ms"] - 1}


def gpu_tests(sizes: Sizes, peak: float) -> Found:
    """The tests marked ``gpu``: an error unless they pass; a dry run is to find none."""
    if installed("pytest") is None:
        return {"skipped": "pytest is not installed"}
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    chosen = (
        ["tests/gpu"] if sizes.device == "cuda" else ["--collect-only", "tests/test_devices.py"]
    )
    done = subprocess.run(
        [*command, *chosen], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found: Found = {"exit_code": done.returncode, "tail": done.stdout.strip().splitlines()[-15:]}
    if done.returncode != (0 if sizes.device == "cuda" else 5):  # 5: no test was collected
        found["error"] = f"pytest ended with exit code {done.returncode}"
    return found


def finite(tree: object) -> bool:
    """Whether every number in plain values is one."""
    if isinstance(tree, dict):
        return all(map(finite, tree.values()))
    if isinstance(tree, list):
        return all(map(finite, tree))
    return not isinstance(tree, float) or math.isfinite(tree)


PARTS: dict[str, Callable[[Sizes, float], Found]] = {
    "environment": environment,
    "correctness": correctness,
    "attack_rate": attack_rate,
    "grace_step": grace_step,
    "large": large,
    "memory": memory,
    "hessian": hessian_products,
    "loader": loader_rate,
    "waits": waits,
    "deterministic": deterministic,
    "gpu_tests": gpu_tests,
}
