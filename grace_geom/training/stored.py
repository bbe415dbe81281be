"""Whether a stored training state can be continued: each odd value is told by its key before
anything is restored.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from grace_geom.errors import UserError
from grace_geom.weights import Weights

CPU, CUDA = 5056, 16
"""Bytes of the states of torch's generators."""
OWN = ("lr", "params", "fused")
"""Entries of an optimiser's group that change during a run, are compared on their own, or depend on
the device.
"""


def check_state(
    state: Mapping[str, Any],
    own: Mapping[str, Any],
    stepped: Callable[[], Mapping[int, Mapping[str, Any]]],
) -> None:
    """Compare a stored state with what it is to be restored into.

    Args:
        state: As ``Trainer.state`` gave it once, read from a file.
        own: The state of the trainer that it is for, before any step.
        stepped: The optimiser's state by parameter after a step, in sizes of its own.

    Raises:
        UserError: Naming the first key that is missing, or is not what this run would write.
    """
    for where, what in _flaws(state, own, stepped):
        raise UserError(f"its trainer.{where}: {what}")


Flaws = Iterator[tuple[str, str]]


def _flaws(
    state: Mapping[str, Any],
    own: Mapping[str, Any],
    stepped: Callable[[], Mapping[int, Mapping[str, Any]]],
) -> Flaws:
    yield from _absent(state, own, "")
    for name in ("step", "images_seen", "skipped"):
        yield from _count(state[name], name)
    for name in ("sampler", "scheduler"):
        yield from _absent(state[name], own[name], name)
        for key in own[name]:
            yield from _count(state[name][key], f"{name}.{key}")
    epoch, batch = divmod(state["step"], max(1, state["sampler"]["steps_per_epoch"]))
    if (epoch, batch) != (state["sampler"]["epoch"], state["sampler"]["batch"]):
        yield "sampler", f"is not where step {state['step']} stands (epoch {epoch}, batch {batch})"
    if state["step"] > state["scheduler"]["total_steps"]:
        yield "step", f"is beyond the last one, {state['scheduler']['total_steps']}"
    yield from _metrics(state["metrics"], state["step"])
    params: Weights = own["params"]
    for part in ("params", *(["average"] if "average" in own else [])):
        yield from _absent(state[part], params, part)
        for name, w in params.items():
            yield from _tensor(state[part][name], f"{part}.{name}", w.shape)
        for name in state[part].keys() - params.keys():
            yield f"{part}.{name}", "is none of this run's"
    if state["skipped"] > state["step"]:
        yield "skipped", f"is beyond step {state['step']}"
    yield from _groups(state["optimizer"], own["optimizer"])
    yield from _moments(state, params, stepped)
    yield from _scaler(state["scaler"], own["scaler"])
    yield from _generators(state["rng"], own["rng"])
    yield from _absent(state["method"], (), "method")
    yield from _plain(state["method"], "method")


def _absent(stored: Any, own: Iterable[Any], where: str) -> Flaws:
    if not isinstance(stored, Mapping):
        yield where or "state", f"expected object, got {type(stored).__name__}"
    elif missing := [name for name in own if name not in stored]:
        yield f"{where}.{missing[0]}".lstrip("."), "is missing"


def _count(value: Any, where: str) -> Flaws:
    if type(value) is not int or not 0 <= value < 1 << 63:
        yield where, f"expected a number of steps or images, got {_shown(value)}"


def _finite(value: Any, where: str) -> Flaws:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        yield where, f"expected a finite number, got {_shown(value)}"


def _tensor(value: Any, where: str, shape: tuple[int, ...] | None = None) -> Flaws:
    """A finite tensor of floating point, of this shape."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        yield where, f"expected a tensor of floating point, got {_shown(value)}"
    elif shape is not None and value.shape != torch.Size(shape):
        yield where, f"has shape {tuple(value.shape)}, this run's has {tuple(shape)}"
    elif not value.isfinite().all():
        yield where, "is not finite"


def _plain(value: Any, where: str) -> Flaws:
    """A tree of plain values, in which every number and tensor is finite."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _plain(item, f"{where}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _plain(item, f"{where}[{i}]")
    elif isinstance(value, Tensor):
        if not value.isfinite().all():
            yield where, "is not finite"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _finite(value, where)
    elif value is not None and not isinstance(value, (bool, str)):
        yield where, f"expected plain values and tensors, got {_shown(value)}"


def _metrics(metrics: Any, step: int) -> Flaws:
    yield from _absent(metrics, (), "metrics")
    for name, value in metrics.items():
        yield from _finite(value, f"metrics.{name}")
    best = metrics.get("best_step", 0)
    if type(best) is not int or not 0 <= best <= step:
        yield "metrics.best_step", f"expected a step up to {step}, got {_shown(best)}"


