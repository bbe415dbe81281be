"""The first line of each command, said before torch is imported: what is done on what, and where
that goes.

Each function takes the values of the command's options, by field.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grace_geom.quantities import radius

Values = Mapping[str, Any]
NAMED = 3
"""Checkpoints and methods that are named; of more the number is told."""


def training(values: Values) -> str:
    """``train: grace on shapes, from tiny-shapes -> runs/grace-shapes-s0``."""
    from grace_geom.records.places import default_out

    method, data, out = values["method"], values["data"], values["out"]
    out = out or default_out(method, data, values["seed"])
    return f"train: {method} on {data}, from {values['model']} -> {out}"


def evaluation(values: Values) -> str:
    """``evaluate: runs/a, runs/b on id, ood, adv (pgd 4/255) -> eval.json beside each``."""
    files = values["checkpoints"]
    beside = "each" if len(files) > 1 else "it"
    return f"evaluate: {_some(files)} on {_suites(values)} -> eval.json beside {beside}"


def interpolation(values: Values) -> str:
    """``interpolate: runs/a at t = 0, 0.5, 1 on id, ood -> dial.json beside it``."""
    ts = ", ".join(f"{t:g}" for t in values["t"])
    at = f"at t = {ts}" if ts else "from its pretrained weights and beyond"
    return f"interpolate: {values['run']} {at}, on {_suites(values)} -> dial.json beside it"


def study(values: Values) -> str:
    """``compare: ft, at, grace on shapes, seeds 0, 1 -> runs/compare``."""
    from grace_geom.store.objects import address

    seeds = ", ".join(map(str, values["seeds"]))
    several = "seeds" if len(values["seeds"]) > 1 else "seed"
    return (
        f"compare: {_some(values['methods'], 'methods')} on {values['data']}, {several} {seeds} -> "
        f"{address(values['out'])}"
    )


def export(values: Values) -> str:
    """``export: runs/a as onnx -> photos-onnx``."""
    out = values["out"] or "beside it"
    return f"export: {values['checkpoint']} as {values['format'] or 'safetensors'} -> {out}"


def pretraining(values: Values) -> str:
    """``pretrain: tiny-shapes on shapes, 2800 steps of 128 pairs -> FILE``."""
    size = f"{values['steps']} steps of {values['batch_size']} pairs"
    return f"pretrain: {values['model']} on {_some(values['data'])}, {size} -> {values['out']}"


def analysis(name: str) -> Callable[[Values], str]:
    """``sharpness: runs/a, up to 512 images a set -> analyses/ beside it``."""

    def text(values: Values) -> str:
        files = values["checkpoints"]
        return f"{name}: {_some(files)}, up to {values['n']} images a set -> {_folder(values)}"

    return text


def report(values: Values) -> str:
    """``report: sharpness, anisotropy of runs/a -> report.html in analyses/ beside it``."""
    chosen = _some(values["analyses"], "analyses") if values["analyses"] else "all analyses"
    return f"report: {chosen} of {_some(values['checkpoints'])} -> report.html in {_folder(values)}"


def study_analyses(values: Values) -> str:
    """``study: sharpness, anisotropy of the runs in runs/a -> runs/a/analyses``."""
    chosen = _some(values["analyses"], "analyses") if values["analyses"] else "all analyses"
    return f"study: {chosen} of the runs in {values['study']} -> {values['study']}/analyses"


def study_evaluations(values: Values) -> str:
    """``study: the runs in runs/a on id, ood, adv (pgd 4/255) -> eval.json beside each``."""
    return f"study: the runs in {values['study']} on {_suites(values)} -> eval.json beside each"


def effects(values: Values) -> str:
    """``effects: of grace-parts in runs/parts``; without a study, the rows to train."""
    of = (
        f"in {_some(values['studies'], 'studies')}"
        if values["studies"]
        else "that shall be trained"
    )
    what = "parts" if values["studies"] else "rows"
    return f"effects: {what} of {values['design']} {of}"


def _folder(values: Values) -> str:
    """As ``grace_geom.analysis.run.folder_of`` finds it, in words."""
    if values["out"] is not None:
        return str(values["out"])
    return "analyses/ beside it" if len(values["checkpoints"]) == 1 else "analyses/ of their folder"


def _suites(values: Values) -> str:
    text = ", ".join(values["suites"])
    if "adv" not in values["suites"]:
        return text
    eps, norm = values["eps"], values["norm"]
    at = "" if eps is None else f" {radius(eps) if norm == 'linf' else f'{eps:g} ({norm})'}"
    return f"{text} ({values['attack']}{at})"


def _some(names: Sequence[str | Path], what: str = "checkpoints") -> str:
    if len(names) <= NAMED:
        return ", ".join(map(str, names))
    return f"{', '.join(map(str, names[:NAMED]))} and {len(names) - NAMED} more {what}"
