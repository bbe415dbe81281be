"""What is in each picture: every attribute of a batch of images, drawn by the rules of its set."""

from dataclasses import dataclass, fields, replace

import numpy as np

from grace_geom.data.shapes.draws import Draws, Floats, Ints
from grace_geom.data.shapes.sdf import SHAPES

CLASSES = tuple(SHAPES)
COLOURS = {
    "red": (0.86, 0.16, 0.17),
    "orange": (0.96, 0.55, 0.12),
    "yellow": (0.96, 0.87, 0.20),
    "green": (0.22, 0.66, 0.28),
    "cyan": (0.18, 0.75, 0.80),
    "blue": (0.16, 0.34, 0.85),
    "purple": (0.52, 0.23, 0.70),
    "pink": (0.97, 0.58, 0.75),
}
TEXTURES = ("smooth", "striped", "dotted", "checkered")
SIZES = ("small", "medium", "large")
COUNTS = ("one", "two", "three", "four")
GROUNDS = ("plain", "gradient", "lined", "speckled", "cloudy")
TONES = ("dark", "grey", "bright")
STYLES = ("photo", "sketch", "rendition")
RENDITIONS = ("poster", "negative", "neon", "mosaic", "watercolour")

# Radius ranges by which a size is called by its name, in halves of the image.
SIZE_RADII = ((0.22, 0.32), (0.42, 0.56), (0.70, 0.90))
# Ranges of the ground's luminance by which a tone is called by its name.
TONE_RANGES = ((0.05, 0.24), (0.38, 0.58), (0.74, 0.95))
LUMINANCE = (0.30, 0.59, 0.11)


@dataclass(frozen=True)
class Rules:
    """The ranges a set draws its pictures from. Lengths are in halves of the image, tones in [0,
    1].

    Attributes:
        styles: Weights of :data:`STYLES`.
        counts: Weights of 1, 2, 3, 4 shapes in a picture.
        sizes: Weights of small, medium, large; ``None`` draws the radius from ``radius``.
        radius: Of a single shape.
        turn: Largest tangent of half the rotation.
        shift: Largest displacement of the centre.
        aspect: Largest relative stretch.
        contrast: Difference of luminance between shape and ground.
        jitter: Of the named colour, a channel.
        textures: Weights of :data:`TEXTURES`.
        texture: How much darker or lighter the pattern on the shape is.
        ground: The same for the pattern of the ground.
        clutter: Most blobs on the ground, and how they stand out.
        occluders: Most bars across the shape.
        light: Strength of the light from one side.
        noise: Largest standard deviation of the sensor.
        soft: Largest extra width of edges, as from a lens out of focus.
        corrupted: Probability of one of the common corruptions.
        levels: Their strength at severity 1 and at severity 5.
    """

    styles: tuple[float, ...] = (1, 0, 0)
    counts: tuple[float, ...] = (1, 0, 0, 0)
    sizes: tuple[float, ...] | None = None
    radius: tuple[float, float] = (0.65, 0.90)
    turn: float = 0.11
    shift: float = 0.12
    aspect: float = 0.08
    contrast: tuple[float, float] = (0.32, 0.60)
    jitter: float = 0.07
    textures: tuple[float, ...] = (2, 1, 1, 1)
    texture: tuple[float, float] = (0.10, 0.24)
    ground: tuple[float, float] = (0.05, 0.14)
    clutter: tuple[int, float] = (3, 0.10)
    occluders: int = 0
    light: float = 0.12
    noise: float = 0.03
    soft: float = 0.4
    corrupted: float = 0.0
    levels: tuple[float, float] = (0.5, 4.0)


@dataclass(frozen=True)
class Scene:
    """A batch of pictures as arrays of ``n`` attributes; colours are ``(n, 3)`` in [0, 1]."""

    shape: Ints
    colour: Ints
    texture: Ints
    size: Ints
    count: Ints
    ground: Ints
    tone: Ints
    style: Ints
    rendition: Ints
    radius: Floats
    shift: Floats
    turn: Floats
    aspect: Floats
    paint: Floats
    pattern: Floats
    backdrop: Floats
    relief: Floats

    def rows(self, keep: Ints | slice) -> "Scene":
        """Some of the pictures."""
        return Scene(**{f.name: getattr(self, f.name)[keep] for f in fields(self)})


def draw(draws: Draws, rules: Rules, fixed: dict[str, Ints]) -> Scene:
    """Draw the pictures of a set.

    Args:
        draws: Stream of the set, at the wanted images.
        rules: Of the set.
        fixed: Attributes that are given and not drawn (the label of each image).
    """
    even = {
        "shape": len(CLASSES),
        "colour": len(COLOURS),
        "ground": len(GROUNDS),
        "rendition": len(RENDITIONS),
    }
    weights = {name: (1.0,) * k for name, k in even.items()}
    weights |= {"texture": rules.textures, "style": rules.styles, "count": rules.counts}
    kinds = {name: fixed.get(name, draws.choice(name, w)) for name, w in weights.items()}
    size, radius = _sizes(draws, rules, fixed.get("size"), kinds["count"])
    loose = (
        np.minimum(1.0, 0.55 / radius)
        if rules.sizes is None
        else np.maximum(0.3, 0.8 - radius) / rules.shift
    )
    paint, backdrop = _tones(draws, rules, kinds["colour"], fixed.get("tone"))
    sign = np.where(draws.chance("pattern sign", 0.5), 1.0, -1.0)
    return Scene(
        **kinds,
        size=size,
        tone=called_tone(backdrop),
        radius=radius,
        shift=draws.uniforms("shift", 2, -rules.shift, rules.shift) * loose[:, None],
        turn=draws.uniform("turn", -rules.turn, rules.turn),
        aspect=draws.uniform("aspect", 1 - rules.aspect, 1 + rules.aspect),
        paint=paint,
        pattern=sign * draws.uniform("texture depth", *rules.texture),
        backdrop=backdrop,
        relief=draws.uniform("ground depth", *rules.ground),
    )


