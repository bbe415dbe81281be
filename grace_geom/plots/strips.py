"""Pictures side by side as a figure, with words below each: as wide and high as their pixels."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from grace_geom.plots.cells import CHROME, WIDTH
from grace_geom.plots.palette import Ground
from grace_geom.plots.style import dress, plain_html

GAP = 2
"""Columns of pixels between pictures that belong together."""
MAGNIFIED = 16
"""Perturbations are shown times this, around middle grey: 4/255 would be invisible."""
Pixels = np.ndarray
"""``(H, W, 3)`` uint8."""


def magnified(delta: np.ndarray) -> Pixels:
    """A perturbation ``(H, W, 3)`` in pixels of [0, 1], times ``MAGNIFIED`` around middle grey."""
    grey = 255 * np.clip(0.5 + MAGNIFIED * np.asarray(delta, float), 0, 1)
    found: Pixels = grey.round().astype(np.uint8)
    return found


def beside(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures of one height as one picture, with a white gap between them."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def strip(shown: Sequence[tuple[Pixels, str]], ground: Ground, places: int) -> go.Figure | None:
    """Pictures of one size in a row, and plain text below each; ``None`` where there are none.

    Args:
        shown: Pixels and text.
        ground: Light or dark.
        places: Pictures that have room in a row, so that rows of fewer keep their size.
    """
    if not shown:
        return None
    figure = go.Figure()
    height, width = shown[0][0].shape[:2]
    step = 1.08 * width
    for i, (pixels, words) in enumerate(shown):
        figure.add_image(source=data_uri(pixels), x0=i * step, hoverinfo="skip")
        figure.add_annotation(
            text=plain_html(words),
            x=i * step + (width - 1) / 2,
            y=height - 0.5,
            yanchor="top",
            yshift=-2,
            showarrow=False,
            font={"size": 12},
        )
    hidden = {"visible": False, "constrain": "domain"}  # below them there is room for words
    across = (places - 1) * step + width
    x = hidden | {"range": [-0.5, across - 0.5]}
    y = hidden | {"range": [height - 0.5, -0.5], "scaleanchor": "x"}
    y["showticklabels"] = False
    high = round(CHROME + WIDTH * height / across)  # no band above the pictures in print
    return dress(figure, ground, high, xaxis=x, yaxis=y, margin={"b": 24})


def data_uri(pixels: Pixels) -> str:
    """A PNG for ``src``."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
