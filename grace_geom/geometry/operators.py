"""Products with the Hessian and the Gauss-Newton matrix of a mean loss, without forming them.

With ``L(w) = (1/n) sum_b n_b loss(w, b)`` over batches b of n_b samples, the Hessian product is
reverse over reverse (Pearlmutter 1994): one graph of the gradient, differentiated again. ``jvp`` of
``jacrev`` is not used: it is wrong through ``nn.LayerNorm`` where the gain is among the weights.
The Gauss-Newton product ``J' (d2 loss / dz2) J v`` (Schraudolph 2002) takes ``J v`` by the
double-backward trick, so it needs no forward mode either.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from grace_geom.distributed import total as sum_over_processes
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.weights import Weights, flatten, select, unflatten

Loss = Callable[[Weights, Any], Tensor]
Matvec = Callable[[Tensor], Tensor]
Product = Callable[[Sequence[Tensor], bool], Sequence[Tensor]]

GRAPH_BYTES = 2 * 2**30
"""Graphs are kept up to this many bytes unless the caller says otherwise."""


@contextlib.contextmanager
def twice_differentiable() -> Iterator[None]:
    """Attention by the math kernel, without the fast path: the others have no second derivative.
    Restored after.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@dataclass(frozen=True, eq=False)
class CurvatureOperator:
    """A symmetric ``dim x dim`` matrix that is known by its products. Made by :func:`hessian`,
    :func:`gauss_newton`.

    Attributes:
        kind: ``hessian`` or ``ggn``.
        weights: The weights that vary, detached; a vector is their concatenation in this order.
        n: Samples, of all processes together.
        graph_bytes: Memory that one sample's graph takes (measured on the first batch of this
            process).
    """

    kind: str
    weights: Weights
    n: int
    graph_bytes: int
    _build: Callable[[Any], Product]
    _kept: list[tuple[int, Product]]
    _rebuilt: Sequence[Any]
    _gradient: Callable[[], Tensor]
    _distributed: bool = False
    _count: list[int] = field(default_factory=lambda: [0])

    @property
    def dim(self) -> int:
        """Weights that vary: the matrix is ``dim x dim``."""
        return sum(w.numel() for w in self.weights.values())

    @property
    def kept(self) -> int:
        """Batches whose graph is kept between products."""
        return len(self._kept)

    @property
    def kept_bytes(self) -> int:
        """Memory of the graphs that this process keeps."""
        return self.graph_bytes * sum(size for size, _ in self._kept)

    @property
    def rebuilt(self) -> int:
        """Batches whose graph is made anew for each product."""
        return len(self._rebuilt)

    @property
    def products(self) -> int:
        """Products computed so far; each costs about 6 forward passes on kept graphs, 9 on rebuilt
        ones.
        """
        return self._count[0]

    @property
    def like(self) -> Tensor:
        """An empty vector of the operator's dtype and device."""
        return next(iter(self.weights.values())).new_empty(0)

    def gradient(self) -> Tensor:
        """The gradient ``(dim,)`` of the mean loss in the weights that vary; made anew, half the
        cost of a product.
        """
        return self._gradient()

    def matvec(self, v: Tensor) -> Tensor:
        """``A v`` for ``v`` of shape ``(dim,)``, in the weights' dtype and on their device.

        Raises:
            ValueError: If ``v`` has another shape, dtype or device.
        """
        like = self.like
        if v.shape != (self.dim,) or v.dtype != like.dtype or v.device != like.device:
            raise ValueError(
                f"a product needs a vector of shape ({self.dim},), {like.dtype} on {like.device}, "
                f"not {tuple(v.shape)}, {v.dtype} on {v.device}"
            )
        vs = list(unflatten(v.detach(), self.weights).values())
        total = torch.zeros_like(v)
        parts = list(
            unflatten(total, self.weights).values()
        )  # views: no second vector of dim entries is made
        with _explained():
            for size, product in self._kept:
                _add(parts, product(vs, True), size)
            for batch in self._rebuilt:
                with twice_differentiable():
                    product = self._build(batch)
                _add(parts, product(vs, False), len(batch))
        if self._distributed:
            sum_over_processes([total])
        self._count[0] += 1
        return total.div_(self.n)


