"""The images of ``image_gallery`` as pictures and figures: plain functions of findings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from grace_geom.plots.compose import pages
from grace_geom.plots.layers import order, points, title
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground
from grace_geom.plots.panels import rows
from grace_geom.plots.sample import attack, sample
from grace_geom.plots.strips import MAGNIFIED, Pixels, beside, magnified, strip
from grace_geom.plots.style import dress, plain_html
from grace_geom.records import Finding

TOP = 5
"""Classes of highest probability that are kept of each image."""
STEPS = 127
"""Steps of a perturbation from 0 to ε."""
PRINTED = 3
"""Images in the figure, each with five pictures."""


@dataclass(frozen=True)
class Seen:
    """One image, clean or attacked, as one run sees it.

    Attributes:
        pixels: ``(h, w, 3)`` uint8.
        margin: Logit of the label less the best other.
        names, p: The classes of highest probability, and these.
        saliency: ``(h, w)`` uint8.
        white: What 255 stands for in it.
        attention, rollout: ``(h, w)`` uint8, or ``None``.
    """

    pixels: Pixels
    margin: float
    names: tuple[str, ...]
    p: tuple[float, ...]
    saliency: np.ndarray
    white: float
    attention: np.ndarray | None
    rollout: np.ndarray | None = None

    @property
    def right(self) -> bool:
        """Whether the label leads."""
        return self.margin > 0


@dataclass(frozen=True)
class Picture:
    """One image of one run.

    Attributes:
        id: Set and digest: the same image has the same one in every run.
        set: Its distribution.
        label: Its class.
        index: Its place in the source.
        hard: Whether the pretrained model is wrong.
        clean, adv: As it is, and attacked.
        delta: ``(h, w, 3)`` in pixels of [0, 1].
    """

    id: str
    set: str
    label: str
    index: int
    hard: bool
    clean: Seen
    adv: Seen
    delta: np.ndarray

    @property
    def magnified(self) -> Pixels:
        """The perturbation times ``MAGNIFIED``, around middle grey."""
        return magnified(self.delta)


def pictures(f: Finding) -> dict[str, Picture]:
    """The images of one run, by id."""
    keys, eps = f.array("key"), float(f.result.settings.get("eps", 0))
    if keys is None:
        return {}
    clean, adv = _sides(f, "clean"), _sides(f, "adv")
    found = {}
    for i, key in enumerate(keys.tolist()):
        name = str(f.array("set")[i])
        id = f"{name}-{key}"
        found[id] = Picture(
            id,
            name,
            str(f.array("label")[i]),
            int(f.array("index")[i]),
            bool(f.array("hard")[i]),
            clean[i],
            adv[i],
            f.array("delta")[i].astype(float) * eps / STEPS,
        )
    return found


def _sides(f: Finding, side: str) -> list[Seen]:
    looked, heard = f.array(f"attention_{side}"), f.array(f"rollout_{side}")
    known = [f.array(f"{name}_{side}") for name in ("margin", "top", "p", "saliency")]
    margin, top, p, saliency = known
    return [
        Seen(
            pixels,
            float(margin[i]),
            tuple(str(n) for n in top[i] if n),
            tuple(float(v) for v, n in zip(p[i], top[i], strict=True) if n),
            saliency[i],
            float(f.array(f"saliency_white_{side}")[i]),
            None if looked is None else looked[i],
            None if heard is None else heard[i],
        )
        for i, pixels in enumerate(f.array(side))
    ]


def shared(found: Mapping[str, Mapping[str, Picture]]) -> list[str]:
    """Ids of the images that every run has, those first on which the runs differ most: by the
    number of runs that are right under attack, then clean.
    """
    every = list(found.values())
    ids = [id for id in every[0] if all(id in own for own in every)] if every else []

    def evenness(id: str) -> tuple[int, int]:
        stand, right = (
            sum(getattr(own[id], side).right for own in every) for side in ("adv", "clean")
        )
        return -min(stand, len(every) - stand), -min(right, len(every) - right)

    return sorted(ids, key=evenness)


def coloured(map: np.ndarray, scale: str = "inferno") -> Pixels:
    """``(h, w)`` uint8 as ``(h, w, 3)``, dark to light."""
    colors = [unlabel_rgb(c) for c in sample_colorscale(scale, np.linspace(0, 1, 256))]
    table: Pixels = np.array(colors).round().astype(np.uint8)
    return table[map]


def over(pixels: Pixels, map: np.ndarray) -> Pixels:
    """A map in colour over the image in grey."""
    grey = np.repeat(np.asarray(pixels, float).mean(axis=2, keepdims=True), 3, axis=2)
    mixed: Pixels = (0.45 * grey + 0.55 * coloured(map, "viridis")).round().astype(np.uint8)
    return mixed


def words(picture: Picture) -> str:
    """``star → moon`` where the attack turned it, ``star stays``; where the clean image is wrong
    already, what it is taken for: ``star, taken for moon``, and attacked ``→ sun``.
    """
    before, after = picture.clean.names[0], picture.adv.names[0]
    if picture.clean.right:
        return f"{picture.label} stays" if picture.adv.right else f"{picture.label} → {after}"
    return f"{picture.label}, taken for {before}" + (f" → {after}" if after != before else "")


def sheet(f: Finding, ids: Sequence[str], ground: Ground) -> go.Figure | None:
    """Some images of one run in a row, each as clean, perturbation, attacked, and the saliency of
    both.
    """
    own = pictures(f)
    shown = [
        (
            beside(
                [p.clean.pixels, p.magnified, p.adv.pixels]
                + [coloured(side.saliency) for side in (p.clean, p.adv)]
            ),
            words(p),
        )
        for id in ids
        if (p := own.get(id)) is not None
    ]
    return strip(shown, ground, PRINTED)


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Of ``image_gallery``: the images on which the runs differ most, and how far saliency stays
    where it was under attack.
    """
    known = {f.run: pictures(f) for f in found}
    ids = shared({run: own for run, own in known.items() if own})[:PRINTED]
    s = found[0].result.settings
    maps = "SmoothGrad" if int(s.get("smooth", 1)) > 1 else "gradient"
    strips = [{legend.names[f.run]: sheet(f, ids, legend.ground)} for f in found]
    sets = order([name for f in found for name in f.names("saliency_correlation")])
    dots = rows(
        points(found, "saliency_correlation", sets),
        [title(name) for name in sets],
        legend,
        {"title": "Correlation of clean and attacked saliency"},
    )
    note = f"{sample(found)}; attacked: {attack(found)}"
    drawn: dict[str, tuple[str, list[dict[str, go.Figure | None]], str]] = {
        "": ("The same images, clean and attacked", strips,
             f"clean, perturbation × {MAGNIFIED} on grey, attacked; saliency of the cross-entropy "
             f"({maps}) of the clean and of the attacked image; below: the class, and what the "
             f"attack makes of it (→); shown: those on which the runs differ most; {note}"),
        "saliency": ("Does the loss depend on the same pixels under attack?", [{"": dots}],
                     f"mean over {_shown_said(known)}, 1.96 standard errors; {maps}; {note}"),
    }  # fmt: skip
    return pages(drawn, legend)


