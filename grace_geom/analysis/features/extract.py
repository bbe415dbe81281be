"""Features at every block of several checkpoints in one pass over the images, by hooks that are
always removed.
"""

import contextlib
import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from grace_geom.batch import Batch
from grace_geom.errors import UserError, check_known, nearest
from grace_geom.models import ClipClassifier

EMBEDDING = "embedding"
POOLS = ("auto", "cls", "mean", "tokens")

Layers = dict[str, Tensor]


@dataclass(frozen=True)
class Features:
    """Features of one checkpoint on one set of images.

    Attributes:
        layers: Layer name -> ``(N, D)`` float32 (float64 of a float64 model) on the CPU;
            ``embedding`` is the tower's output, not normalised.
        labels: ``(N,)`` int64.
        images: Says which images in which order: two features are paired iff these are equal.
        distribution: ``id``, ``adv``, or the name of an OOD set.
    """

    layers: Mapping[str, Float[Tensor, " n _"]]
    labels: Int[Tensor, " n"]
    images: str
    distribution: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def embedding(self) -> Float[Tensor, " n d"]:
        """The image tower's output, un-normalised."""
        return self.layers[EMBEDDING]


def paired(a: Features, b: Features) -> None:
    """Refuse to compare features image by image where the images differ.

    Adversarial images count as the clean images that they were made from.

    Raises:
        UserError: With the reason and what to do instead.
    """
    if a.images != b.images:
        raise UserError(
            f"{a.distribution} and {b.distribution} are different images, so their rows are not "
            "paired and CKA, Procrustes and Gram drift between them mean nothing: compare two "
            "checkpoints on each set, or use class centroids (feature_stability.py)"
        )


def collect(
    models: Mapping[str, ClipClassifier],
    batches: Iterable[Batch],
    *,
    images: str,
    distribution: str,
    pool: str = "cls",
    layers: str = "",
) -> dict[str, Features]:
    """Features of every model on the same images, decoded once; memory: N times the width of all
    layers.

    Args:
        models: Checkpoint name -> classifier, in eval mode.
        batches: Images in a fixed order; any batch sizes.
        images: See :class:`Features`.
        distribution: Name of the set.
        pool: How tokens become one row an image: ``cls``, ``mean`` of the patches, all ``tokens``
            side by side, or ``auto``: ``cls`` where the tower has a class token, else ``mean``.
        layers: Regular expression for the layers wanted; all by default. ``embedding`` always
            comes.

    Raises:
        UserError: A shuffled loader, a model in training mode, no such layer, a pool that the tower
            does not have.
    """
    found: dict[str, dict[str, list[Tensor]]] = {name: {} for name in models}
    labels = []
    for batch, features in read_features(models, batches, pool=pool, layers=layers):
        labels.append(batch.labels.cpu())
        for name, of_model in features.items():
            for layer, x in of_model.items():
                found[name].setdefault(layer, []).append(x.cpu())
    if not labels:
        raise UserError(f"{distribution}: there are no images to collect features of")
    y = torch.cat(labels)
    return {
        name: Features(
            {layer: torch.cat(xs) for layer, xs in of_model.items()}, y, images, distribution
        )
        for name, of_model in found.items()
    }


def read_features(
    models: Mapping[str, ClipClassifier],
    batches: Iterable[Batch],
    *,
    pool: str = "cls",
    layers: str = "",
) -> Iterator[tuple[Batch, dict[str, Layers]]]:
    """Batch by batch, for sums over more images than memory holds:
    ``(batch, model -> layer -> (b, D) float32)``.

    Arguments and errors are those of :func:`collect`. Hooks are there during a forward pass only.
    """
    check_known("--pool", pool, POOLS)
    expected = 0
    pools = {name: pool_of(model, pool) for name, model in models.items()}
    chosen = {name: _chosen(model, layers) for name, model in models.items()}
    for model in models.values():
        _must_be_still(model)
    for batch in batches:
        if batch.index.tolist() != list(range(expected, expected + len(batch))):
            raise UserError(
                "the images come in another order than the data set's: a shuffled loader pairs the "
                "features of different images. Read with train=False."
            )
        expected += len(batch)
        yield (
            batch,
            {
                name: _features_of(model, batch, chosen[name], pools[name])
                for name, model in models.items()
            },
        )


def pool_of(model: ClipClassifier, pool: str) -> str:
    """What ``auto`` means for a tower: ``cls`` where it has a class token, else ``mean``."""
    if pool != "auto":
        return pool
    return "cls" if _prefix_tokens(model) else "mean"