def called_size(radius: Floats) -> Ints:
    """The word for a radius: 0 small, 1 medium, 2 large."""
    return (radius > 0.37).astype(np.int64) + (radius > 0.63)


def _sizes(draws: Draws, rules: Rules, size: Ints | None, count: Ints) -> tuple[Ints, Floats]:
    if rules.sizes is None and size is None:
        radius = draws.uniform("radius", *rules.radius)
    else:
        size = draws.choice("size", rules.sizes or (1, 1, 1)) if size is None else size
        low, high = np.array(SIZE_RADII).T[:, size]
        radius = low + (high - low) * draws.uniform("radius")
    # Several shapes share the picture: two fit side by side at 0.44, three and four at 0.40.
    radius = np.where(count > 0, draws.uniform("crowded radius", 0.34, 0.42), radius)
    return called_size(radius), radius


def called_tone(backdrop: Floats) -> Ints:
    """The word for a ground ``(n, 3)``: 0 dark, 1 grey, 2 bright."""
    level = luminance(backdrop)
    return (level > 0.31).astype(np.int64) + (level > 0.66)


def _tones(draws: Draws, rules: Rules, colour: Ints, called: Ints | None) -> tuple[Floats, Floats]:
    """Paint of the shape, and a quieter ground that differs from it in luminance by the drawn
    contrast.
    """
    paint = np.array(list(COLOURS.values()))[colour] + draws.uniforms(
        "paint", 3, -rules.jitter, rules.jitter
    )
    paint = np.clip(paint, 0.02, 0.98)
    level = luminance(paint)
    gap = draws.uniform("contrast", *rules.contrast)
    darker, lighter = level - gap, level + gap
    down = np.where(
        (darker > 0.06) & (lighter < 0.94), draws.chance("darker", 0.5), darker > 1 - lighter
    )
    tone = np.clip(np.where(down, darker, lighter), 0.05, 0.95)
    if called is not None:
        low, high = np.array(TONE_RANGES).T[:, called]
        tone = low + (high - low) * draws.uniform("tone")
    tint = draws.uniforms("tint", 3, -0.14, 0.14)
    tint = tint - luminance(tint)[:, None]
    return paint, np.clip(tone[:, None] + tint, 0.0, 1.0)


def luminance(rgb: Floats) -> Floats:
    """Brightness of colours: ``(n, 3)`` to ``(n,)``."""
    r, g, b = LUMINANCE
    return r * rgb[:, 0] + g * rgb[:, 1] + b * rgb[:, 2]


PHOTO = Rules()
_TASK = replace(PHOTO, radius=(0.50, 0.88), textures=(1, 1, 1, 1))
RULES: dict[str, Rules] = {
    "photo": PHOTO,
    "v2": replace(
        PHOTO,
        radius=(0.50, 0.80),
        turn=0.17,
        shift=0.18,
        aspect=0.14,
        contrast=(0.26, 0.50),
        jitter=0.12,
        textures=(1, 1, 1, 1),
        texture=(0.14, 0.30),
        ground=(0.08, 0.20),
        clutter=(5, 0.14),
        light=0.2,
        noise=0.045,
        soft=0.8,
    ),
    "sketch": replace(PHOTO, styles=(0, 1, 0)),
    "rendition": replace(PHOTO, styles=(0, 0, 1)),
    "corrupt": replace(PHOTO, corrupted=1.0),
    "hard": replace(
        PHOTO,
        radius=(0.38, 0.62),
        turn=0.17,
        shift=0.30,
        aspect=0.16,
        contrast=(0.15, 0.36),
        jitter=0.12,
        textures=(1, 2, 2, 2),
        texture=(0.12, 0.28),
        ground=(0.08, 0.20),
        clutter=(7, 0.22),
        occluders=2,
        light=0.25,
        noise=0.04,
        soft=0.6,
    ),
    "colour": _TASK,
    "texture": replace(_TASK, texture=(0.20, 0.36)),
    "size": replace(_TASK, sizes=(1, 1, 1)),
    "count": replace(_TASK, counts=(1, 1, 1, 1), radius=(0.34, 0.50)),
    "background": _TASK,
    # What the pretraining sees, like pictures on the web: all styles, all sizes, good and bad.
    "web": Rules(
        styles=(0.76, 0.10, 0.14),
        counts=(10, 1, 1, 1),
        radius=(0.40, 0.90),
        turn=0.16,
        shift=0.18,
        aspect=0.14,
        contrast=(0.22, 0.60),
        jitter=0.10,
        textures=(2, 1, 1, 1),
        texture=(0.10, 0.34),
        ground=(0.05, 0.26),
        clutter=(5, 0.14),
        light=0.2,
        noise=0.045,
        soft=0.8,
        corrupted=0.08,
        levels=(0.0, 4.0),
    ),
}
