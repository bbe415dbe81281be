"""Drift of features in one pass over any number of images.

The numbers of :mod:`grace_geom.analysis.features.drift`, exact, from sums whose size does not
depend on how many images there are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.analysis.features.adversary import batches_of
from grace_geom.analysis.features.drift import MEASURES, PROCRUSTES_BOUNDS, WITHIN, Drift
from grace_geom.analysis.features.extract import Layers, read_features
from grace_geom.analysis.features.survey import FeaturePlan
from grace_geom.batch import Batch
from grace_geom.data import ImageSet, loader
from grace_geom.errors import UserError
from grace_geom.geometry.bootstrap import GROUPS, Interval, groups_of, jackknifed
from grace_geom.geometry.rows import unit
from grace_geom.geometry.streaming import PairSums, Shifted, StreamingCka
from grace_geom.models import ClipClassifier

Pair = tuple[Layers, Layers]


def bytes_needed(widths: Sequence[int], groups: int = GROUPS) -> int:
    """Memory of the sums for layers of these widths: six products a layer and group, and all pairs
    of layers once.
    """
    own = sum(d * d for d in widths)
    return 8 * (6 * groups * own + sum(widths) ** 2 + 2 * own)


def streamed_drift(
    pairs: Iterable[Pair], n: int, *, replicates: int = 100, seed: int = 0, groups: int = GROUPS
) -> Drift:
    """Compare two feature sets image by image as they come; nothing but sums is kept.

    Intervals come from half-samples as in :func:`grace_geom.geometry.bootstrap.half_sample`, of
    random groups of images instead of single ones; those of Procrustes from leaving each group out
    in turn, as in :func:`grace_geom.geometry.bootstrap.jackknife`. The layer x layer matrix has
    values only. Duplicates are not counted.

    Args:
        pairs: Batch by batch: layer -> rows ``(b, d)`` of the reference, and of what is compared to
            it.
        n: Images to come, at most.
        replicates: Half-samples.
        seed: Of the groups and half-samples.
        groups: How many; even.

    Raises:
        UserError: If there are no images, or the layers differ.
    """
    rng = np.random.default_rng(seed)
    group_of = groups_of(rng, n, groups)
    cross, seen = StreamingCka(), 0
    sums: dict[tuple[str, int], LayerSums] = {}
    shift: dict[str, tuple[Tensor, Tensor]] = {}
    bad: dict[str, int] = {}
    for a, b in pairs:
        if list(a) != list(b):
            raise UserError(
                f"the towers have different layers ({len(a)} and {len(b)}): compare checkpoints of "
                "one model"
            )
        rows = len(next(iter(a.values())))
        here = torch.from_numpy(group_of[seen : seen + rows])
        seen += rows
        cross.update(list(a.values()), list(b.values()))
        for layer in a:
            X, Y = a[layer].cpu().double(), b[layer].cpu().double()
            bad[layer] = bad.get(layer, 0) + int(
                (~(X.isfinite().all(dim=1) & Y.isfinite().all(dim=1))).sum()
            )
            shift.setdefault(layer, (X.mean(dim=0), Y.mean(dim=0)))
            for group in here.unique().tolist():
                found = sums.setdefault((layer, group), LayerSums(*shift[layer]))
                found.add(X[here == group], Y[here == group])
    if not seen:
        raise UserError("there are no images to collect features of")
    layers = tuple(bad)
    there = sorted({group for _, group in sums})
    statistics = [
        _intervals(
            {g: sums[layer, g] for g in there if (layer, g) in sums},
            _halves(rng, there, replicates),
        )
        for layer in layers
    ]
    value, error, low, high = (
        np.array([getattr(s, side) for s in statistics])
        for side in ("value", "error", "low", "high")
    )
    how = f"half-samples of {len(there)} groups of images"
    every = Interval(value, error, low, high, 0.95, replicates, how)
    columns = {name: every.at(np.s_[:, i]) for i, name in enumerate(_names())}
    columns["procrustes"] = _procrustes(sums, layers, there)
    matrix = cross.cka().cpu().numpy()
    nothing = np.full_like(matrix, np.nan)
    remarks = {
        layer: f"{count} of {seen} rows hold NaN or infinity"
        for layer, count in bad.items()
        if count
    }
    for i, layer in enumerate(layers):
        if layer not in remarks and np.isnan(columns["cka"].at(i).value):
            few = f"{seen} rows; unbiased estimates need 4"
            remarks[layer] = "the features are the same for every image" if seen >= 4 else few
    return Drift(layers, Interval(matrix, nothing, nothing, nothing, 0.95, 0), columns, remarks)


def streams(
    reference: ClipClassifier,
    checkpoint: ClipClassifier,
    id_set: ImageSet,
    ood: Mapping[str, ImageSet],
    x_adv: np.ndarray,
    plan: FeaturePlan,
) -> dict[str, tuple[Iterator[Pair], int]]:
    """Distribution -> (pairs for :func:`streamed_drift`, number of images), and ``clean-adv`` of
    the checkpoint alone.

    Nothing is read before a stream is iterated; each is one pass over its images.
    """

    def features(
        models: Mapping[str, ClipClassifier], batches: Iterable[Batch]
    ) -> Iterator[dict[str, Layers]]:
        """Features of each batch at the plan's layers, by model."""
        return (
            found for _, found in read_features(models, batches, pool=plan.pool, layers=plan.layers)
        )

    def clean(image_set: ImageSet) -> Iterable[Batch]:
        inputs, device = checkpoint.preprocess.at(plan.size), checkpoint.device
        return loader(image_set, plan.batch, inputs, train=False, workers=None, device=device)

    def attacked() -> Iterable[Batch]:
        return batches_of(x_adv, id_set.labels, plan.batch)

    both, alone = {"a": reference, "b": checkpoint}, {"b": checkpoint}
    found: dict[str, tuple[Iterator[Pair], int]] = {
        name: (((f["a"], f["b"]) for f in features(both, clean(here))), len(here))
        for name, here in {"id": id_set, **ood}.items()
    }
    found["adv"] = (((f["a"], f["b"]) for f in features(both, attacked())), len(id_set))
    sides = zip(features(alone, clean(id_set)), features(alone, attacked()), strict=True)
    found[WITHIN] = (((a["b"], b["b"]) for a, b in sides), len(id_set))
    return found


