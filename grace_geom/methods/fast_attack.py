"""The gradient of a training attack by faster ways than one operator after another: compiled, or
replayed from a CUDA graph.

A PGD step on a GPU is hundreds of kernels. With small batches the host cannot start them as fast
as they end; a graph starts all of them at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from grace_geom.attacks.pgd import input_gradient
from grace_geom.batch import Batch
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights

Mode = Literal["off", "attack", "graphs"]
Raised = Callable[[ClipClassifier, Weights, Int[Tensor, " b"], Tensor], Tensor]
"""``(model, weights, labels, x) -> (B,)``, what an attack raises of each image."""
Gradient = Callable[[Float[Tensor, " b c h w"]], Float[Tensor, " b c h w"]]
WARM_UP = 3
"""Calls before a capture, in which libraries choose their kernels and take their workspaces."""


def cross_entropy(model: ClipClassifier, fixed: Weights, labels: Tensor, x: Tensor) -> Tensor:
    """``(B,)`` cross-entropy of the true class at these weights."""
    return F.cross_entropy(model(x, fixed), labels, reduction="none")


def capture(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """A CUDA graph of ``work``, which reads and writes memory that stays where it is.

    Returns:
        How to run it again, and the tensor that it leaves its result in.

    Raises:
        RuntimeError: If it waits for the device, or does anything else that no graph can hold.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class Graph:
    """The gradient at weights and labels that are copied into the graph's own memory.

    Args:
        model: The classifier.
        raised: What the attack raises.
        fixed: Effective weights, of which the shapes are kept.
        batch: Images and labels, likewise.
        capture: See :func:`capture`.
    """

    def __init__(
        self, model: ClipClassifier, raised: Raised, fixed: Weights, batch: Batch, capture: Any
    ) -> None:
        self.fixed = {name: w.detach().clone() for name, w in fixed.items()}
        self.labels, self.x = batch.labels.clone(), batch.images.clone()

        def work() -> Tensor:
            return input_gradient(lambda x: raised(model, self.fixed, self.labels, x), self.x)

        with torch.enable_grad():
            self.replay, self.result = capture(work)

    def at(self, fixed: Weights, batch: Batch) -> Gradient:
        """The gradient at other weights and labels of the same shapes."""
        torch._foreach_copy_(list(self.fixed.values()), [fixed[name] for name in self.fixed])
        self.labels.copy_(batch.labels)

        def gradient(x: Tensor) -> Tensor:
            self.x.copy_(x)
            self.replay()
            return self.result

        return gradient


@dataclass
class FastAttack:
    """How the gradients of an attack are computed. What cannot be had is told and left.

    Attributes:
        mode: ``off``, ``attack`` (``torch.compile``) or ``graphs``; ``off`` after it failed.
        tell: Told ``{asked, used, reason}``: when the first gradient was found, and when it is
            given up, be it later.
        compiler: From a function to a compiled one.
        capture: From work to its replay, see :func:`capture`.
    """

    mode: Mode = "off"
    tell: Callable[[dict[str, Any]], None] = lambda record: None
    compiler: Callable[..., Callable[[Tensor], Tensor]] = torch.compile
    capture: Callable[..., Any] = capture
    _graphs: dict[tuple[Any, ...], Graph] = field(default_factory=dict)
    _told: bool = False

    def gradient(
        self,
        model: ClipClassifier,
        raised: Callable[[Tensor], Tensor],
        fixed: Weights,
        batch: Batch,
        graph_loss: Raised | None,
    ) -> Gradient | None:
        """``x -> `` the gradient of ``raised``, summed over images; ``None`` for the usual way.

        Args:
            model: The classifier.
            raised: ``x -> (B,)``, what the attack raises at ``fixed``.
            fixed: Effective weights.
            batch: Images and labels.
            graph_loss: The same as a function of weights and labels; ``None`` where it depends on
                more.

        Raises:
            torch.OutOfMemoryError: The graph's memory is its own, and stays taken.
        """
        if self.mode == "attack":
            return self._compiled(raised)
        if self.mode == "graphs":
            return self._graphed(model, fixed, batch, graph_loss)
        return None

    def refuse(self, reason: str) -> None:
        """Say that the attack is computed the usual way, if another was asked for."""
        if self.mode != "off":
            self._give_up(reason)

    def end(self) -> None:
        """Say that nothing was computed, if another way than the usual was asked for."""
        if not self._told:
            self.refuse("the run made no attack")

    def forget(self) -> None:
        """Give the memory of all graphs back; they are captured anew."""
        self._graphs.clear()

    def _compiled(self, raised: Callable[[Tensor], Tensor]) -> Gradient:
        compiled = self.compiler(raised)

        def gradient(x: Tensor) -> Tensor:
            """The gradient of the loss in the images, compiled until a compiler fails."""
            if self.mode == "off":
                return input_gradient(raised, x)
            try:
                found = input_gradient(compiled, x)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # what compilers raise, and what the attack itself does
                self._give_up(f"torch.compile failed: {_first_line(error)}")
                return input_gradient(raised, x)
            self._works()
            return found

        return gradient

    def _graphed(
        self, model: ClipClassifier, fixed: Weights, batch: Batch, raised: Raised | None
    ) -> Gradient | None:
        if batch.images.device.type != "cuda":
            self._give_up("CUDA graphs need a CUDA device")
            return None
        if raised is None:
            self._give_up("this method's attack depends on more than weights and labels")
            return None
        key = (*batch.images.shape, *fixed, model.autocast_dtype)
        if key not in self._graphs:
            try:
                self._graphs[key] = Graph(model, raised, fixed, batch, self.capture)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._give_up(f"no CUDA graph could be captured: {_first_line(error)}")
                return None
            self._works()
        return self._graphs[key].at(fixed, batch)

    def _give_up(self, reason: str) -> None:
        asked, self.mode = self.mode, "off"
        self.forget()
        self.tell({"asked": asked, "used": "off", "reason": reason})

    def _works(self) -> None:
        if not self._told:
            self._told = True
            self.tell({"asked": self.mode, "used": self.mode, "reason": ""})


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
