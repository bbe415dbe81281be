"""The sets of the embedded benchmark: names, labels, prompts, and the pictures by number."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grace_geom.data.shapes import scene as scenes
from grace_geom.data.shapes.draws import Draws, Ints
from grace_geom.data.shapes.noise import SIDE
from grace_geom.data.shapes.paint import paint

Images = NDArray[np.uint8]

VERSION = 1
SIZES = {"train": 8192, "val": 1024, "test": 2000}
HARD_IDS = Path(__file__).with_name("hard_ids.json")
_CHUNK = 64  # images painted together: their float64 planes stay in the cache

CONTRAST = 0.55
"""Share of the range of pixel values that a picture uses, as in flat light.

It decides what a radius of 4/255 means. Over the whole range an undefended model keeps a fifth of
its accuracy under that attack, because an edge is twenty times as high; on natural photographs it
keeps next to nothing.
"""

FINGERPRINTED = 36  # pictures of each set: three of every class


@dataclass(frozen=True)
class ShapesSet:
    """One set of the benchmark.

    Attributes:
        name: As written in ``--data``.
        rules: Key of :data:`grace_geom.data.shapes.scene.RULES`.
        attribute: Which attribute of the scene is the label.
        class_names: In label order.
        templates: Prompts, ``{}`` for the class name.
        suite: ``id``, ``ood``, ``natural_adv`` or ``zeroshot``.
    """

    name: str
    rules: str
    attribute: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    suite: str


_SHAPE = ("a photo of a {}.", "a picture of a {}.", "an image of a {}.", "a {}.")


def _shape_set(name: str, rules: str, suite: str) -> ShapesSet:
    return ShapesSet(name, rules, "shape", scenes.CLASSES, _SHAPE, suite)


SHAPES_SETS: dict[str, ShapesSet] = {
    s.name: s
    for s in (
        _shape_set("shapes", "photo", "id"),
        _shape_set("shapes:v2", "v2", "ood"),
        _shape_set("shapes:sketch", "sketch", "ood"),
        _shape_set("shapes:rendition", "rendition", "ood"),
        _shape_set("shapes:corrupt", "corrupt", "ood"),
        _shape_set("shapes:hard", "hard", "natural_adv"),
        ShapesSet(
            "shapes:colour",
            "colour",
            "colour",
            tuple(scenes.COLOURS),
            ("a photo of a {} shape.", "a picture of a {} object.", "a {} shape.", "a {} thing."),
            "zeroshot",
        ),
        ShapesSet(
            "shapes:texture",
            "texture",
            "texture",
            scenes.TEXTURES,
            ("a photo of a {} shape.", "a picture of a {} object.", "a {} shape.", "a {} thing."),
            "zeroshot",
        ),
        ShapesSet(
            "shapes:size",
            "size",
            "size",
            scenes.SIZES,
            ("a photo of a {} shape.", "a picture of a {} object.", "a {} shape.", "a {} thing."),
            "zeroshot",
        ),
        ShapesSet(
            "shapes:count",
            "count",
            "count",
            scenes.COUNTS,
            ("a photo of {} shapes.", "a picture of {} objects.", "{} shapes.", "{} things."),
            "zeroshot",
        ),
        ShapesSet(
            "shapes:background",
            "background",
            "tone",
            scenes.TONES,
            (
                "a photo of a shape on a {} background.",
                "a picture of an object on a {} background.",
                "a {} background.",
            ),
            "zeroshot",
        ),
    )
}


def labels_of(name: str, indices: Ints) -> Ints:
    """Labels ``(n,)`` int64 of pictures by number: they take turns, so every class is equally
    frequent.
    """
    return np.asarray(indices, dtype=np.int64) % len(SHAPES_SETS[name].class_names)


def scene_of(
    rules: str, stream: str, indices: Ints, seed: int, fixed: dict[str, Ints] | None = None
) -> scenes.Scene:
    """The attributes of pictures by number."""
    return scenes.draw(
        Draws(f"{VERSION}/{stream}", seed, indices), scenes.RULES[rules], fixed or {}
    )


def render(name: str, split: str, indices: Ints, seed: int = 0) -> tuple[Images, Ints]:
    """Pictures of a set by number; picture ``i`` depends on (name, split, seed, i) alone, on every
    machine.

    Args:
        name: Key of :data:`SHAPES_SETS`.
        split: ``train``, ``val`` or ``test``: independent streams. Of ``shapes:hard`` these are the
            unfiltered candidates; :func:`ids_of` says which of them the set has.
        indices: ``(n,)`` int64 picture numbers.
        seed: Of the benchmark.

    Returns:
        ``(n, 32, 32, 3)`` uint8 RGB and ``(n,)`` int64 labels.
    """
    indices = np.asarray(indices, dtype=np.int64)
    labels = labels_of(name, indices)
    kind = SHAPES_SETS[name]
    return render_rules(
        kind.rules, f"{name}/{split}", indices, seed, {kind.attribute: labels}
    ), labels


def render_rules(
    rules: str, stream: str, indices: Ints, seed: int, fixed: dict[str, Ints]
) -> Images:
    """Pictures ``(n, 32, 32, 3)`` uint8 of any rules and stream, with some attributes given."""
    out = np.empty((len(indices), SIDE, SIDE, 3), dtype=np.uint8)
    for start in range(0, len(indices), _CHUNK):
        rows = slice(start, start + _CHUNK)
        draws = Draws(f"{VERSION}/{stream}", seed, indices[rows])
        scene = scenes.draw(draws, scenes.RULES[rules], {k: v[rows] for k, v in fixed.items()})
        picture = 0.5 + CONTRAST * (paint(scene, scenes.RULES[rules], draws) - 0.5)
        out[rows] = np.floor(picture * 255 + 0.5)
    return out


def fingerprint(seed: int = 0) -> dict[str, str]:
    """First 16 hexadecimal digits of the SHA-256 of the first pictures of every test set: equal on
    every machine.
    """
    first = np.arange(FINGERPRINTED)
    blocks = {name: render(name, "test", first, seed)[0] for name in SHAPES_SETS}
    blocks["web"] = render_rules("web", "web", first, seed, {})
    return {
        name: hashlib.sha256(block.tobytes()).hexdigest()[:16] for name, block in blocks.items()
    }


def ids_of(name: str, split: str) -> Ints:
    """Picture numbers ``(n,)`` of a split: all of them, but of ``shapes:hard`` those the shipped
    model gets wrong.
    """
    if SHAPES_SETS[name].rules == "hard":
        return np.array(json.loads(HARD_IDS.read_text(encoding="utf-8"))["ids"], dtype=np.int64)
    return np.arange(SIZES[split], dtype=np.int64)