class LayerSums:
    """What all measures of one layer need of some images: sums over their rows, and over their rows
    at length 1.
    """

    def __init__(self, shift_x: Float[Tensor, " d1"], shift_y: Float[Tensor, " d2"]) -> None:
        self.n = 0
        self.shift = (shift_x, shift_y)
        self.pairs = [PairSums(), PairSums(), PairSums()]  # X with Y, X with X, Y with Y
        zero = torch.zeros((), dtype=torch.float64)
        self.units: list[Tensor] = [zero, zero, zero]

    def add(self, X: Float[Tensor, " b d1"], Y: Float[Tensor, " b d2"]) -> None:
        """Some more images."""
        self.n += len(X)
        x, y = (Shifted(Z - shift) for Z, shift in zip((X, Y), self.shift, strict=True))
        for sums, (a, b) in zip(self.pairs, ((x, y), (x, x), (y, y)), strict=True):
            sums.add(a, b)
        u, v = unit(X), unit(Y)
        self.units = [
            total + a.T @ b
            for total, (a, b) in zip(self.units, ((u, v), (u, u), (v, v)), strict=True)
        ]

    def __add__(self, other: "LayerSums") -> "LayerSums":
        total = LayerSums(*self.shift)
        total.n = self.n + other.n
        total.pairs = list(map(add, self.pairs, other.pairs))
        total.units = list(map(add, self.units, other.units))
        return total

    def measures(self) -> np.ndarray:
        """In the order of ``MEASURES``, without the Gaussian kernel; NaN where a layer is constant
        or not finite.
        """
        n = self.n
        h_xy = self.pairs[0].hsic(n)
        h_x, h_y = (
            sums.own(n, shift) for sums, shift in zip(self.pairs[1:], self.shift, strict=True)
        )
        C, Cx, Cy = (sums.centred(n) for sums in self.pairs)
        if not (h_x.isfinite() and h_y.isfinite()):
            return np.full(len(_names()), np.nan)
        values = [h_xy / (h_x * h_y).sqrt(), _distance(C, Cx, Cy)]
        for cross, own_x, own_y in ((C, Cx, Cy), tuple(self.units)):
            a, b = own_x.norm(), own_y.norm()
            cosine = (cross.square().sum() / (a * b)).clamp(max=1.0)
            values += [(2 - 2 * cosine).sqrt(), torch.arccos(cosine), torch.log(b / a)]
        return torch.stack(values).numpy()

    def procrustes(self) -> float:
        """Alone, for many groups left out in turn; NaN as in :meth:`measures`."""
        sides = zip(self.pairs[1:], self.shift, strict=True)
        if not all(sums.own(self.n, shift).isfinite() for sums, shift in sides):
            return np.nan
        return _distance(*(sums.centred(self.n) for sums in self.pairs)).item()


def _distance(C: Tensor, Cx: Tensor, Cy: Tensor) -> Tensor:
    """Procrustes from centred cross-products."""
    nuclear = torch.linalg.svdvals(C).sum() / (Cx.trace() * Cy.trace()).sqrt()
    return (2 - 2 * nuclear).clamp(min=0)


def _names() -> list[str]:
    return [name for name in MEASURES if name != "rbf_cka"]


def _procrustes(
    sums: Mapping[tuple[str, int], LayerSums], layers: Sequence[str], groups: Sequence[int]
) -> Interval:
    """Of every layer, corrected for bias: each group's sums left out in turn."""
    whole, rest = [], []
    for layer in layers:
        own = {g: sums[layer, g] for g in groups}
        whole.append(reduce(add, own.values()).procrustes())
        rest.append(
            [
                reduce(add, (own[g] for g in groups if g != left)).procrustes()
                if len(groups) > 1
                else np.nan
                for left in groups
            ]
        )
    sizes = np.array([sums[layers[0], g].n for g in groups])
    return jackknifed(np.array(whole), np.array(rest).T, sizes, PROCRUSTES_BOUNDS)


def _halves(rng: np.random.Generator, groups: Sequence[int], replicates: int) -> list[np.ndarray]:
    return [
        rng.choice(np.array(groups), len(groups) // 2, replace=False) for _ in range(replicates)
    ]


def _intervals(
    sums: Mapping[int, LayerSums], halves: Sequence[np.ndarray], level: float = 0.95
) -> Interval:
    value = reduce(add, sums.values()).measures()
    if len(sums) < 4 or len(halves) < 2:
        nothing = np.full_like(value, np.nan)
        return Interval(value, nothing, nothing, nothing, level, len(halves))
    drawn = np.stack([reduce(add, (sums[g] for g in half.tolist())).measures() for half in halves])
    kept = len(sums) // 2
    spread = np.sqrt(kept / (len(sums) - kept)) * (drawn - drawn.mean(axis=0))
    tail = (1 - level) / 2
    low, high = np.quantile(spread, [tail, 1 - tail], axis=0)
    return Interval(
        value, spread.std(axis=0, ddof=1), value + low, value + high, level, len(halves)
    )