def _groups(stored: Any, own: Mapping[str, Any]) -> Flaws:
    """The optimiser's settings are this run's; those that another torch does not know are its
    defaults.
    """
    yield from _absent(stored, own, "optimizer")
    groups, where = stored["param_groups"], "optimizer.param_groups"
    if not isinstance(groups, list) or len(groups) != len(own["param_groups"]):
        yield where, f"expected a list of {len(own['param_groups'])}, got {_shown(groups)}"
    for i, mine in enumerate(own["param_groups"]):
        at, group = f"{where}[{i}]", groups[i]
        needed = mine.keys() & {"lr", "initial_lr", "weight_decay", "momentum", "betas", "params"}
        yield from _absent(group, needed, at)
        yield from _finite(group["lr"], f"{at}.lr")
        if not 0 <= group["lr"] <= mine["initial_lr"]:
            yield f"{at}.lr", f"expected at most {mine['initial_lr']:g}, got {_shown(group['lr'])}"
        if not _equal(group["params"], mine["params"]):
            yield f"{at}.params", "is not this run's"
        if not isinstance(group.get("fused"), bool | None):
            yield f"{at}.fused", f"expected true, false or null, got {_shown(group['fused'])}"
        for name in mine.keys() & group.keys() - set(OWN):
            if not _equal(group[name], mine[name]):
                what = f"is {_shown(group[name])}, this run's is {_shown(mine[name])}"
                yield f"{at}.{name}", what


def _moments(
    state: Mapping[str, Any], own: Weights, stepped: Callable[[], Mapping[int, Mapping[str, Any]]]
) -> Flaws:
    """What the optimiser keeps of each parameter: the entries that a step makes, in its shape."""
    stored, where = state["optimizer"]["state"], "optimizer.state"
    yield from _absent(stored, (), where)
    expected, params = stepped() if own else {}, list(own.values())
    for i, (name, w) in enumerate(own.items()):  # one without gradients has none, and never moved
        if expected.get(i) and i not in stored and not state["params"][name].cpu().equal(w.cpu()):
            yield f"{where}.{i}", "is missing"
    for i, entries in stored.items():
        at = f"{where}.{i}"
        if type(i) is not int or i not in expected:
            yield at, f"is of no parameter; there are {len(params)}"
        yield from _absent(entries, expected[i], at)
        for name, like in expected[i].items():
            value, here = entries[name], f"{at}.{name}"
            if isinstance(like, Tensor):
                yield from _tensor(value, here, params[i].shape if like.ndim else ())
            elif like is None or isinstance(like, (int, float)):
                yield from _finite(value, here) if like is not None else _plain(value, here)
        if name := next((n for n in ("step", "exp_avg_sq") if _negative(entries.get(n))), ""):
            yield f"{at}.{name}", "is negative"


def _negative(value: Any) -> bool:
    return isinstance(value, Tensor) and bool((value < 0).any())


def _scaler(stored: Any, own: Mapping[str, Any]) -> Flaws:
    yield from _absent(stored, own, "scaler")  # own is empty where nothing is scaled
    for name, value in stored.items():
        yield from _finite(value, f"scaler.{name}")
        if value < 0 or (value == 0 and name == "scale"):
            yield f"scaler.{name}", f"expected a positive number, got {_shown(value)}"


def _generators(stored: Any, own: Mapping[str, Any]) -> Flaws:
    yield from _absent(stored, ("run", "torch", "numpy"), "rng")
    sizes = {"torch": [CPU], "cuda": [CUDA], "run": [CPU, CUDA, len(own["run"])]}  # of any device
    for name in ("run", "torch", *(["cuda"] if "cuda" in stored else [])):
        value = stored[name]
        if not isinstance(value, Tensor) or value.dtype != torch.uint8 or value.ndim != 1:
            yield f"rng.{name}", f"expected a generator's bytes, got {_shown(value)}"
        elif len(value) not in sizes[name]:
            yield f"rng.{name}", f"has {len(value)} bytes"
    yield from _absent(stored["numpy"], own["numpy"], "rng.numpy")
    keys, rest = stored["numpy"]["keys"], stored["numpy"]["rest"]
    if not isinstance(keys, Tensor) or keys.dtype != torch.int64 or keys.shape != (624,):
        yield "rng.numpy.keys", f"expected 624 integers, got {_shown(keys)}"
    elif not ((keys >= 0) & (keys < 1 << 32)).all():
        yield "rng.numpy.keys", "are not all of 32 bits"
    if not isinstance(rest, list) or len(rest) != 3:
        yield "rng.numpy.rest", f"expected three numbers, got {_shown(rest)}"
    yield from _plain(rest, "rng.numpy.rest")
    if not all(isinstance(x, float) for x in rest) or not 0 <= rest[0] <= 624:
        yield "rng.numpy.rest", f"expected a place up to 624 and two numbers, got {_shown(rest)}"
    if rest[1] not in (0.0, 1.0):
        yield "rng.numpy.rest", f"expected 0 or 1 in its second place, got {_shown(rest)}"


def _equal(a: Any, b: Any) -> bool:
    """Equal plain values; tuples are stored as lists."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return type(a) is type(b) and not isinstance(a, Tensor) and bool(a == b)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
