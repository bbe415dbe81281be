"""How each method and each distribution looks, in every figure, file and folder.

A method of the table below has one colour, marker and dash. They come from its name, never from a
folder or from its place in a list, so a run looks the same on a page, in a PNG and in the next
study. Seeds and variants of a method are shades of its colour with other dashes, and variants have
other markers; variants that are seen with no other method have hues of their own.

Methods that the table does not name have a look by their name as well, but give way where others
that are shown have its colour (:func:`of_strangers`): such a method may look unlike in a figure of
other methods.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from grace_geom.plots.shades import SHADES, channels, shades

GroundName = Literal["light", "dark"]


@dataclass(frozen=True)
class Look:
    """How a run is drawn. Marker and dash tell it apart without colour.

    Attributes:
        color: ``#rrggbb``.
        dash: Of its lines: a name that plotly knows, or lengths such as ``8px,2px``.
        marker: A symbol that plotly knows.
    """

    color: str
    dash: str
    marker: str


@dataclass(frozen=True)
class Ground:
    """Colours of everything that is not a run.

    Attributes:
        name: ``light`` or ``dark``.
        text, muted: Of titles and labels; of what may stand back.
        grid, band: Grid lines; every other row of a dot plot.
        paper: The page.
    """

    name: GroundName
    text: str
    muted: str
    grid: str
    band: str
    paper: str


GROUNDS = {
    "light": Ground("light", "#262730", "#5b6270", "#e3e5e9", "rgba(0,0,0,0.035)", "#ffffff"),
    "dark": Ground("dark", "#edebe8", "#b3b3b3", "#3a3936", "rgba(255,255,255,0.05)", "#171614"),
}
LIGHT, DARK = GROUNDS["light"], GROUNDS["dark"]


class _Color(NamedTuple):
    light: str
    dark: str


# Found by search: twelve hues whose least distance in Oklab, for normal sight and for the three
# kinds of dichromacy, is as large as the contrasts of 4.5:1 with either ground allow. Both colours
# of a pair have about the same hue, so that a run keeps it where the ground changes.
_GREY = _Color("#6E6E6E", "#A8A8A8")
_AZURE = _Color("#0376DC", "#0090CC")
_BROWN = _Color("#761900", "#FC903C")
_PINE = _Color("#004633", "#00FCA8")
_CRIMSON = _Color("#E20068", "#FC186C")
_OCHRE = _Color("#AD6500", "#A87800")
_MAGENTA = _Color("#D400C8", "#FC30CC")
_BLUE = _Color("#1C06C8", "#B4D8FC")
_OLIVE = _Color("#5B5B00", "#F0D800")
_VIOLET = _Color("#6000FD", "#9090FC")
_MAUVE = _Color("#8D4A99", "#C03CFC")
_SLATE = _Color("#4A3E69", "#90789C")
_PURPLE = _Color("#6B0098", "#E49CE4")
_COLORS = (
    _AZURE, _BROWN, _PINE, _CRIMSON, _OCHRE, _MAGENTA, _BLUE, _OLIVE, _VIOLET, _MAUVE, _SLATE,
    _PURPLE,
)  # fmt: skip
_MARKERS = (
    "circle", "square", "triangle-up", "triangle-down", "diamond", "cross", "hexagon", "star",
    "hourglass", "bowtie",
)  # fmt: skip
_DASHES = (
    "solid", "dash", "dashdot", "dot", "longdash", "longdashdot", "8px,2px", "3px,2px,9px,2px",
)  # fmt: skip

_METHODS = {
    "zero-shot": (_GREY, "x", "2px,2px"),
    "linear-probe": (_PINE, "triangle-down", "dot"),
    "ft": (_AZURE, "circle", "longdash"),
    "lp-ft": (_MAUVE, "square", "dash"),
    "wise-ft": (_BLUE, "cross", "dashdot"),
    "flyp": (_SLATE, "triangle-down", "solid"),
    "tpgm": (_OCHRE, "circle", "solid"),
    "ftp": (_BROWN, "diamond", "longdash"),
    "spd": (_VIOLET, "triangle-up", "dashdot"),
    "l2-sp": (_OLIVE, "diamond", "longdash"),
    "sam": (_VIOLET, "hexagon", "solid"),
    "asam": (_SLATE, "square", "dash"),
    "lora": (_PINE, "square", "dash"),
    "lora-spd": (_OLIVE, "circle", "dot"),
    "awp": (_BLUE, "square", "dash"),
    "at": (_BROWN, "triangle-up", "dashdot"),
    "mix-at": (_CRIMSON, "circle", "solid"),
    "tecoa": (_CRIMSON, "diamond", "dot"),
    "fare": (_MAUVE, "cross", "8px,2px"),
    "pmg-aft": (_PINE, "hexagon", "dashdot"),
    "trades": (_PURPLE, "hexagon", "3px,2px,9px,2px"),
    "laat": (_OCHRE, "cross", "dash"),
    "tga-zsr": (_OLIVE, "hourglass", "solid"),
    "comp-tga": (_PINE, "cross", "8px,2px"),
    "agft": (_SLATE, "hexagon", "3px,2px,9px,2px"),
    "ucat": (_VIOLET, "bowtie", "dot"),
    "adv-flyp": (_AZURE, "square", "8px,2px"),
    "lora-tecoa": (_MAUVE, "diamond", "longdash"),
    "lora-at": (_OCHRE, "bowtie", "longdashdot"),
    "lora-mix-at": (_PURPLE, "triangle-down", "dot"),
    "vpt-pmg-aft": (_BLUE, "hexagon", "longdash"),
    "grace": (_MAGENTA, "star", "solid"),
    "grace-plus": (_OCHRE, "diamond", "3px,2px,9px,2px"),
}
"""Method -> colour, marker, dash; the order is that of the methods in tables and legends. No two
methods that share a colour are variants of one another, so those have no like colours. Methods that
are often compared have forms of their own as far as there are forms.
"""

METHOD_ORDER = tuple(_METHODS)
_TAKEN = {(color, marker) for color, marker, _ in _METHODS.values()}
_FREE = [(c, m) for c in _COLORS for m in _MARKERS if (c, m) not in _TAKEN and c is not _MAGENTA]
"""For methods that the table does not name; GRACE shares its colour with none."""

_TURNED = ("triangle-left", "pentagon", "triangle-right")
"""Markers of the variants of a method that are shown beside it; no method has them."""


def look(
    method: str, ground: Ground = LIGHT, seed: int | None = None, turn: int = 0, by: int = 0
) -> Look:
    """The look of a run of a method; zero-shot models are grey whatever their seed.

    Args:
        method: As on record. One that the table does not name, or the name of a checkpoint whose
            method nobody knows, has a look of its own, the same every time for one ``by``.
        ground: Light or dark.
        seed: Of the training; ``None`` for means over seeds.
        turn: 1, 2, ... for further runs of one method in a figure; see
            :class:`~grace_geom.plots.legend.Legend`.
        by: Of a method that the table does not name, how far its look is from its first one; see
            :func:`of_strangers`.
    """
    if is_reference(method):
        color, marker, dash = _METHODS["zero-shot"]
    else:
        color, marker, dash = _METHODS.get(method) or _fallback(method, by)
        turn += (seed or 0) % SHADES
    plain = color.light if ground.name == "light" else color.dark
    return turned(Look(plain, dash, marker), turn, ground)


def as_variant(first: Look, variant: int) -> Look:
    """The look of the n-th variant of a method beside the method itself, which is the 0-th: with
    another marker, since a shade alone does not tell them apart.
    """
    marker = _TURNED[(variant - 1) % len(_TURNED)] if variant else first.marker
    return replace(first, marker=marker)


def turned(first: Look, turn: int, ground: Ground) -> Look:
    """The look of a further run of a method: another shade and another dash, the same marker. It
    comes again after 40 turns, since there are 5 shades and 8 dashes.
    """
    color = shade(first.color, turn % SHADES, ground)
    return replace(first, color=color, dash=_other_dash(first.dash, turn) if turn else first.dash)


def of_strangers(methods: Iterable[str]) -> dict[str, int]:
    """How far each method that the table does not name is from its own first look, so that it has a
    colour of its own beside the others that are shown. Two that would share one are told apart in
    the order of names; where all colours are taken, by their markers.

    Args:
        methods: All that are shown; those that the table names keep their looks.
    """
    shown = set(methods)
    known = [_METHODS["zero-shot" if is_reference(m) else m] for m in shown
             if is_reference(m) or m in _METHODS]  # fmt: skip
    colors = {color for color, _, _ in known}
    pairs = {(color, marker) for color, marker, _ in known}
    found = {}
    for method in sorted(m for m in shown if m not in _METHODS and not is_reference(m)):
        tried = {by: _fallback(method, by)[:2] for by in range(len(_FREE))}
        free = [by for by, (color, _) in tried.items() if color not in colors]
        free = free or [by for by, pair in tried.items() if pair not in pairs] or [0]
        found[method] = free[0]
        colors.add(tried[free[0]][0])
        pairs.add(tried[free[0]])
    return found


def of_variants(method: str, labels: Iterable[str], ground: Ground) -> dict[str, Look]:
    """Looks of variants of one method that are seen with no other method: a hue, marker and dash
    for each label by its name, since shades of one colour are hard to tell apart. Two that would
    share one are told apart in the order of labels. The method itself keeps its look.

    Args:
        method: As on record.
        labels: As folders are called: ``grace``, ``grace-gv-off``.
        ground: Light or dark.
    """
    own = look(method, ground)
    found = {method: own}
    hues = [color.light if ground.name == "light" else color.dark for color in _COLORS]
    taken: set[Look] = {own}
    for label in sorted(set(labels) - {method}):
        first = hashlib.sha256(label.encode("utf-8", "surrogateescape")).digest()[0]
        places = [((first + i) % len(hues), turn) for i in range(len(hues)) for turn in range(8)]
        looks = [
            Look(hues[hue], _DASHES[(hue + turn) % 8], _MARKERS[(hue + turn) % 8])
            for hue, turn in places
        ]
        free = [one for one in looks if one not in taken and one.color != own.color]
        found[label] = _least_like(taken, free or looks)
        taken.add(found[label])
    return found


def _least_like(taken: Iterable[Look], looks: Sequence[Look]) -> Look:
    """The first whose colour nobody has; of these, the first whose marker nobody has."""
    colors, markers = {one.color for one in taken}, {one.marker for one in taken}
    return min(looks, key=lambda one: (one.color in colors, one.marker in markers))


def is_reference(method: str) -> bool:
    """Whether it is the model before any fine-tuning, the one that others are seen against."""
    return re.match(r"zero.?shot|pretrained", method) is not None


def order(method: str) -> tuple[int, str]:
    """Sorts methods as tables and legends list them; unknown ones last, by name."""
    return METHOD_ORDER.index(method) if method in _METHODS else len(METHOD_ORDER), method


def _fallback(name: str, by: int = 0) -> tuple[_Color, str, str]:
    bits = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    color, marker = _FREE[(int.from_bytes(bits[:4], "big") + by) % len(_FREE)]
    return color, marker, _DASHES[bits[4] % len(_DASHES)]


def _other_dash(dash: str, by: int) -> str:
    start = _DASHES.index(dash) if dash in _DASHES else 0
    return _DASHES[(start + by) % len(_DASHES)]


def shade(color: str, step: int, ground: Ground) -> str:
    """One of ``SHADES`` shades of a colour, the first one the colour itself: each can be read as
    text, and is as far as possible from the colours of the other methods.
    """
    every = (one.light if ground.name == "light" else one.dark for one in (_GREY, *_COLORS))
    return shades(color, ground.paper, tuple(one for one in every if one != color))[step]


def on_light() -> dict[str, str]:
    """Every colour of dark ground -> the one that stands for it on light ground, as ``#RRGGBB``."""
    pairs = {
        shade(color.dark, step, DARK): shade(color.light, step, LIGHT)
        for color in (_GREY, *_COLORS)
        for step in range(SHADES)
    }
    grounds = {
        getattr(DARK, name).upper(): getattr(LIGHT, name).upper()
        for name in ("text", "muted", "grid", "paper")
    }
    return pairs | grounds