def hessian(
    loss: Loss,
    weights: Weights,
    batches: Sequence[Any],
    pattern: str = "",
    graph_bytes: int = GRAPH_BYTES,
    distributed: bool = False,
) -> CurvatureOperator:
    """The Hessian of the mean loss at ``weights``, restricted to the weights whose name matches
    ``pattern``.

    Args:
        loss: ``(weights, batch) -> scalar``, the mean over the batch; deterministic.
        weights: The point. Those that do not match are constants.
        batches: A list of batches with ``len(batch)`` samples; sizes may differ.
        pattern: Regular expression (``re.search``); the empty one matches all.
        graph_bytes: Graphs are kept while they fit into this many bytes together, else rebuilt for
            each product.
        distributed: Sum over the processes of the default group, each of which holds other batches,
            perhaps none.

    Raises:
        ValueError: If the loss is not a deterministic scalar that depends on the chosen weights, or
            the batches are not a list of a fixed order.
        PeerLost: A product, if another process is gone.
        UserError: If the pattern matches nothing.
    """
    moving = _moving(weights, pattern)
    constants = {name: w.detach() for name, w in weights.items() if name not in moving}
    params = list(moving.values())

    def build(batch: Any) -> Product:
        """The graph of the gradient; a product goes back through it."""
        value = loss(constants | moving, batch)
        gradient = torch.autograd.grad(value, params, create_graph=True, materialize_grads=True)
        curved = [
            i for i, g in enumerate(gradient) if g.requires_grad
        ]  # a linear weight has a constant gradient

        def product(vs: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
            if not curved:
                return [torch.zeros_like(p) for p in params]
            gs, us = [gradient[i] for i in curved], [vs[i] for i in curved]
            return torch.autograd.grad(gs, params, us, retain_graph=keep, materialize_grads=True)

        return product

    return _operator("hessian", build, loss, constants, moving, batches, graph_bytes, distributed)


def gauss_newton(
    outputs: Callable[[Weights, Any], Tensor],
    criterion: Callable[[Tensor, Any], Tensor],
    weights: Weights,
    batches: Sequence[Any],
    pattern: str = "",
    graph_bytes: int = GRAPH_BYTES,
    distributed: bool = False,
) -> CurvatureOperator:
    """The generalised Gauss-Newton matrix ``(1/n) sum J' (d2 criterion / dz2) J`` of
    ``criterion(outputs(w, b), b)``.

    Positive semi-definite where the criterion is convex in the outputs; for cross-entropy of logits
    it is the Fisher matrix. Arguments are as in :func:`hessian`; ``criterion(z, batch)`` is a mean
    over the batch.
    """
    moving = _moving(weights, pattern)
    constants = {name: w.detach() for name, w in weights.items() if name not in moving}
    params = list(moving.values())

    def build(batch: Any) -> Product:
        """``J' u`` as a function of ``u``, whose derivative is ``J v``, and the slope at z."""
        z = outputs(constants | moving, batch)
        u = torch.zeros_like(z, requires_grad=True)
        pulled = torch.autograd.grad(
            z, params, u, create_graph=True, materialize_grads=True
        )  # J' u, linear in u
        leaf = z.detach().requires_grad_()
        slope = torch.autograd.grad(criterion(leaf, batch), leaf, create_graph=True)[0]
        used = [i for i, g in enumerate(pulled) if g.requires_grad]

        def product(vs: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
            """``J' H J v``, H the loss' Hessian in the outputs; ``keep`` keeps the graph."""
            if not (used and slope.requires_grad):
                return [torch.zeros_like(p) for p in params]
            Jv = torch.autograd.grad(
                [pulled[i] for i in used], u, [vs[i] for i in used], retain_graph=True
            )[0]
            HJv = torch.autograd.grad(slope, leaf, Jv, retain_graph=True)[0]
            return torch.autograd.grad(z, params, HJv, retain_graph=keep, materialize_grads=True)

        return product

    def loss(w: Weights, batch: Any) -> Tensor:
        return criterion(outputs(w, batch), batch)

    return _operator("ggn", build, loss, constants, moving, batches, graph_bytes, distributed)


def _operator(
    kind: str,
    build: Callable[[Any], Product],
    loss: Loss,
    constants: Weights,
    moving: Weights,
    batches: Sequence[Any],
    budget: int,
    distributed: bool,
) -> CurvatureOperator:
    listed = hasattr(batches, "__getitem__") and hasattr(batches, "__len__")
    if not listed or not (len(batches) or distributed):
        raise ValueError(
            "curvature needs a non-empty list of batches in a fixed order, not a loader that may "
            "shuffle"
        )
    per_sample = 0
    if len(batches):
        _require_deterministic(loss, constants | moving, batches[0])
        per_sample = _graph_bytes(build, batches[0], constants | moving)
    kept: list[tuple[int, Product]] = []
    room = budget
    for batch in batches:
        room -= per_sample * len(batch)
        if room < 0:
            break
        with twice_differentiable(), _explained():
            kept.append((len(batch), build(batch)))
    n = torch.tensor(
        sum(len(batch) for batch in batches), device=next(iter(moving.values())).device
    )
    if distributed:
        sum_over_processes([n])
    point = {name: w.detach() for name, w in moving.items()}

    def gradient() -> Tensor:
        mean = MeanLoss(lambda w, batch: loss(constants | w, batch), batches, distributed)
        with twice_differentiable():  # the kernels of the products: a point has one gradient
            return flatten(mean.gradient(moving)[1])

    return CurvatureOperator(
        kind, point, int(n), per_sample, build, kept, batches[len(kept) :], gradient, distributed
    )


def _moving(weights: Weights, pattern: str) -> Weights:
    return {name: w.detach().requires_grad_() for name, w in select(weights, pattern).items()}


def _require_deterministic(loss: Loss, weights: Weights, batch: Any) -> None:
    """Two calls must agree; a loss that does not depend on the weights at all has no graph to
    differentiate.
    """
    with twice_differentiable():
        one, two = loss(weights, batch), loss(weights, batch)
    if one.numel() != 1:
        raise ValueError(
            f"the loss of a batch must be one number, not a tensor of shape {tuple(one.shape)}"
        )
    if not one.requires_grad:
        raise ValueError("the loss does not depend on any of the chosen weights")
    if not torch.isclose(one, two, rtol=1e-5, atol=0):
        raise ValueError(
            f"the loss is not deterministic ({one.item():.6g}, then {two.item():.6g} on the same "
            "batch): dropout or an augmentation is active; call eval() and fix the sample first"
        )


def _graph_bytes(build: Callable[[Any], Product], batch: Any, weights: Weights) -> int:
    """Bytes that the graph of one sample keeps alive beyond the weights; the graph is made once and
    dropped.
    """
    own = {w.untyped_storage().data_ptr() for w in weights.values()}
    found: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        """Note the bytes of what autograd keeps, each storage once."""
        storage = saved.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return (
            saved.detach()
        )  # the tensor itself would make a reference cycle with the node that saves it

    with (
        twice_differentiable(),
        _explained(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved),
    ):
        build(batch)
    return -(-sum(found.values()) // len(batch))


def _add(totals: Sequence[Tensor], tensors: Sequence[Tensor], times: int) -> None:
    for total, tensor in zip(totals, tensors, strict=True):
        total.add_(tensor, alpha=times)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Torch's words for "no second derivative", with what to do about it."""
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        causes = {
            "heckpoint": "activation checkpointing: turn it off for curvature",
            "does not currently support double backward": "torch.compile: hand in the plain model "
            "for curvature",
            "derivative for": "an operation without a second derivative: use another kernel for "
            "curvature",
        }
        for sign, cause in causes.items():
            if sign in words:
                raise RuntimeError(
                    f"no second derivative through {cause} ({words.splitlines()[0]})"
                ) from error
        raise
