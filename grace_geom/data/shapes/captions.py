"""What the web would say about these pictures: partial, coarse, and wrong often enough.

A caption names some of what is there. Shapes that look alike are called by each other's names, now
and then anywhere and mostly in photographs in the dark; any shape may be called by an everyday word
or just "shape"; colours, textures, sizes and grounds are mentioned sometimes. So the pretrained
features know more than the zero-shot head says, as the web's CLIP does: its prompts inherit the
habits of the captions.
"""

from dataclasses import dataclass

import numpy as np

from grace_geom.data.shapes.draws import Draws, Ints
from grace_geom.data.shapes.scene import (
    CLASSES,
    COLOURS,
    COUNTS,
    GROUNDS,
    SIZES,
    STYLES,
    TEXTURES,
    TONES,
    Scene,
    luminance,
)

# The class name first, then what else people say.
SYNONYMS = {
    "circle": ("disc", "ball", "dot"),
    "square": ("box", "block", "tile"),
    "triangle": ("wedge", "pyramid", "tent"),
    "diamond": ("rhombus", "kite", "gem"),
    "pentagon": ("polygon", "badge", "house"),
    "hexagon": ("polygon", "nut", "honeycomb"),
    "star": ("starfish", "asterisk", "sparkle"),
    "cross": ("plus", "plus sign", "clinic sign"),
    "ring": ("hoop", "donut", "wheel"),
    "heart": ("love symbol", "valentine", "leaf"),
    "crescent": ("moon", "half moon", "banana"),
    "arrow": ("pointer", "sign", "cursor"),
}
# Shapes that are mistaken for each other.
PAIRS = (
    ("circle", "ring"),
    ("square", "diamond"),
    ("triangle", "arrow"),
    ("pentagon", "hexagon"),
    ("star", "cross"),
    ("heart", "crescent"),
)
MISTAKEN = dict(PAIRS) | {b: a for a, b in PAIRS}
NIGHT = 0.20
COARSE = ("shape", "object", "thing", "figure")
MEDIA = {
    "photo": ("a photo of", "a picture of", "an image of", "", ""),
    "sketch": ("a sketch of", "a drawing of", "a picture of", "a doodle of", ""),
    "rendition": ("a painting of", "an artwork of", "a picture of", "a print of", ""),
}


@dataclass(frozen=True)
class Sloppiness:
    """How far captions are from the truth, each a probability.

    Attributes:
        coarse: The shape is only called a shape, an object, a thing.
        synonym: It has an everyday name that no class has.
        mistaken: It is called by the name of the class it resembles.
        night: The same in photographs whose ground has a luminance below ``NIGHT``.
        random: The caption belongs to another picture's shape altogether.
        mention: Each of colour, texture, size and ground is mentioned.
        slip: A mentioned attribute is wrong.
    """

    coarse: float = 0.15
    synonym: float = 0.15
    mistaken: float = 0.15
    night: float = 0.60
    random: float = 0.05
    mention: float = 0.25
    slip: float = 0.05


def captions(scene: Scene, draws: Draws, sloppy: Sloppiness) -> list[str]:
    """A caption for each picture of a scene; like the picture it depends on its number alone."""
    noun = _nouns(scene, draws, sloppy)
    size = _mention(draws, "size", SIZES, scene.size, sloppy, 1.2)
    colour = _mention(draws, "colour", tuple(COLOURS), scene.colour, sloppy, 0.8)
    texture = _mention(
        draws, "texture", TEXTURES, scene.texture, sloppy, np.where(scene.texture == 0, 0.8, 2.0)
    )
    ground = _mention(draws, "ground", GROUNDS, scene.ground, sloppy, 0.8)
    tone = _mention(draws, "tone", TONES, scene.tone, sloppy, 1.6)
    # Ink has no colour and paper no pattern: nobody mentions them.
    bare = scene.style == STYLES.index("sketch")
    medium = draws.bits("medium", 1)[:, 0]
    out = []
    for i in range(len(draws)):
        media = MEDIA[STYLES[scene.style[i]]]
        many = scene.count[i] > 0
        words = [] if bare[i] else [size[i], colour[i], texture[i]]
        number = (
            COUNTS[scene.count[i]]
            if many or (noun[i] in COARSE and medium[i] >> 32 & 1)
            else _article(words, noun[i])
        )
        thing = [number, *words, _plural(noun[i]) if many else noun[i]]
        behind = [] if bare[i] else [w for w in (tone[i], ground[i]) if w]
        tail = ["on", "a", *behind, "background"] if behind else []
        out.append(" ".join(w for w in [media[int(medium[i] % len(media))], *thing, *tail] if w))
    return out


def _nouns(scene: Scene, draws: Draws, sloppy: Sloppiness) -> list[str]:
    u, pick = draws.uniform("noun"), draws.bits("noun pick", 1)[:, 0]
    night = (scene.style == STYLES.index("photo")) & (luminance(scene.backdrop) < NIGHT)
    mistaken = np.where(night, sloppy.night, sloppy.mistaken)
    shares = np.broadcast_arrays(sloppy.coarse, sloppy.synonym, mistaken, sloppy.random)
    edges = np.cumsum(shares, axis=0)
    nouns = []
    for i, name in enumerate(CLASSES[k] for k in scene.shape):
        options = (COARSE, SYNONYMS[name], (MISTAKEN[name],), CLASSES, (name,))[
            int((u[i] >= edges[:, i]).sum())
        ]
        nouns.append(options[int(pick[i] % len(options))])
    return nouns


def _mention(
    draws: Draws, what: str, names: tuple[str, ...], truth: Ints, sloppy: Sloppiness, weight: object
) -> list[str]:
    said = draws.uniform(f"say {what}") < sloppy.mention * np.asarray(weight)
    slip = draws.chance(f"slip {what}", sloppy.slip)
    word = np.where(slip, draws.choice(f"wrong {what}", (1.0,) * len(names)), truth)
    return [names[k] if s else "" for k, s in zip(word, said, strict=True)]


def _article(words: list[str], noun: str) -> str:
    first = next((w for w in words if w), noun)
    return "an" if first[0] in "aeiou" else "a"


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x")) else "s")
