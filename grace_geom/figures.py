"""One look for every figure: white ground, column width, one colour + dash + marker for each
checkpoint.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed, and none is looked for
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from grace_geom.files import atomic_write
from grace_geom.plots.style import short_weight as short_weight

COLUMN = 3.4
"""Width of a column, inches; twice that is a page."""

PAGE = 7.0

STYLE: dict[Any, Any] = {
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Look:
    """How one checkpoint is drawn, in print and without colour alike."""

    color: str
    dash: str | tuple[int, tuple[int, ...]]
    marker: str

    def line(self) -> dict[str, object]:
        """Keywords of ``plot``."""
        return {"color": self.color, "linestyle": self.dash, "marker": self.marker}

    def stroke(self) -> dict[str, object]:
        """The same without a marker, for dense curves."""
        return {"color": self.color, "linestyle": self.dash}


# Okabe and Ito's colours, told apart by colour-blind readers; black and grey are for references.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C6D31")
_DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 2, 2, 2)),
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_REFERENCE = Look("#595959", (0, (2, 1)), "x")


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """A look for each label by its place in the sequence; ``zero-shot`` and ``pretrained`` are
    always grey.
    """
    chosen: dict[str, Look] = {}
    for label in labels:
        if re.match(r"zero.?shot|pretrained", label):
            chosen[label] = _REFERENCE
            continue
        i = sum(look is not _REFERENCE for look in chosen.values())
        turn = i // len(_COLORS)  # colours repeat before the pairs of colour and dash do
        chosen[label] = Look(
            _COLORS[i % len(_COLORS)],
            _DASHES[(i + turn) % len(_DASHES)],
            _MARKERS[i % len(_MARKERS)],
        )
    return chosen


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The project's style while the context lasts."""
    with plt.rc_context(STYLE):
        yield


def new(
    width: float = COLUMN, height: float = 2.4, rows: int = 1, columns: int = 1, **options: Any
) -> Any:
    """``plt.subplots`` with sizes in inches; axes always as an array ``(rows, columns)``."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)


def logarithmic(axis: Any, x: bool = False, y: bool = False) -> None:
    """Logarithmic axes, where any line has a positive number to show; linear ones else."""
    lines = axis.get_lines()
    for wanted, scale, name in ((x, axis.set_xscale, "x"), (y, axis.set_yscale, "y")):
        shown = [np.asarray(getattr(line, f"get_{name}data")(), float) for line in lines]
        if wanted and any((numbers > 0).any() for numbers in shown):
            scale("log")


def legend_above(figure: Figure, axis: Any, most: int = 6) -> None:
    """One legend for all panels, above them, with the labels of ``axis``; at most ``most`` in a
    row.
    """
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(handles), most))


def signed(figure: Figure, sample: str) -> Figure:
    """The figure with the sample that it was drawn from below it, small: a picture is often seen
    without its table.
    """
    said = figure.get_supxlabel()
    figure.supxlabel(
        f"{said}; {sample}" if said else sample, fontsize=7 if said else 6, color="0.4"
    )
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG, whole or not at all, and close the figure."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    plt.close(figure)
    return path