def _shown_said(known: Mapping[str, Mapping[str, Picture]]) -> str:
    """How many images a mean is over, and how they came to be chosen."""
    of_sets = [Counter(p.set for p in own.values()) for own in known.values() if own]
    sizes = sorted({count for counts in of_sets for count in counts.values()})
    many = " to ".join(str(size) for size in dict.fromkeys((*sizes[:1], *sizes[-1:])))
    return f"{many} images a row, those of n on which the runs differ most"


def likeliest(picture: Picture, color: str, ground: Ground) -> go.Figure:
    """The likeliest classes of one image before and after the attack: a row a class, hollow clean,
    full attacked, the label marked.
    """
    sides = {"clean": picture.clean, "attacked": picture.adv}
    p = {name: dict(zip(side.names, side.p, strict=True)) for name, side in sides.items()}
    every = sorted(
        dict.fromkeys([picture.label, *picture.clean.names, *picture.adv.names]),
        key=lambda name: -max(p["clean"].get(name, 0), p["attacked"].get(name, 0)),
    )[:TOP]
    figure = go.Figure()
    for name, hollow in (("clean", True), ("attacked", False)):
        there = [(i, p[name][label]) for i, label in enumerate(every) if label in p[name]]
        figure.add_scatter(
            x=[100 * value for _, value in there],
            y=[i for i, _ in there],
            mode="markers",
            name=name,
            marker={
                "color": ground.paper if hollow else color,
                "size": 10,
                "line": {"color": color, "width": 2},
            },
            cliponaxis=False,
            hovertemplate=f"%{{x:.1f}} %, {name}<extra></extra>",
        )
    words = [f"<b>{plain_html(n)}</b>" if n == picture.label else plain_html(n) for n in every]
    x = {"title": "Probability (%)", "range": [-5, 105]}
    y = {"tickvals": list(range(len(every))), "ticktext": words, "ticks": ""}
    y |= {"range": [len(every) - 0.5, -0.5]}
    return dress(figure, ground, 110 + 26 * len(every), xaxis=x, yaxis=y)
