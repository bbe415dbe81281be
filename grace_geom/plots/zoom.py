"""Panels whose numbers use a small part of the axis that all panels share: they have another one,
and say so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from grace_geom.plots.panels import span

USED = 0.6
"""Share of the common axis below which panels have their own."""
WORD = ", zoomed"
"""Behind the title of such an axis."""


def worthwhile(some: Sequence[Any], every: Sequence[Any], log: bool = False) -> bool:
    """Whether some panels use less than :data:`USED` of what all of them need.

    Args:
        some: Numbers of these panels.
        every: Those of all.
        log: Whether the axis is logarithmic.
    """
    own, common = (span(values, 0.0, log) for values in (some, every))
    if own is None or common is None or len(some) >= len(every):
        return False
    return own[1] - own[0] < USED * (common[1] - common[0])


def said(drawn: Mapping[str, go.Figure]) -> str:
    """Which panels have a zoomed axis: the end of a caption; empty where none has."""
    heads = [
        head for head, fig in drawn.items()
        if (fig.layout.yaxis.title.text or "").endswith(WORD)
    ]  # fmt: skip
    if not heads:
        return ""
    return f" Zoomed: {', '.join(f'“{head}”' for head in heads)}."
