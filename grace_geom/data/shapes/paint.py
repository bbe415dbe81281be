"""From a scene to pixels, by correctly rounded float operations only, so the pictures are the same
everywhere.
"""

import numpy as np

from grace_geom.data.shapes.corruptions import corrupt
from grace_geom.data.shapes.draws import Draws, Floats
from grace_geom.data.shapes.noise import SIDE, clouds
from grace_geom.data.shapes.scene import RENDITIONS, STYLES, Rules, Scene
from grace_geom.data.shapes.sdf import distance

_PIXEL = 2.0 / SIDE
_AXIS = (np.arange(SIDE) + 0.5) * _PIXEL - 1.0
_X = np.broadcast_to(_AXIS, (1, SIDE, SIDE))
_Y = np.broadcast_to(-_AXIS[:, None], (1, SIDE, SIDE))

# Where one, two, three and four shapes stand.
_PLACES = (
    ((0.0, 0.0),),
    ((-0.47, 0.12), (0.47, -0.12)),
    ((-0.48, -0.42), (0.48, -0.42), (0.0, 0.46)),
    ((-0.48, -0.48), (0.48, -0.48), (-0.48, 0.48), (0.48, 0.48)),
)


def paint(scene: Scene, rules: Rules, draws: Draws) -> Floats:
    """Pictures of a scene: ``(n, 32, 32, 3)`` in [0, 1]."""
    wobble = np.where(scene.style == STYLES.index("sketch"), 0.10, 0.0)
    x, y = _local(scene, draws, wobble)
    d = distance(scene.shape, x, y) * scene.radius[:, None, None]
    picture = np.empty((len(draws), SIDE, SIDE, 3))
    for style, painter in enumerate((_photo, _sketch, _rendition)):
        (rows,) = np.nonzero(scene.style == style)
        if len(rows):
            picture[rows] = painter(scene.rows(rows), rules, draws.rows(rows), d[rows])
    return np.clip(corrupt(picture, draws, rules.corrupted, rules.levels), 0.0, 1.0)


def _local(scene: Scene, draws: Draws, wobble: Floats) -> tuple[Floats, Floats]:
    """Coordinates in the frame of the nearest shape, in units of its radius."""
    n = len(draws)
    best = np.full((n, SIDE, SIDE), 9e9)
    px, py = np.zeros_like(best), np.zeros_like(best)
    for count, places in enumerate(_PLACES):
        (rows,) = np.nonzero(scene.count == count)
        for k, (cx, cy) in enumerate(places if len(rows) else ()):
            slack = draws.uniforms(f"place {k}", 2, -0.06, 0.06)[rows] * (count > 0)
            dx = _X - (cx + scene.shift[rows, 0] * (count == 0) + slack[:, 0])[:, None, None]
            dy = _Y - (cy + scene.shift[rows, 1] * (count == 0) + slack[:, 1])[:, None, None]
            far = dx * dx + dy * dy
            near = far < best[rows]
            best[rows] = np.where(near, far, best[rows])
            px[rows] = np.where(near, dx, px[rows])
            py[rows] = np.where(near, dy, py[rows])
    if wobble.any():
        px = px + wobble[:, None, None] * clouds(draws, "wobble x", 5)
        py = py + wobble[:, None, None] * clouds(draws, "wobble y", 5)
    # With t the tangent of half the angle, cosine and sine are exact fractions.
    t = scene.turn
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    ax, ay = 1 / (scene.radius * scene.aspect), scene.aspect / scene.radius
    column = (slice(None), None, None)
    return (
        px * (cos * ax)[column] + py * (sin * ax)[column],
        py * (cos * ay)[column] - px * (sin * ay)[column],
    )


def _cover(d: Floats, width: Floats | float = _PIXEL) -> Floats:
    """Share of each pixel inside, for edges ``width`` wide."""
    return np.clip(0.5 - d / width, 0.0, 1.0)


def _wave(t: Floats) -> Floats:
    """Soft square wave of period 1, in [-1, 1]."""
    return np.clip(8.0 * (abs(t - np.floor(t) - 0.5) - 0.25), -1.0, 1.0)