def check_tower(model: ClipClassifier, pool: str = "cls", layers: str = "") -> None:
    """One grey image through the tower: whether it has these layers and tokens is known before any
    attack.

    Raises:
        UserError: As :func:`collect`.
    """
    dtype: torch.dtype = model.mean.dtype  # type: ignore[assignment]
    grey = torch.full((1, 3, *model.preprocess.size), 0.5, dtype=dtype, device=model.device)
    batch = Batch(grey, torch.zeros(1, dtype=torch.int64), torch.arange(1))
    for _ in read_features({"model": model}, [batch], pool=pool, layers=layers):
        pass


@contextlib.contextmanager
def tapped(
    modules: Mapping[str, nn.Module], of: Callable[[Any], Any] = lambda output: output
) -> Iterator[dict[str, Any]]:
    """``of`` the output of each module's latest call, by name, while the context lasts; the hooks
    go whatever happens.

    ``of`` is called at once: what comes later in the pass may write into the same memory.
    """
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, of(output))

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def blocks_of(model: ClipClassifier) -> dict[str, nn.Module]:
    """The image tower's blocks by name, first to last: ``block.0`` ... of a transformer,
    ``stage.1`` ... of a ResNet.

    Raises:
        UserError: For a tower that has neither.
    """
    visual: Any = model.clip.visual
    for owner in (getattr(visual, "transformer", None), getattr(visual, "trunk", None)):
        for name in ("resblocks", "blocks", "stages", "layers"):
            if owner is not None and hasattr(owner, name):
                return {f"block.{i}": block for i, block in enumerate(getattr(owner, name))}
    stages = {
        f"stage.{i}": getattr(visual, f"layer{i}")
        for i in range(1, 5)
        if hasattr(visual, f"layer{i}")
    }
    if not stages:
        raise UserError(f"{type(visual).__name__} has no blocks that features could be taken at")
    return stages


def through_modules(model: ClipClassifier) -> ClipClassifier:
    """The same model (shared, not copied) whose forward pass calls the tower's modules, so that
    hooks see it.
    """
    other = copy.copy(model)
    other.shape = None  # no short cut through the tower as a pure function of its weights
    return other


def _chosen(model: ClipClassifier, pattern: str) -> dict[str, nn.Module]:
    blocks = blocks_of(model)
    try:
        chosen = {name: block for name, block in blocks.items() if re.search(pattern, name)}
    except re.error as error:
        raise UserError(f"--layers {pattern!r} is not a regular expression: {error}") from None
    if not chosen and not re.search(pattern, EMBEDDING):
        raise UserError(
            f"--layers {pattern!r} matches no layer; {nearest(pattern, [*blocks, EMBEDDING])}"
        )
    return chosen


def _must_be_still(model: ClipClassifier) -> None:
    active = [name for name, module in model.clip.named_modules() if module.training]
    if active:
        raise UserError(
            f"the model is in training mode (at {active[0] or 'its root'}): dropout and batch "
            "statistics would make its features random; call model.eval() first"
        )


@torch.no_grad()
def _features_of(
    model: ClipClassifier, batch: Batch, chosen: Mapping[str, nn.Module], pool: str
) -> Layers:
    def rows(
        output: Any,
    ) -> Tensor:  # a copy: all tokens of all layers need not be held until the pass ends
        return _pooled(_tensor(output), model, pool, len(batch)).clone()

    with tapped(chosen, rows) as found:
        embedding = through_modules(model).encode(batch.images.to(model.device))
    return found | {EMBEDDING: _at_least_float32(embedding)}


def _tensor(output: Any) -> Tensor:
    """A block may return a tuple (hidden state first), or a dictionary of one tensor after
    another."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    return output


def _pooled(x: Tensor, model: ClipClassifier, pool: str, n: int) -> Float[Tensor, " n d"]:
    """float32 (or float64) at once: a mean over bfloat16 tokens would keep 8 bits."""
    x = _at_least_float32(x)
    prefix = _prefix_tokens(model)
    if x.ndim == 4:  # a feature map: positions are tokens
        trunk = getattr(model.clip.visual, "trunk", None)
        last = getattr(trunk, "output_fmt", "NCHW") == "NHWC"  # Swin's
        x = x.flatten(1, 2) if last else x.flatten(2).mT
        prefix = 0
    elif x.ndim == 3 and x.shape[0] != n:
        x = x.transpose(0, 1)  # (tokens, images, width)
    elif x.ndim == 3 and not getattr(
        getattr(model.clip.visual, "transformer", None), "batch_first", True
    ):
        x = x.transpose(0, 1)
    if x.ndim == 2:
        return x
    if pool == "tokens":
        return x.flatten(1)
    if pool == "mean":
        return x[:, prefix:].mean(dim=1)
    if not prefix:
        raise UserError("this tower has no CLS token: use --pool mean or --pool tokens")
    return x[:, 0]


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _prefix_tokens(model: ClipClassifier) -> int:
    visual: Any = model.clip.visual
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:
        return int(getattr(trunk, "num_prefix_tokens", 0))
    return 1 if getattr(visual, "class_embedding", None) is not None else 0
