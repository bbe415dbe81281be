"""The printed sheet: panels by their domains, legend and title, with margins that labels need."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D, Bbox, ScaledTranslation

from grace_geom.plots import units
from grace_geom.plots.axes import Scale
from grace_geom.plots.texts import inline

_PAD = 0.04
"""Inches between what is drawn and the edge of the sheet."""
TURNS = 6
"""How often panels are placed anew, at most: axes that become shorter may have other labels."""
_LEAST = 0.2
"""Share of the sheet that panels need at least, each way."""
_KEY = 9
"""Pixels across a marker in a legend of ``itemsizing: constant``."""
_LEGEND = """orientation x y xanchor yanchor xref yref title font traceorder bgcolor bordercolor
borderwidth tracegroupgap itemsizing itemwidth itemclick itemdoubleclick groupclick valign uirevision
entrywidth entrywidthmode indentation"""
_NO_KEY = ("heatmap", "contour", "image", "surface")


@dataclass
class Panel:
    """One pair of axes; ``cells``: whether its marks are as wide as a category."""

    ax: Axes
    x: Scale
    y: Scale
    cells: bool = False


class Sheet:
    """A figure of a given size whose panels fill what its labels leave.

    Attributes:
        figure: matplotlib's.
        paper: From plotly's paper coordinates (0 to 1 over all panels) to the screen.
        panels, solids: With two axes; with three, each with its domain.
        handles: Turn of a trace -> what stands for it in the legend.
    """

    def __init__(self, width: float, height: float, layout: Mapping[str, Any]) -> None:
        self.figure = Figure(figsize=(width, height))
        self._inner = Affine2D()
        self.paper = self._inner + self.figure.transFigure
        self.panels: list[Panel] = []
        self.solids: list[tuple[Any, Mapping[str, Any]]] = []
        self.outside: list[Any] = []
        self._foot: Any = None
        self._foot_at: Any = None
        self.handles: dict[int, list[Any]] = {}
        self._legend: Any = None
        self._legend_at: Mapping[str, Any] = {}
        self._title = self._titled(layout.get("title") or {})
        self._margins = [0.4, 0.35, 0.1, 0.1]  # left, bottom, right, top, in inches

    def panel(self, x: Scale, y: Scale) -> Panel:
        """New axes for a pair of scales; those that lie over others are clear."""
        ax = self.figure.add_axes((0.1, 0.1, 0.8, 0.8), label=f"{x.name}{y.name}")
        ax.set_facecolor("none")
        for which, scale in (("x", x), ("y", y)):
            if scale.kind == "log":
                getattr(ax, f"set_{which}scale")("log", nonpositive="mask")
        self.panels.append(Panel(ax, x, y))
        return self.panels[-1]

    def foot(self, text: Any, place: Any) -> None:
        """A note that stands below everything, however far labels reach down."""
        self._foot, self._foot_at = text, place

    def _titled(self, title: Mapping[str, Any]) -> Any:
        units.known("layout.title", title, "text font x y xanchor yanchor xref yref pad automargin")
        if not title.get("text"):
            return None
        x, font = float(title.get("x", 0.05)), title.get("font") or {}
        side = title.get("xanchor", "auto")
        if side == "auto":
            side = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "center"
        width, height = self.figure.get_size_inches()
        at = min(max(x, _PAD / width), 1 - _PAD / width)
        size = units.font_size(font, 17)
        words = inline(title["text"])
        if "$" not in words:
            words = "\n".join(textwrap.fill(line, max(12, int(width * 72 / size / 0.62)))
                              for line in words.split("\n"))  # fmt: skip
        return self.figure.text(
            at, 1 - _PAD / height, words, ha=side, va="top", fontsize=size,
            color=units.color(font.get("color", "#262730")), multialignment=side,
        )  # fmt: skip

    def legend(self, layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
        """The legend of all traces that have a place in it, groups under their titles."""
        self._legend_at = at = layout.get("legend") or {}
        units.known("legend", at, _LEGEND)
        entries = [(i, t) for i, t in enumerate(traces) if i in self.handles
                   and t.get("showlegend", t["type"] not in _NO_KEY) and any(self.handles[i])]  # fmt: skip
        entries.sort(key=lambda e: e[1].get("legendrank", 1000))
        wanted = layout.get("showlegend")
        if wanted is None:
            wanted = len(entries) > 1 or any(t.get("showlegend") for _, t in entries)
        if not wanted or not entries:
            return
        if "reversed" in at.get("traceorder", "normal"):
            entries.reverse()
        drawn, names = self._entries(entries)
        flat = at.get("orientation", "v") == "h"
        font, title = at.get("font") or {}, (at.get("title") or {}).get("text")
        look: dict[str, Any] = {
            "fontsize": units.font_size(font), "labelcolor": units.color(font.get("color", "#262730")),
            "frameon": bool(at.get("bgcolor") or at.get("borderwidth")), "borderaxespad": 0,
            "borderpad": 0.2, "handlelength": _handle(entries), "columnspacing": 1.2, "labelspacing": 0.35,
            "handletextpad": 0.5, "fancybox": False, "framealpha": 1, "scatterpoints": 1,
            "facecolor": units.color(at.get("bgcolor") or "white"), "loc": self._corner(),
            "edgecolor": units.color(at.get("bordercolor") or (0, 0, 0, 0)),
            "markerscale": self._key_scale(entries) if at.get("itemsizing") == "constant" else 1,
            "title": inline(title) if title else None, "title_fontsize": units.font_size(font),
        }  # fmt: skip
        width = self.figure.get_figwidth() - 2 * _PAD
        for columns in range(len(names) if flat else 1, 0, -1):
            if self._legend is not None:
                self._legend.remove()
            order = _by_rows(len(names), columns)
            self._legend = self.figure.legend(
                [drawn[i] for i in order], [names[i] for i in order], ncols=columns, **look
            )
            if self._legend.get_window_extent().width <= width * self.figure.dpi:
                break

    def _key_scale(self, entries: Sequence[tuple[int, Mapping[str, Any]]]) -> float:
        """What makes the markers of small points as large in the legend as those of lines."""
        areas = [size for i, _ in entries for handle in self.handles[i]
                 if hasattr(handle, "get_sizes") for size in handle.get_sizes()]  # fmt: skip
        return units.points(_KEY) / float(max(areas)) ** 0.5 if areas else 1.0

    def _entries(
        self, entries: Sequence[tuple[int, Mapping[str, Any]]]
    ) -> tuple[list[Any], list[str]]:
        groups: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for i, trace in entries:
            groups.setdefault(trace.get("legendgroup") or f"\0{i}", []).append((i, trace))
        drawn: list[Any] = []
        names: list[str] = []
        for members in groups.values():
            head: Mapping[str, Any] = next(
                (t["legendgrouptitle"] for _, t in members if t.get("legendgrouptitle")), {}
            )
            if head.get("text"):
                drawn.append(Line2D([], [], linestyle="none"))
                names.append(inline(head["text"]))
            for i, trace in members:
                parts = [h for h in self.handles[i] if h is not None]
                drawn.append(tuple(parts) if len(parts) > 1 else parts[0])
                names.append(inline(trace.get("name") or f"trace {i}"))
        return drawn, names

    def _corner(self) -> str:
        at, flat = self._legend_at, self._legend_at.get("orientation", "v") == "h"
        y = float(at.get("y", -0.1 if flat else 1))
        up = at.get("yanchor", "auto")
        if up == "auto" or (flat and y < 0):
            up = "bottom" if 0 <= y <= 1 / 3 else "middle" if 0 <= y < 2 / 3 else "top"
        side = at.get("xanchor", "left")
        if side == "auto":
            x = float(at.get("x", 1.02))
            side = "left" if x <= 1 / 3 else "right" if x >= 2 / 3 else "center"
        up = {"bottom": "lower", "middle": "center", "top": "upper"}[up]
        return "center" if (up, side) == ("center", "center") else f"{up} {side}"

    def arrange(self) -> None:
        """Move the panels until every label lies on the sheet, and none would move any more.

        Raises:
            ValueError: The labels leave the panels too little room.
        """
        for turn in range(TURNS):
            self._place()
            self.figure.draw_without_rendering()
            if turn == 1:
                self._part_ticks()
                self._wrap()
            boxes = self._boxes()
            self._place_legend(boxes)
            self._place_foot(boxes)
            over, before = self._overflow(boxes), self._margins
            self._margins = [max(_PAD, m + o) for m, o in zip(before, over, strict=True)]
            width, height = self.figure.get_size_inches()
            left, bottom, right, top = self._margins
            if width - left - right < _LEAST * width or height - bottom - top < _LEAST * height:
                raise ValueError(
                    f"the labels leave the plot no room at {width:g} x {height:g} inches: "
                    "give a larger width_in or height_in"
                )
            moved = max(abs(m - b) for m, b in zip(self._margins, before, strict=True))
            if turn > 1 and moved < 1e-9:
                break
        self._place()
        boxes = self._boxes()
        self._place_legend(boxes)
        self._place_foot(boxes, flush=True)

    def _place_foot(self, boxes: Sequence[Bbox], flush: bool = False) -> None:
        """Lower the foot below what stands around the panels; ``flush``: also move it to the left
        edge, below the title, which labels of the panels may keep it away from.
        """
        if self._foot is None:
            return
        self._foot.set_transform(self._foot_at)
        at, dpi = self._foot.get_window_extent(), self.figure.dpi
        down = min(0.0, Bbox.union(boxes).y0 / dpi - 0.04 - at.y1 / dpi)
        aside = min(0.0, _PAD - at.x0 / dpi) if flush else 0.0
        moved = ScaledTranslation(aside, down, self.figure.dpi_scale_trans)  # at any resolution
        self._foot.set_transform(self._foot_at + moved)

    def _place(self) -> None:
        width, height = self.figure.get_size_inches()
        left, bottom, right, top = self._margins
        w, h = 1 - (left + right) / width, 1 - (bottom + top) / height
        self._inner.clear().scale(w, h).translate(left / width, bottom / height)

        def box(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float, float]:
            """Left, bottom, width and height of a panel in shares of the sheet."""
            return (
                left / width + x[0] * w,
                bottom / height + y[0] * h,
                (x[1] - x[0]) * w,
                (y[1] - y[0]) * h,
            )

        for p in self.panels:
            p.ax.set_position(box(self._domain(p.x), self._domain(p.y)))
        for ax, domain in self.solids:
            ax.set_position(box(domain.get("x", (0, 1)), domain.get("y", (0, 1))))

    def _domain(self, scale: Scale) -> Sequence[float]:
        over = scale.set.get("overlaying")
        others = [s for p in self.panels for s in (p.x, p.y) if s.name == over]
        return self._domain(others[0]) if others else scale.set.get("domain") or (0, 1)

    def _boxes(self) -> list[Bbox]:
        """What stands around the panels and with them, in pixels; without legend and title."""
        parts = [*self.figure.axes, *self.outside]
        boxes = [p.get_tightbbox() for p in parts]
        return [b for b in boxes if b is not None and b.width > 0 and b.height > 0]

    def _place_legend(self, boxes: Sequence[Bbox]) -> None:
        if self._legend is None:
            return
        at, flat = self._legend_at, self._legend_at.get("orientation", "v") == "h"
        x, y = float(at.get("x", 0 if flat else 1.02)), float(at.get("y", -0.1 if flat else 1))
        at_x, at_y = self.paper.transform((x, y))
        around, gap = Bbox.union(boxes), 0.04 * self.figure.dpi
        size = self._legend.get_window_extent()
        if y >= 1 and self._legend_at.get("yanchor") == "bottom":
            at_y = max(at_y, around.y1 + gap)
        elif y < 0:
            at_y = around.y0 - gap
        elif x > 1:
            at_x = max(at_x, around.x1 + gap)
        if flat:
            right = self.figure.bbox.width - _PAD * self.figure.dpi
            shift = {"left": 0.0, "center": 0.5, "right": 1.0}[self._corner().split()[-1]]
            left = min(max(at_x - shift * size.width, _PAD * self.figure.dpi), right - size.width)
            at_x = left + shift * size.width
        spot = self.figure.transFigure.inverted().transform((at_x, at_y))
        self._legend.set_bbox_to_anchor(tuple(spot), transform=self.figure.transFigure)

    def _overflow(self, boxes: Sequence[Bbox]) -> list[float]:
        """By how much each margin is too small (negative: too large), in inches."""
        around = [p.get_window_extent() for p in (self._legend, self._foot) if p is not None]
        whole, dpi = Bbox.union([*boxes, *around]), self.figure.dpi
        width, height = self.figure.get_size_inches()
        ceiling = height - _PAD
        if self._title is not None:
            ceiling = self._title.get_window_extent().y0 / dpi - 0.05
        return [_PAD - whole.x0 / dpi, _PAD - whole.y0 / dpi,
                whole.x1 / dpi - width + _PAD, whole.y1 / dpi - ceiling]  # fmt: skip

    def _part_ticks(self) -> None:
        """Part labels below a panel that would run into each other, where no angle is asked for:
        fewer numbers, and names upright.
        """
        for p in self.panels:
            if p.x.set.get("tickangle") is not None or not self._close(p):
                continue
            if p.x.kind == "linear" and not any(k in p.x.set for k in ("tickvals", "dtick")):
                for most in (4, 3, 2):
                    p.ax.xaxis.set_major_locator(ticker.MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
                    if not self._close(p):
                        break
            elif p.x.kind == "log" and not any(k in p.x.set for k in ("tickvals", "dtick")):
                p.ax.xaxis.set_major_locator(ticker.LogLocator(numticks=5))
            if self._close(p):
                p.ax.tick_params(axis="x", labelrotation=90)

    def _close(self, p: Panel) -> bool:
        """Whether labels below a panel are less than a letter apart."""
        labels = [t for t in p.ax.get_xticklabels() if t.get_text() and t.get_visible()]
        boxes = [t.get_window_extent() for t in labels]
        ends, gap = (p.ax.bbox.x0 - 1, p.ax.bbox.x1 + 1), 0.06 * self.figure.dpi
        boxes = [b for b in boxes if ends[0] <= (b.x0 + b.x1) / 2 <= ends[1]]
        return any(a.x1 + gap > b.x0 and a.x0 < b.x1 for a, b in itertools.pairwise(boxes))

    def _wrap(self) -> None:
        """Break titles of axes that are longer than the sheet."""
        for ax in self.figure.axes:
            for label, axis in ((ax.xaxis.label, 0), (ax.yaxis.label, 1)):
                box = label.get_window_extent()
                long = (box.width, box.height)[axis] / self.figure.dpi
                room = self.figure.get_size_inches()[axis] * (0.95 if axis == 0 else 0.85)
                words = label.get_text()
                if long > room and "$" not in words:
                    most = max(8, int(max(map(len, words.split("\n"))) * room / long))
                    label.set_text("\n".join(textwrap.fill(w, most) for w in words.split("\n")))


def _handle(entries: Sequence[tuple[int, Mapping[str, Any]]]) -> float:
    """Letters that what stands before a name in the legend needs: a line, or a marker alone."""
    markers = all(trace.get("mode") == "markers" for _, trace in entries)
    return 1.0 if markers else 2.6


def _by_rows(n: int, columns: int) -> list[int]:
    """The order that fills a legend row by row, where matplotlib fills it column by column."""
    return [i for start in range(columns) for i in range(start, n, columns)]
