"""The form of every array that the pages draw: dimensions of one letter agree within a run."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from grace_geom.records import Result, number

FORMS = {
    "hessian_spectrum": {"density_nodes": "m k", "density_weights": "m k"},
    "sharpness": {"(ce|adv-ce)/[^/]+": "? 2+"},
    "loss_landscape": {
        "(random|eigen)": "2+ ?", "random_more": "? ?", "contour": "c c", "contour_axis": "c", "line/.*": "p",
        "(blocks|block_shapes)": "text",
    },
    "representation_drift": {
        "layers": "text l", "cka_layers/.*": "l l",
        "(cka|gram_chord|gram_chord_centred|log_norm_ratio|procrustes)/.*": "3 l",
    },
    "feature_stability": {
        "pca_share": "3+", "pca/.*": "? 3+", "class_names": "text",
        "(gram_volume|cos_id_adv|cos_adv_awp)": "?", "pca_label/(.*)": "?", "pca_index/.*": "?",
        "umap/.*": "? 2",
    },
    "anisotropy": {"features/(layers|sets)": "text", "features/.*/spectrum/.*": "?"},
    "parameter_drift": {"blocks": "text b", "singular_values": "b ?"},
    "robustness_curve": {
        "falls/.*": "n", "labels": "n", "margin": "?", "class_names": "text",
        "example_(clean|adv|delta)": "e h w 3", "example_(before|after)": "text e",
    },
    "image_gallery": {
        "(set|key|label)": "text m", "(index|hard)": "m", "(clean|adv|delta)": "m h w 3",
        "(margin|saliency_white)_(clean|adv)": "m", "top_(clean|adv)": "text m t",
        "p_(clean|adv)": "m t", "(saliency|attention|rollout)_(clean|adv)": "m h w",
    },
}  # fmt: skip
"""Analysis -> pattern of an array's name -> its dimensions, a number, ``N+`` at least N, ``?`` any;
``text`` before them for names.
"""


NEEDED = (
    (r"density_nodes", "density_weights"), (r"contour", "contour_axis"), (r"line/.*", "line/t"),
    (r"pca/(.*)", r"pca_label/\1"), (r"pca/.*", "pca_share"), (r"singular_values", "blocks"),
    (r"(cka|cka_layers|gram_chord|procrustes)/.*", "layers"), (r"falls/.*", "labels"),
    *(("key", f"{name}_{side}") for side in ("clean", "adv")
      for name in ("margin", "top", "p", "saliency", "saliency_white")),
    *(("key", name) for name in ("set", "label", "index", "hard", "clean", "adv", "delta")),
)  # fmt: skip
"""Which array is of no use without which other."""


def misfits(result: Result) -> list[str]:
    """What is wrong with the arrays of a result, a sentence each; none where they can be drawn."""
    if wrong := _setting(result):
        return [wrong]
    shapes = (
        tuple((name, a.dtype.kind == "U", a.shape) for name, a in part.arrays.items())
        for part in result.parts.values()
    )
    return [wrong for each in shapes for wrong in _of_part(result.name, each)]


def _setting(result: Result) -> str:
    """What is wrong with a setting that the pages compute with; empty where nothing is."""
    known = result.settings
    if "eps" in known and number(known["eps"]) is None:
        return "the setting eps is no number"
    radii = known.get("radii", [])
    if not isinstance(radii, list) or any(number(r) is None for r in radii):
        return "the setting radii is no list of numbers"
    attacks = known.get("attacks", [])
    if not isinstance(attacks, list) or not all(isinstance(a, str) for a in attacks):
        return "the setting attacks is no list of names"
    return ""


Shapes = tuple[tuple[str, bool, tuple[int, ...]], ...]
"""Of arrays: name, whether it holds text, shape."""


@lru_cache(maxsize=256)  # the runs of an analysis mostly have arrays of the same shapes
def _of_part(analysis: str, arrays: Shapes) -> tuple[str, ...]:
    """What is wrong with the arrays of one run, a sentence each."""
    return tuple(_wrong(arrays, FORMS.get(analysis, {})))


def _wrong(arrays: Shapes, forms: dict[str, str]) -> Iterator[str]:
    sides, there = dict[str, int](), {name for name, _, _ in arrays}
    for name, _, _ in arrays:
        for pattern, other in NEEDED:
            found = re.fullmatch(pattern, name)
            if found and (wanted := found.expand(other)) not in there:
                yield f"array {name!r} is there without {wanted!r}"
    for name, is_text, shape in arrays:
        form = next((f for pattern, f in forms.items() if re.fullmatch(pattern, name)), None)
        if form is None:
            continue
        text, form = form.startswith("text"), form.removeprefix("text").strip()
        sizes = form.split() or ["?"]
        if text != is_text:
            yield f"array {name!r} holds {'text' if is_text else 'numbers'}"
        elif len(sizes) != len(shape) or not all(map(_fits(sides), sizes, shape)):
            yield f"array {name!r} has shape {shape}, wanted ({', '.join(sizes)})"


def _fits(sides: dict[str, int]) -> Callable[[str, int], bool]:
    def fits(wanted: str, size: int) -> bool:
        """Whether a side has the wanted length, which a letter has wherever it stands."""
        if wanted == "?":
            return True
        if wanted.rstrip("+").isdigit():
            least = int(wanted.rstrip("+"))
            return size >= least if wanted.endswith("+") else size == least
        return sides.setdefault(wanted, size) == size

    return fits
