"""Low-rank factors beside the weights they change, as loralib, PEFT and kohya name them."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from grace_geom.errors import UserError
from grace_geom.weights import Weights

SIDE = re.compile(
    r"^(?:(?P<stem>.+)_)?(?:w_)?lora_(?P<embedding>embedding_)?(?P<side>A|B|a|b|down|up)$"
)
QKV = ("q", "k", "v")
CLOSE = 0.05
"""Share of a weight's move that its low-rank factors may leave unexplained."""
HALF = 4e-3
"""Relative rounding of a weight in half precision (bfloat16)."""


@dataclass
class Pair:
    """``A`` (r, in) and ``B`` (out, r) of one weight; convolutions have more axes.

    Attributes:
        module: What the names say before ``lora_A``.
        adapter: PEFT's name of the adapter, or ``""``.
        names: Their names in the file.
        sides: The factors by ``"A"`` and ``"B"``.
        alpha: kohya's tensor beside the factors.
        embedding: The product is that of a transposed weight.
    """

    module: str
    adapter: str
    names: list[str]
    sides: dict[str, Tensor]
    alpha: float | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        """r."""
        return int(self.sides["A"].shape[0])

    def product(self) -> Tensor:
        """``B A`` in double precision, two axes."""
        A, B = (self.sides[side].double().flatten(1) for side in ("A", "B"))
        return (B @ A).T if self.embedding else B @ A


def split_pairs(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path | str
) -> tuple[dict[str, Tensor], list[Pair]]:
    """The other tensors of a file, and its pairs.

    Raises:
        UserError: If a factor has no partner, or does not fit it, or a weight has several adapters.
    """
    rest, pairs = {}, {}  # type: ignore[var-annotated]
    for name, w in found.items():
        parsed = _parsed(name, wanted)
        if parsed is None:
            rest[name] = w
            continue
        module, adapter, side, embedding = parsed
        pair = pairs.setdefault((module, adapter), Pair(module, adapter, [], {}))
        pair.names.append(name)
        pair.sides[side], pair.embedding = w, embedding
    for pair in pairs.values():
        if alpha := rest.pop(f"{pair.module}.alpha", None) if pair.sides else None:
            pair.alpha = float(alpha)
    for pair in pairs.values():
        _check(pair, path)
    modules = [module for module, _ in pairs]
    if twice := [module for module in modules if modules.count(module) > 1]:
        names = sorted(adapter for module, adapter in pairs if module == twice[0])
        raise UserError(
            f"{path} has several adapters of {twice[0]} ({', '.join(names)}): merge the one that "
            "is meant (PEFT: merge_and_unload) and save that"
        )
    return rest, list(pairs.values())


def _parsed(name: str, wanted: Mapping[str, Tensor]) -> tuple[str, str, str, bool] | None:
    parts = name.split(".")
    if len(parts) > 1 and parts[-1] in ("A", "B") and ".".join(parts[:-1]).endswith("weight"):
        return ".".join(parts[:-1]), "", parts[-1], False
    for i, part in enumerate(parts):
        match = SIDE.match(part)
        if match is None:
            continue
        after = [p for p in parts[i + 1 :] if p != "weight"]
        if len(after) > 1 or after == ["bias"]:
            return None
        stem = [match["stem"]] if match["stem"] else []
        side = {"down": "A", "up": "B"}.get(match["side"], match["side"].upper())
        return ".".join([*parts[:i], *stem]), "".join(after), side, bool(match["embedding"])
    return None


def _check(pair: Pair, path: Path | str) -> None:
    if pair.sides.keys() != {"A", "B"}:
        raise UserError(f"{path} has {pair.names[0]} without its partner: merge and save again")
    A, B = pair.sides["A"], pair.sides["B"]
    if A.ndim < 2 or B.ndim < 2 or A.shape[0] != B.shape[1] or not A.is_floating_point():
        raise UserError(
            f"{path} has low-rank factors that do not fit each other: {pair.names[0]} "
            f"{tuple(A.shape)}, {pair.names[-1]} {tuple(B.shape)}"
        )


def target_of(module: str, wanted: Mapping[str, Tensor]) -> tuple[str, slice] | None:
    """The weight that a pair changes, and which of its rows: a third for ``q_proj`` of a fused
    attention.
    """
    for name in (f"{module}.weight", module, f"{module}.in_proj_weight", f"{module}_weight"):
        if name in wanted and wanted[name].ndim > 1:
            return name, slice(None)
    stem, _, last = module.rpartition(".")
    fused = f"{stem}.in_proj_weight"
    if last.endswith("_proj") and last[:-5] in QKV and fused in wanted:
        third, i = wanted[fused].shape[0] // 3, QKV.index(last[:-5])
        return fused, slice(i * third, (i + 1) * third)
    return None


@dataclass(frozen=True)
class LoraScale:
    """What multiplies ``B A``: ``alpha / r``, or ``alpha / sqrt(r)`` for rank-stabilised LoRA."""

    alpha: float
    rank: int | None
    root: bool = False

    def of(self, rank: int) -> float:
        """The factor of a pair of this rank."""
        return self.alpha / (math.sqrt(rank) if self.root else rank)


