"""What works on a network, by trying: a step of every method, every attack, and what the analyses
compute.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.analysis.features.adversary import Perturbations, perturbed_features
from grace_geom.analysis.features.extract import check_tower, pool_of
from grace_geom.attacks.spec import SUITES, AttackSpec
from grace_geom.attacks.suite import run
from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.geometry.operators import gauss_newton, hessian
from grace_geom.methods import METHODS, Method, Run
from grace_geom.methods.lora import ATTENTION_AND_MLP, matching
from grace_geom.models import ClipClassifier, shapes_of
from grace_geom.weights import Weights

TOWER = r"^visual\."
QUICK: dict[str, Any] = {
    "attack_steps": 1,
    "r": 2,
    "lr": 1e-3,
    "c_values": 2,
    "radius_steps": 1,
    "prompt_tokens": 2,
}
"""Settings that make a step short, where a method has them."""


@dataclass(frozen=True)
class FamilyRow:
    """What was found on one network.

    Attributes:
        pool: What ``--pool auto`` takes of a block.
        refused: Method, attack or analysis that does not work, and why not.
    """

    pool: str
    refused: dict[str, str]


def measure(model: ClipClassifier, *, steps: bool = True) -> FamilyRow:
    """Try everything on a model.

    Args:
        model: A small one.
        steps: Let every method take a step, and run every attack; otherwise methods are set up and
            only ``pgd`` attacks.

    Raises:
        Exception: Whatever is no refusal for people.
    """
    tries: dict[str, Callable[[], Any]] = {
        name: partial(_step, model, name, steps) for name in METHODS
    }
    attacks = SUITES if steps else ("pgd",)
    tries |= {f"--attack {name}": partial(_attack, model, name) for name in attacks}
    tries |= {
        "--grad-checkpoint": partial(_recompute, model),
        "analyses of curvature": partial(_second_derivative, model),
        "analyses of features": partial(_features, model),
    }
    refused = {name: why for name, attempt in tries.items() if (why := _refusal(attempt))}
    return FamilyRow(pool_of(model, "auto"), refused)


def adapted(model: str) -> float:
    """Share of the image tower's weights that the default targets of LoRA and GRACE adapt.

    Args:
        model: One of open_clip's names; only shapes are made.
    """
    tower = dict(shapes_of(model).get_submodule("visual").named_parameters(prefix="visual"))
    chosen = matching(tower, ATTENTION_AND_MLP)  # type: ignore[arg-type]
    return sum(tower[n].numel() for n in chosen) / sum(w.numel() for w in tower.values())


def _refusal(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except UserError as error:
        return str(error)
    return ""


def images(model: ClipClassifier, n: int = 6, seed: int = 0) -> Batch:
    """Random images of the model's size, with labels of all classes."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, *model.preprocess.size, generator=g)
    return Batch(x, torch.arange(n) % len(model.class_names), torch.arange(n))


def _quick(name: str) -> Method:
    known = {f.name for f in fields(METHODS[name])}
    return METHODS[name](**{key: value for key, value in QUICK.items() if key in known})


def _step(model: ClipClassifier, name: str, step: bool) -> None:
    method = _quick(name)
    params, state = method.setup(model, torch.Generator().manual_seed(0))
    if not step:
        return
    batch = images(model)
    g = torch.Generator().manual_seed(1)
    run_ = Run(model, params, g, 2, state, images=lambda part: [batch])
    if method.trains:
        optimizer = method.make_optimizer(params)
        method.prepare(run_)
        method.gradients(run_, [batch])
        optimizer.step()
        run_.step = 1
    method.finish(run_)


def _attack(model: ClipClassifier, name: str) -> None:
    batch = images(model)
    with torch.no_grad():
        labels = model(batch.images).argmax(dim=1)  # all right: every part has something to do
    norm, eps = ("l2", 0.5) if name == "cw" else ("linf", 4 / 255)
    run(AttackSpec(name, eps, norm, steps=2, queries=10), model, batch.images, labels)


def _recompute(model: ClipClassifier) -> None:
    model.checkpoint_activations()
    model.checkpoint_activations(False)


def _second_derivative(model: ClipClassifier) -> None:
    """A product with the Hessian and one with the Gauss-Newton matrix, over the image tower."""
    batch, own = images(model), model.weights()

    def outputs(w: Weights, b: Batch) -> Tensor:
        return model(b.images, w)

    def criterion(z: Tensor, b: Batch) -> Tensor:
        return F.cross_entropy(z, b.labels)

    def loss(w: Weights, b: Batch) -> Tensor:
        return criterion(outputs(w, b), b)

    for operator in (
        hessian(loss, own, [batch], TOWER),
        gauss_newton(outputs, criterion, own, [batch], TOWER),
    ):
        operator.matvec(torch.ones(operator.dim))


def _features(model: ClipClassifier) -> None:
    """Pooled features of all blocks, and features at perturbed weights."""
    check_tower(model, "auto")
    batch = images(model)
    adversary = Perturbations(4 / 255, 1 / 255, 1, 0.01, 2)
    perturbed_features(model, model, [batch], [batch], adversary)