_ATTACKED = "#EE5A24"
_SETS = ("#D98E00", "#009E73", "#3A9BD0", "#A77BD0", "#B3863C", "#DD7FB4", "#7A8C1E", "#5C6BC0")
_KNOWN_SETS = {
    "v2": 0, "sketch": 1, "r": 2, "shift": 2, "a": 3, "objectnet": 4, "c": 5, "colour": 6,
    "hard": 7,
}  # fmt: skip


def of_sets(names: Iterable[str], ground: Ground) -> dict[str, str]:
    """Colours of distributions, where colours do not mean runs: ID grey, attacked red, each other
    one a colour by its name; two that would share one are told apart in the order of names.
    """
    there = set(names)
    grey = _GREY.light if ground.name == "light" else _GREY.dark
    found = {"id": grey}
    taken: set[int] = set()
    others = sorted(there - {"id", "adv"}, key=lambda name: (name not in _KNOWN_SETS, name))
    for name in others:
        first = _KNOWN_SETS.get(
            name, hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % len(_SETS)
        )
        free = [(first + i) % len(_SETS) for i in range(len(_SETS))]
        place = next((i for i in free if i not in taken), first)
        taken.add(place)
        found[name] = _SETS[place]
    return found | {"adv": _ATTACKED}


def of_values(values: Sequence[str], ground: Ground) -> dict[str, str]:
    """Colours of the values of a setting, in their order: hues where they are few, else one ramp
    from blue over purple to red.
    """
    light = ground.name == "light"
    hues = [color.light if light else color.dark for color in _COLORS]
    if len(values) <= len(hues):
        return dict(zip(values, hues, strict=False))
    stops = [color.light if light else color.dark for color in (_AZURE, _PURPLE, _CRIMSON)]
    return {v: _between(stops, i / (len(values) - 1)) for i, v in enumerate(values)}


def _between(stops: Sequence[str], at: float) -> str:
    """A colour on the way through ``stops``, ``at`` in [0, 1]."""
    first = min(int(at * (len(stops) - 1)), len(stops) - 2)
    share = at * (len(stops) - 1) - first
    ends = zip(channels(stops[first]), channels(stops[first + 1]), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02X}" for a, b in ends)