def stated_scale(content: Any, path: Path) -> LoraScale | None:
    """``lora_alpha`` as the file itself says it, or PEFT's ``adapter_config.json`` beside it.

    Raises:
        UserError: If it is said twice, differently, or in a way that is not a plain factor.
    """
    found = list(_settings(content, 0))
    beside = path.parent / "adapter_config.json"
    if beside.is_file():
        try:
            found += list(_settings(json.loads(beside.read_text(encoding="utf-8")), 0))
        except (ValueError, OSError):
            raise UserError(f"{beside} is not JSON") from None
    for settings in found:
        if odd := [
            key
            for key in ("use_dora", "rank_pattern", "alpha_pattern", "lora_bias", "fan_in_fan_out")
            if settings.get(key)
        ]:
            raise UserError(f"{path}: LoRA with {odd[0]} is not read here: merge and save again")
    scales = {
        LoraScale(float(s["lora_alpha"]), s.get("r", s.get("lora_r", s.get("rank"))), bool(s.get("use_rslora")))
        for s in found
    }  # fmt: skip
    if len(scales) > 1:
        raise UserError(f"{path} says two different values of lora_alpha: merge and save again")
    return next(iter(scales), None)


def _settings(content: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Every dictionary that has a number ``lora_alpha``."""
    if not isinstance(content, Mapping) or depth > 4:
        return
    alpha = content.get("lora_alpha")
    alpha = alpha.item() if isinstance(alpha, Tensor) and alpha.numel() == 1 else alpha
    if isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and math.isfinite(alpha):
        ranks = {k: int(content[k]) for k in ("r", "lora_r", "rank") if type(content.get(k)) is int}
        yield {**content, "lora_alpha": float(alpha), **ranks}
    for value in content.values():
        yield from _settings(value, depth + 1)


def merge(
    weights: Weights, pairs: list[Pair], scale: LoraScale | None, base: Weights | None, *,
    separate: bool, path: Path | str,
) -> str:  # fmt: skip
    """Add ``s B A`` to the weights in place, where it is not in them already.

    loralib (and old PEFT) merges in ``eval()`` and keeps the pairs beside the sum, so names alone
    do not tell: the pretrained weights do.

    Args:
        weights: The file's, under open_clip names.
        pairs: Of the same file.
        scale: What the file says of s.
        base: The pretrained weights, where they were named.
        separate: The names say that the weights are those without the product (``base_layer``).
        path: For messages.

    Returns:
        What was done, in words.

    Raises:
        UserError: If s, or whether the weights hold the product already, cannot be known.
    """
    live = [pair for pair in pairs if pair.sides["B"].count_nonzero()]
    named = f"{pairs[0].names[0]} and {2 * len(pairs) - 1} more"
    added = 0
    for pair in live:
        found = target_of(pair.module, weights)
        delta = pair.product()
        if found is None or weights[found[0]][found[1]].numel() != delta.numel():
            raise UserError(
                f"{path} has low-rank factors of a weight that the model does not have in this "
                f"shape: {pair.names[0]}; merge and save again"
            )
        name, rows = found
        held = weights[name][rows].double().reshape(delta.shape)
        before = None if base is None else base[name][rows].double().reshape(delta.shape)
        s = _factor(pair, scale, held, before, delta, separate, named, path)
        if s:
            added += 1
            total = weights[name].clone()
            total[rows] = (held + s * delta).reshape(total[rows].shape).to(total)
            weights[name] = total
    if added == 0:
        return f"its {len(pairs)} pairs of low-rank factors are in its weights already"
    return f"{added} of its {len(pairs)} pairs of low-rank factors were merged"


def _factor(
    pair: Pair, scale: LoraScale | None, held: Tensor, before: Tensor | None, delta: Tensor,
    separate: bool, named: str, path: Path | str,
) -> float:  # fmt: skip
    """What must still be added of a pair: s, or 0 where the weight holds it already."""
    if pair.alpha is not None:
        scale = LoraScale(pair.alpha, None)
    if scale is not None and scale.rank not in (None, pair.rank):
        raise UserError(f"{path} says r = {scale.rank}, but {pair.names[0]} has {pair.rank}")
    s = None if scale is None else scale.of(pair.rank)
    if before is not None:
        moved = held - before
        if s is None:
            own = (moved * delta).sum() / delta.square().sum()  # by least squares
            if moved.any() and (moved - own * delta).norm() <= CLOSE * moved.norm():
                return 0.0
        else:
            without, within = float(moved.norm()), float((moved - s * delta).norm())
            near, far = sorted((without, within))
            if near > HALF * before.norm() or near > far / 3:
                raise UserError(
                    f"{path} holds low-rank factors ({named}), and weights that are neither the "
                    "pretrained ones nor those with the factors merged: merge and save again"
                )
            return s if without < within else 0.0
    if s is None:
        raise UserError(
            f"{path} holds low-rank factors ({named}) and does not say their scale: save the merged "
            'weights, or write adapter_config.json beside it: {"lora_alpha": ..., "r": ...}'
        )
    if before is None and not separate:
        raise UserError(
            f"{path} holds low-rank factors ({named}), and nothing says whether its weights hold "
            "them already: add --pretrained with the weights it was tuned from, or save the "
            "merged weights"
        )
    return s