def _slanted(draws: Draws, field: str, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coordinates turned by a random angle."""
    t = draws.uniform(field, -1.0, 1.0)
    cos, sin = ((1 - t * t) / (1 + t * t))[:, None, None], (2 * t / (1 + t * t))[:, None, None]
    return x * cos + y * sin, y * cos - x * sin


def texture(scene: Scene, draws: Draws) -> Floats:
    """The pattern on the shape, ``(n, 32, 32)`` in [-1, 1]; it does not shrink with the shape."""
    u, v = _slanted(draws, "texture angle", _X, _Y)
    pitch = draws.uniform("texture pitch", 1.9, 2.8)[:, None, None]
    phase = draws.uniforms("texture phase", 2)[:, :, None, None]
    u, v = u * pitch + phase[:, 0], v * pitch + phase[:, 1]
    du, dv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    dots = np.clip(10.0 * (0.30 - np.sqrt(du * du + dv * dv)), -1.0, 1.0)
    kind = scene.texture[:, None, None]
    return np.where(
        kind == 1,
        _wave(u),
        np.where(kind == 2, dots, np.where(kind == 3, _wave(u) * _wave(v), 0.0)),
    )


def ground(scene: Scene, draws: Draws) -> Floats:
    """The pattern of the background, ``(n, 32, 32)`` in [-1, 1]."""
    u, v = _slanted(draws, "ground angle", _X, _Y)
    lines = _wave(v * 4.0 + draws.uniform("ground phase")[:, None, None])
    specks = np.where(
        draws.uniforms("specks", SIDE * SIDE).reshape(-1, SIDE, SIDE) < 0.16, 1.4, -0.25
    )
    kind = scene.ground[:, None, None]
    sign = np.where(draws.chance("ground sign", 0.5), 1.0, -1.0)[:, None, None]
    smooth = np.where(kind == 1, sign * u, np.where(kind == 4, 1.2 * clouds(draws, "clouds"), 0.0))
    return np.where(kind == 2, sign * lines, np.where(kind == 3, sign * specks, smooth))


def _blend(under: Floats, over: Floats, cover: Floats) -> Floats:
    return under + (over - under) * cover[..., None]


def _photo(scene: Scene, rules: Rules, draws: Draws, d: Floats) -> Floats:
    back = (
        scene.backdrop[:, None, None]
        + (scene.relief[:, None, None] * ground(scene, draws))[..., None]
    )
    back = _clutter(back, rules, draws)
    tones = (
        scene.paint[:, None, None]
        + (scene.pattern[:, None, None] * texture(scene, draws))[..., None]
    )
    edge = (_PIXEL * (1 + draws.uniform("soft", 0, rules.soft)))[:, None, None]
    picture = _blend(back, tones, _cover(d, edge))
    picture = _occlude(picture, scene, rules, draws)
    u, _ = _slanted(draws, "light angle", _X, _Y)
    strength = draws.uniform("light", -rules.light, rules.light)[:, None, None]
    return picture * (1 + strength * u)[..., None] + _grain(draws, rules.noise)


def _grain(draws: Draws, most: float) -> Floats:
    sigma = draws.uniform("sigma", 0.0, most)[:, None, None, None]
    return sigma * draws.normals("grain", SIDE * SIDE * 3).reshape(-1, SIDE, SIDE, 3)


def _clutter(picture: Floats, rules: Rules, draws: Draws) -> Floats:
    most, strength = rules.clutter
    number = np.floor(draws.uniform("blobs", 0, most + 1))
    for k in range(most):
        cx, cy = draws.uniforms(f"blob {k}", 2, -1, 1).T[:, :, None, None]
        size = draws.uniform(f"blob size {k}", 0.08, 0.26)[:, None, None]
        tone = draws.uniforms(f"blob tone {k}", 3, -strength, strength)[:, None, None]
        square = draws.chance(f"blob kind {k}", 0.5)[:, None, None]
        dx, dy = abs(_X - cx), abs(_Y - cy)
        d = np.where(square, np.maximum(dx, dy), np.sqrt(dx * dx + dy * dy)) - size
        picture = picture + tone * (_cover(d) * (number > k)[:, None, None])[..., None]
    return picture


def _occlude(picture: Floats, scene: Scene, rules: Rules, draws: Draws) -> Floats:
    number = np.floor(draws.uniform("bars", 0, rules.occluders + 1))
    for k in range(rules.occluders):
        u, _ = _slanted(draws, f"bar angle {k}", _X, _Y)
        middle = draws.uniform(f"bar place {k}", -0.4, 0.4)[:, None, None]
        width = draws.uniform(f"bar width {k}", 0.06, 0.13)[:, None, None]
        tone = np.clip(scene.backdrop + draws.uniforms(f"bar tone {k}", 3, -0.25, 0.25), 0, 1)[
            :, None, None
        ]
        picture = _blend(
            picture, tone, _cover(abs(u - middle) - width) * (number > k)[:, None, None]
        )
    return picture


def _sketch(scene: Scene, rules: Rules, draws: Draws, d: Floats) -> Floats:
    paper = np.array([0.95, 0.93, 0.88]) + draws.uniforms("paper", 3, -0.06, 0.04)
    ink = (
        draws.uniforms("ink", 3, 0.05, 0.22)
        + 0.25 * scene.paint * draws.chance("crayon", 0.4)[:, None]
    )
    width = draws.uniform("stroke", 0.045, 0.085)[:, None, None]
    pressure = 0.85 + 0.15 * clouds(draws, "pressure", 6)
    line = _cover(abs(d) - width) * pressure
    # Some are drawn twice, as a hand does, and some are hatched.
    again = _cover(abs(d + 0.05 + 0.05 * clouds(draws, "again", 3)) - 0.5 * width)
    line = np.maximum(line, 0.7 * again * draws.chance("twice", 0.4)[:, None, None])
    u, _ = _slanted(draws, "hatch angle", _X, _Y)
    hatch = np.clip(_wave(u * 3.5), 0, 1) * _cover(d) * 0.35
    line = np.maximum(line, hatch * draws.chance("hatched", 0.35)[:, None, None])
    tooth = 0.02 * draws.normals("tooth", SIDE * SIDE).reshape(-1, SIDE, SIDE, 1)
    return (
        _blend(np.broadcast_to(paper[:, None, None], (*d.shape, 3)), ink[:, None, None], line)
        + tooth
    )


def _rendition(scene: Scene, rules: Rules, draws: Draws, d: Floats) -> Floats:
    photo = np.clip(_photo(scene, rules, draws, d), 0, 1)
    kind = scene.rendition[:, None, None, None]
    poster = np.floor(np.clip(0.5 + 1.5 * (photo - 0.5), 0, 0.999) * 3) / 2
    poster = np.where(
        draws.chance("swap", 0.5)[:, None, None, None], poster[..., [2, 0, 1]], poster
    )
    glow = np.maximum(_cover(abs(d) - 0.05), 0.45 * np.clip(1 - abs(d) / 0.3, 0, 1))
    neon = _blend(
        0.10 + 0.25 * scene.backdrop[:, None, None] * np.ones_like(photo), _bright(scene), glow
    )
    blocks = photo.reshape(-1, SIDE // 2, 2, SIDE // 2, 2, 3)
    tile = (
        blocks[:, :, 0, :, 0]
        + blocks[:, :, 0, :, 1]
        + blocks[:, :, 1, :, 0]
        + blocks[:, :, 1, :, 1]
    ) / 4
    tile = tile + 0.08 * draws.normals("tile", (SIDE // 2) ** 2).reshape(
        -1, SIDE // 2, SIDE // 2, 1
    )
    mosaic = np.repeat(np.repeat(tile, 2, 1), 2, 2)
    wash = _cover(d + 0.07 * clouds(draws, "bleed", 7), 0.13) * (
        0.80 + 0.20 * clouds(draws, "pigment", 6)
    )
    water = _blend(np.full_like(photo, 0.94), 0.05 + 0.80 * _bright(scene), 0.95 * wash)
    pictures = dict(zip(RENDITIONS, (poster, 1 - photo, neon, mosaic, water), strict=True))
    out = photo
    for k, picture in enumerate(pictures.values()):
        out = np.where(kind == k, picture, out)
    return out


def _bright(scene: Scene) -> Floats:
    top = np.maximum(np.maximum(scene.paint[:, 0], scene.paint[:, 1]), scene.paint[:, 2])
    return (scene.paint / top[:, None])[:, None, None]
