"""The sentence of each analysis: those of :mod:`.answers`, which the dashboard says too, and those
that only a report has.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from grace_geom.plots import clouds, layers
from grace_geom.plots.answers import (
    Names,
    apart,
    curvature,
    ends,
    landscape,
    percent,
    representation,
    robustness,
    sharpness,
    weights,
)
from grace_geom.plots.panels import Point, point
from grace_geom.plots.where_curved import where_curved
from grace_geom.records import Finding


def _measured(found: Sequence[Finding], key: str) -> dict[str, Point]:
    return {f.run: p for f in found if (p := point(f.value(key))) is not None}


def stability(found: Sequence[Finding], names: Names) -> str:
    """Of ``feature_stability``: in which run an attack moves the class centroids most and least."""
    of = {run: _moved(p) for run, p in _measured(found, "centroid_cosine/adv").items()}
    if not of:
        return ""
    said = ends(of, names, "least for", "most for", _two_digits)
    return (
        f"By 1 − cosine to the clean ones, an attack moves class centroids {said}."
        f"{_under_shift(found, names)}"
    )


def _under_shift(found: Sequence[Finding], names: Names) -> str:
    """The set on which the runs at both ends are furthest apart, if that is clear, and on how many
    others they are; a sentence of its own.
    """
    sets = [name for name in found[0].names("centroid_cosine") if name not in ("adv", "id")]
    clear, measured = list[tuple[float, str]](), 0
    for s in sets:
        of = {run: _moved(p) for run, p in _measured(found, f"centroid_cosine/{s}").items()}
        if len(of) < 2:
            continue
        measured += 1
        least, most = (pick(of, key=lambda run: of[run].value) for pick in (min, max))
        low, high = of[least], of[most]
        if apart(low, high):
            by = f"({_two_digits(high)} against {_two_digits(low)})"
            said = f"Under shift {names[most]} moves more than {names[least]} on {s} {by}"
            clear.append((high.value - low.value, said))
    if not measured:
        return ""
    if not clear:
        return " Under shift there is no clear difference."
    more, others = len(clear) - 1, measured - 1
    rest = "" if not others else "; elsewhere no difference is clear"
    if more:
        which = "the other set" if others == 1 else f"{more} of the other {others} sets"
        rest = f"; ends are clearly apart on {which}, too"
    return f" {max(clear)[1]}{rest}."


def _two_digits(p: Point) -> str:
    """``0.53 [0.43, 0.62]`` and ``0.0049 [0.0040, 0.0060]``."""
    size = max(abs(p.value), 1e-12)
    return clouds.in_digits(p, max(2, 1 - math.floor(math.log10(size))))


def _moved(cosine: Point) -> Point:
    """1 − cosine, as the figure draws it."""
    low, high = (None if end is None else 1 - end for end in (cosine.high, cosine.low))
    return Point(1 - cosine.value, low, high)


def isotropy(found: Sequence[Finding], names: Names) -> str:
    """Of ``anisotropy``: which run's features of ID images use the fewest and the most directions;
    where only weights were looked at, by the participation ratio of the curvature.
    """
    measures = {
        "features/id/effective_rank_centred/embedding": "By the effective rank of their embeddings "
        "ID images use",
        "curvature/participation_ratio": "By the participation ratio the curvature has",
    }
    for key, head in measures.items():
        if of := _measured(found, key):
            return f"{head} {ends(of, names, 'fewest directions for', 'most for')}."
    return ""


def bound(found: Sequence[Finding], names: Names) -> str:
    """Of ``bound_terms``: for which run proximity and sharpness together are least and most, each
    at the σ that is best for it."""
    of = {run: Point(2 * p.value) for run, p in _measured(found, "balanced").items()}
    if not of:
        return ""
    return f"Proximity and sharpness, at the best σ of each run, are {ends(of, names, 'least for', 'most for')}."


def gallery(found: Sequence[Finding], names: Names) -> str:
    """Of ``image_gallery``: of the shown ID images, how many the attack leaves right."""
    of = _measured(found, "right_adv/id")
    if not of:
        return ""
    said = ends(of, names, "fewest for", "most for", percent)
    return f"Of the ID images shown, which were chosen, those still right under attack are {said}."


def _curved(found: Sequence[Finding], names: Names) -> str:
    """Of ``hessian_spectrum``, as a whole and by matrix."""
    whole = curvature(found, names)
    return f"{whole} {where_curved(found)}".rstrip() if whole else ""


def _represented(found: Sequence[Finding], names: Names) -> str:
    """Of ``representation_drift``, on every distribution."""
    sets = layers.order([s for f in found for s in f.array_names("cka_layers")])
    return representation(found, names, sets)


ANSWERS: Mapping[str, Callable[[Sequence[Finding], Names], str]] = {
    "hessian_spectrum": _curved,
    "sharpness": sharpness,
    "loss_landscape": landscape,
    "parameter_drift": weights,
    "representation_drift": _represented,
    "feature_stability": stability,
    "anisotropy": isotropy,
    "robustness_curve": robustness,
    "image_gallery": gallery,
    "bound_terms": bound,
}
"""The sentence of each analysis; empty where there is nothing to answer from."""
