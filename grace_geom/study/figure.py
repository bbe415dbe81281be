"""The trade-off in one picture: robustness and accuracy under shift, each against ID accuracy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from grace_geom import figures
from grace_geom.records import Estimate
from grace_geom.study.rows import Row


def tradeoff(
    rows: Sequence[Row], path: Path, adversarial: str = "Adversarial accuracy (%)"
) -> Path | None:
    """ID against adversarial accuracy and ID against OOD accuracy, with 95 % intervals and a label
    at each point.

    Args:
        rows: The methods; those without both columns of a panel are left out of it.
        path: PNG to write.
        adversarial: Label of the axis that says which attack.

    Returns:
        ``path``, or ``None`` where no panel has two points.
    """
    look = figures.looks([row.label for row in rows])
    panels = [
        (column, name)
        for column, name in (("Adv", adversarial), ("OOD", "OOD accuracy (%), mean over sets"))
        if sum(_point(row, column) is not None for row in rows) > 1
    ]
    if not panels:
        return None
    with figures.style():
        figure, axes = figures.new(
            figures.PAGE if len(panels) == 2 else figures.COLUMN, 2.9, 1, len(panels)
        )
        for ax, (column, name) in zip(axes[0], panels, strict=True):
            shown = [(row.label, *p) for row in rows if (p := _point(row, column)) is not None]
            for label, x, y in shown:
                style = look[label]
                ax.errorbar(
                    100 * x.value,
                    100 * y.value,
                    xerr=_bars(x),
                    yerr=_bars(y),
                    fmt=style.marker,
                    color=style.color,
                    markersize=5,
                    elinewidth=0.8,
                    capsize=0,
                    ecolor=style.color,
                    alpha=0.95,
                    zorder=3,
                )
            ax.set_xlabel("ID accuracy (%)")
            ax.set_ylabel(name)
            ax.margins(0.16)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
            low, high = ax.get_ylim()
            ax.set_ylim(
                max(low, -0.09 * high), high
            )  # accuracies are not negative; a label may want the room
            ax.text(
                0.995,
                0.995,
                "better ↗",
                transform=ax.transAxes,
                ha="right",
                va="top",
                fontsize=6.5,
                color="0.55",
            )
        figure.canvas.draw()
        for ax, (column, _) in zip(axes[0], panels, strict=True):
            shown = [(row.label, *p) for row in rows if (p := _point(row, column)) is not None]
            place_labels(
                ax, {label: (x, y) for label, x, y in shown}, {n: look[n].color for n, *_ in shown}
            )
        return figures.save(figure, path)


def place_labels(
    ax: Axes, points: dict[str, tuple[Estimate, Estimate]], colors: dict[str, str]
) -> None:
    """Write each label near its point where it covers no point, no error bar and no other label, if
    there is room.

    Labels are placed one after the other, those with the closest neighbours first; each takes the
    first of its places (near ones first) with the smallest overlap.
    """
    ax.figure.canvas.draw()
    to_pixels = ax.transData.transform
    taken = [box for x, y in points.values() for box in _obstacles(ax, x, y)]
    taken += [text.get_window_extent() for text in ax.texts]
    frame = ax.get_window_extent()
    at = {label: to_pixels((100 * x.value, 100 * y.value)) for label, (x, y) in points.items()}
    nearest = {
        a: min((np.hypot(*(at[a] - at[b])) for b in at if b != a), default=np.inf) for a in at
    }
    for label in sorted(at, key=lambda name: nearest[name]):
        x, y = at[label]
        text = ax.annotate(
            label, (x, y), xycoords="figure pixels", fontsize=7, color=colors[label], zorder=4
        )
        text.set_annotation_clip(False)
        size = text.get_window_extent()
        places = [
            _place(at[label], size.width, size.height, angle, gap)
            for gap in (5, 9, 15, 24)
            for angle in ANGLES
        ]
        costs = [_overlap(box, taken) + 10 * _outside(box, frame) for box in places]
        best = places[int(np.argmin(costs))]
        text.set_position((best.x0, best.y0))
        text.xyann = (best.x0, best.y0)
        taken.append(best)


ANGLES = (0, 180, 45, 135, -45, -135, 90, -90)


def _place(at: np.ndarray, width: float, height: float, angle: float, gap: float) -> Bbox:
    """A box beside a point, in the direction of ``angle`` degrees, ``gap`` points away."""
    gap *= 200 / 72  # points to pixels at the figure's resolution
    dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    x = at[0] + gap * dx + (width / 2) * (np.sign(round(dx, 6)) - 1)
    y = at[1] + gap * dy + (height / 2) * (np.sign(round(dy, 6)) - 1)
    return Bbox.from_bounds(x, y, width, height)


def _obstacles(ax: Axes, x: Estimate, y: Estimate) -> list[Bbox]:
    """The marker and both error bars, in pixels."""
    (cx, cy), (x0, y0), (x1, y1) = ax.transData.transform(
        [(100 * x.value, 100 * y.value), (100 * x.low, 100 * y.low), (100 * x.high, 100 * y.high)]
    )
    boxes = [
        [[cx - 9, cy - 9], [cx + 9, cy + 9]],
        [[x0, cy - 2], [x1, cy + 2]],
        [[cx - 2, y0], [cx + 2, y1]],
    ]
    return [Bbox(box) for box in boxes]


def _overlap(box: Bbox, taken: Sequence[Bbox]) -> float:
    parts = (Bbox.intersection(box, other) for other in taken)
    return sum(abs(part.width * part.height) for part in parts if part is not None)


def _outside(box: Bbox, frame: Bbox) -> float:
    inside = Bbox.intersection(box, frame)
    return box.width * box.height - (
        abs(inside.width * inside.height) if inside is not None else 0.0
    )


def _point(row: Row, column: str) -> tuple[Estimate, Estimate] | None:
    x, y = row.estimate("ID"), row.estimate(column)
    return (x, y) if x is not None and y is not None else None


def _bars(e: Estimate) -> list[list[float]]:
    return [[100 * (e.value - e.low)], [100 * (e.high - e.value)]]
