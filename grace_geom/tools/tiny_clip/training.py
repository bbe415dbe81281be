"""Contrastive pretraining of a small CLIP (Radford et al. 2021, sec. 2.3) on pictures and captions
that fit in memory.

Two economies make it possible on a CPU: captions are cut to the longest of the batch, and only the
rows of the token embedding that some caption or prompt uses are trained; the others are zero.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from open_clip import CLIP
from torch import Tensor, nn
from torch.nn import functional as F

from grace_geom.errors import UserError
from grace_geom.models.vit import shape_of, vit
from grace_geom.tools.tiny_clip.loss import contrastive_loss, encode_tokens
from grace_geom.tools.tiny_clip.pairs import Pairs

Report = Callable[[int, float, float], None]
LOG_EVERY = 20
MAX_SCALE = 100.0  # as CLIP: a larger logit scale makes training unstable


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: Optimiser steps.
        batch_size: Pairs a step.
        lr: Peak learning rate of AdamW, reached after ``warmup`` of the steps, then a cosine to
            zero.
        warmup: Share of the steps.
        weight_decay: Of matrices; gains, biases, positions and token rows have none.
        seed: Of the order of the pairs.
    """

    steps: int = 4000
    batch_size: int = 128
    lr: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.1
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step counted from 0."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return self.lr * (step + 1) / rise
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))


@dataclass
class LossCurve:
    """What a pretraining logged: one entry every few steps."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Pretrainer:
    """A CLIP in training: the weights, their optimiser and the token rows in use.

    Args:
        clip: An open_clip model with the plain causal text tower; it is trained in place, on
            ``device``.
        pairs: Training pairs, on the CPU.
        schedule: Length and rates.
        keep_tokens: Token ids whose rows stay (prompts, class names) though no caption has them.
        device: Where to compute.

    Raises:
        UserError: If the text tower is of another kind.
    """

    def __init__(
        self,
        clip: nn.Module,
        pairs: Pairs,
        schedule: Schedule,
        keep_tokens: Int[Tensor, " k"],
        device: torch.device,
    ) -> None:
        if not isinstance(clip, CLIP) or clip.text_pool_type != "argmax" or clip.attn_mask is None:
            raise UserError(
                "pretraining needs a model with open_clip's plain causal text tower (pool_type "
                "argmax)"
            )
        self.clip, self.pairs, self.schedule, self.device = clip.to(device), pairs, schedule, device
        self.shape = shape_of(clip.visual)
        used, self.tokens = _compact(pairs.tokens, keep_tokens)
        self.used = used.to(device)
        self.rows = nn.Parameter(clip.token_embedding.weight.detach()[self.used].clone())
        with torch.no_grad():
            clip.token_embedding.weight.zero_()
        self.optimiser = torch.optim.AdamW(
            _groups(clip, self.rows, schedule.weight_decay), betas=(0.9, 0.98)
        )
        self.mean, self.std = (
            torch.tensor(clip.visual.preprocess_cfg[k], device=device)[:, None, None]
            for k in ("mean", "std")
        )

    def loss(self, batch: Int[Tensor, " b"]) -> Tensor:
        """Contrastive loss of the pairs at these positions."""
        words = self.tokens[batch]
        words = words[:, : int(words.argmax(1).max()) + 1].to(self.device)
        pixels = self.pairs.images[batch].to(self.device).permute(0, 3, 1, 2).float() / 255
        image = F.normalize(self._encode_image((pixels - self.mean) / self.std), dim=-1)
        text = F.normalize(encode_tokens(self.clip, words, self.rows), dim=-1)
        return contrastive_loss(
            image, text, self.clip.logit_scale.exp(), self.pairs.caption[batch].to(self.device)
        )

    def _encode_image(self, x: Tensor) -> Tensor:
        if self.shape is None:
            return self.clip.encode_image(x)
        return vit(
            self.shape, dict(self.clip.visual.named_parameters()), x
        )  # the same numbers, sooner

    def step(self, step: int, batch: Int[Tensor, " b"]) -> Tensor:
        """One optimiser step; the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr_at(step)
        loss = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(
            [p for group in self.optimiser.param_groups for p in group["params"]], 1.0
        )
        self.optimiser.step()
        with torch.no_grad():
            self.clip.logit_scale.clamp_(max=math.log(MAX_SCALE))
        return loss.detach()

    @torch.no_grad()
    def settle(self) -> None:
        """Write the token rows back into the model, which is then whole."""
        self.clip.token_embedding.weight[self.used] = self.rows


def pretrain(
    clip: nn.Module,
    pairs: Pairs,
    schedule: Schedule,
    keep_tokens: Int[Tensor, " k"],
    device: torch.device,
    report: Report = lambda step, loss, seconds: None,
) -> LossCurve:
    """Train ``clip`` in place; it is left on the CPU in eval mode.

    Args:
        clip: As :class:`Pretrainer`, and so are ``pairs``, ``schedule``, ``keep_tokens`` and
            ``device``.
        pairs: See there.
        schedule: See there.
        keep_tokens: See there.
        device: See there.
        report: Called with (step, loss, seconds) every :data:`LOG_EVERY` steps; ``clip`` is whole
            at that moment.

    Raises:
        UserError: If the text tower is of another kind, or the loss is no longer finite.
    """
    trainer = Pretrainer(clip, pairs, schedule, keep_tokens, device)
    clip.train()
    curve, start = LossCurve(), time.perf_counter()
    for step, batch in enumerate(batches(len(pairs), schedule)):
        loss = trainer.step(step, batch)
        if step % LOG_EVERY == 0 or step == schedule.steps - 1:
            _log(curve, step, loss.item(), time.perf_counter() - start)
            trainer.settle()
            report(step, curve.loss[-1], curve.seconds[-1])
    clip.eval().cpu()
    return curve


def _log(curve: LossCurve, step: int, loss: float, seconds: float) -> None:
    if not math.isfinite(loss):
        raise UserError(f"the loss of step {step} is {loss}: lower --lr")
    curve.step.append(step)
    curve.loss.append(loss)
    curve.seconds.append(seconds)


def _compact(tokens: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Ids in use, ascending (so the end-of-text token stays the largest), and the tokens as
    positions among them.
    """
    used = torch.unique(torch.cat([tokens.flatten(), keep.flatten()]))
    return used, torch.searchsorted(used, tokens)


def _groups(clip: CLIP, rows: nn.Parameter, weight_decay: float) -> list[dict[str, object]]:
    decayed: list[nn.Parameter] = []
    plain = [rows]
    for name, p in clip.named_parameters():
        if name == "token_embedding.weight":
            continue
        (decayed if p.ndim >= 2 and "positional" not in name else plain).append(p)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def batches(n: int, schedule: Schedule) -> Iterator[Tensor]:
    """Positions of each step's pairs: whole shuffled passes over the data, one after the other."""
    generator = torch.Generator().manual_seed(schedule.seed)
    size = min(schedule.batch_size, n)
    left = torch.empty(0, dtype=torch.long)
    for _ in range(schedule.steps):
        if len(left) < size:
            left = torch.randperm(n, generator=generator)
        batch, left = left[:size], left[size:]
        yield batch
