"""Axes of plotly on matplotlib's: kind, range, ticks, titles, grid and lines."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

from grace_geom.plots import units
from grace_geom.plots.texts import inline

_DRAWN = """type range autorange domain anchor side overlaying matches scaleanchor scaleratio constrain
constraintoward tickvals ticktext tickmode tick0 dtick nticks tickformat exponentformat showexponent
tickprefix ticksuffix tickangle tickfont showticklabels ticks ticklen tickwidth tickcolor showgrid
gridcolor gridwidth griddash zeroline zerolinecolor zerolinewidth showline linecolor linewidth mirror
visible title rangemode categoryorder categoryarray color layer"""
_SCREEN = """automargin fixedrange hoverformat uirevision showspikes spikecolor spikemode spikesnap
spikethickness spikedash ticklabeloverflow minexponent separatethousands"""

Values = Sequence[Any] | np.ndarray


class Scale:
    """One axis of a figure: what its values mean and where they stand.

    Attributes:
        name: ``x``, ``y2``, ...
        set: Its settings in the layout.
        kind: ``linear``, ``log`` or ``category``.
        categories: Names in order; the n-th stands at n.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], data: Sequence[Values]) -> None:
        units.known(f"{name}-axis", settings, f"{_DRAWN} {_SCREEN}")
        self.name, self.set = name, settings
        self.kind = self._kind(data)
        self.categories: list[str] = []
        if self.kind == "category":
            order = settings.get("categoryorder", "trace")
            if order not in ("trace", "array"):
                raise ValueError(f"cannot draw {name}-axis.categoryorder {order!r}")
            every = [*settings.get("categoryarray", []), *(v for values in data for v in values)]
            self.categories = list(dict.fromkeys(str(v) for v in every if v is not None))

    def _kind(self, data: Sequence[Values]) -> str:
        kind = self.set.get("type", "-")
        if kind == "-":
            words = [v for values in data for v in values if isinstance(v, str)]
            kind = "category" if words and not all(map(_is_number, words)) else "linear"
        if kind not in ("linear", "log", "category"):
            raise ValueError(f"cannot draw {self.name}-axis.type {kind!r}")
        return str(kind)

    def at(self, values: Values) -> np.ndarray:
        """Places of values, ``(n,)``: numbers as they are, categories by their turn."""
        if self.kind != "category":
            return units.numbers(values)
        turn = {name: i for i, name in enumerate(self.categories)}
        return np.array([turn[str(v)] if str(v) in turn else _place(v) for v in values], float)

    def limits(self) -> tuple[float, float] | None:
        """The range in data units, first the left or lower end; ``None`` where data decide."""
        ends = self.set.get("range")
        if ends is None:
            return None
        if any(end is None for end in ends):
            raise ValueError(f"cannot draw {self.name}-axis.range with one open end")
        low, high = (float(end) for end in ends)
        return (10**low, 10**high) if self.kind == "log" else (low, high)


def _place(value: Any) -> float:
    return np.nan if value is None else float(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def dress(
    ax: Axes, which: str, scale: Scale, shown: bool, span: tuple[float, float] | None
) -> None:
    """Scale, range, ticks, grid and title of one axis of ``ax``.

    Args:
        ax: matplotlib's axes, with everything drawn that decides the range.
        which: ``x`` or ``y``.
        scale: The axis.
        shown: Whether its labels stand here: a shared axis is labelled once.
        span: Range where the figure gives none, or ``None`` for matplotlib's choice.
    """
    axis = getattr(ax, f"{which}axis")
    if scale.kind == "log":
        getattr(ax, f"set_{which}scale")("log", nonpositive="mask")
    _limits(ax, which, scale, span)
    ends = getattr(ax, f"get_{which}lim")()
    _ticks(axis, scale)
    getattr(ax, f"set_{which}lim")(*ends)  # ticks beyond the range would widen it
    _look(ax, axis, which, scale)
    visible = scale.set.get("visible", True)
    if not (shown and visible and scale.set.get("showticklabels", True)):
        axis.set_tick_params(labelleft=False, labelright=False, labelbottom=False, labeltop=False)
    if not visible:
        axis.set_tick_params(length=0)
    title = scale.set.get("title") or {}
    units.known(f"{scale.name}-axis.title", title, "text font standoff")
    if shown and visible and title.get("text"):
        font = title.get("font") or {}
        getattr(ax, f"set_{which}label")(
            inline(title["text"]),
            fontsize=units.font_size(font, 13),
            color=units.color(font.get("color", scale.set.get("color", "#262730"))),
        )


def _limits(ax: Axes, which: str, scale: Scale, span: tuple[float, float] | None) -> None:
    ends = scale.limits() or span
    set_limits = getattr(ax, f"set_{which}lim")
    auto = scale.set.get("autorange")
    if auto not in (None, True, False, "reversed"):
        raise ValueError(f"cannot draw {scale.name}-axis.autorange {auto!r}")
    if ends is None:
        low, high = getattr(ax, f"get_{which}lim")()
        mode = scale.set.get("rangemode", "normal")
        if mode in ("tozero", "nonnegative") and scale.kind == "linear":
            low, high = (0.0 if low > -0.06 * high else min(low, 0.0)), max(high, 0.0)
        ends = low, high
    set_limits(*(ends[::-1] if auto == "reversed" and ends[0] < ends[1] else ends))


def _ticks(axis: Any, scale: Scale) -> None:
    values, step = scale.set.get("tickvals"), scale.set.get("dtick")
    most = scale.set.get("nticks") or 0
    if values is not None:
        names = scale.set.get("ticktext")
        at = scale.at(values)
        if names is None:
            axis.set_ticks(at)
            axis.set_major_formatter(_formatter(scale))
        else:
            axis.set_ticks(at, [inline(name) for name in names])
        axis.set_minor_locator(ticker.NullLocator())
    elif scale.kind == "category":
        every = int(step or max(1, -(-len(scale.categories) // (most or 26))))
        at = np.arange(int(scale.set.get("tick0") or 0), len(scale.categories), every)
        axis.set_ticks(at, [inline(scale.categories[i]) for i in at])
    elif scale.kind == "log":
        _log_ticks(axis, scale, step)
    else:
        if step is not None:
            locator: Any = ticker.MultipleLocator(float(step), float(scale.set.get("tick0") or 0))
        else:
            locator = ticker.MaxNLocator(most or 7, steps=[1, 2, 2.5, 5, 10])
        axis.set_major_locator(locator)
        axis.set_major_formatter(_formatter(scale))


def _log_ticks(axis: Any, scale: Scale, step: Any) -> None:
    heads: Any = {None: None, 1: (1.0,), "D1": range(1, 10), "D2": (1.0, 2.0, 5.0)}.get(step, step)
    if isinstance(heads, str | float | int):
        raise ValueError(f"cannot draw {scale.name}-axis.dtick {step!r} on a logarithmic axis")
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else 1.0
    if heads is None:
        heads = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 0.7 else range(1, 10)
    axis.set_major_locator(ticker.LogLocator(subs=tuple(float(h) for h in heads), numticks=9))
    axis.set_minor_locator(ticker.NullLocator())
    plain = decades < 3 and low >= 1e-3 and high <= 1e5
    power = ticker.LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(99, 99))
    asked = scale.set.get("exponentformat")
    axis.set_major_formatter(
        ticker.FuncFormatter(lambda v, _: f"{v:g}") if plain and asked != "power" else power
    )


def _formatter(scale: Scale) -> ticker.Formatter:
    wanted, before = scale.set.get("tickformat"), scale.set.get("tickprefix", "")
    after = scale.set.get("ticksuffix", "")
    if wanted:
        if not re.fullmatch(r"[+]?,?(\.\d+)?[fged%]", wanted):
            raise ValueError(f"cannot draw {scale.name}-axis.tickformat {wanted!r}")
        spec = wanted.replace("d", "f") if "." in wanted else wanted.replace("d", ".0f")
        return ticker.FuncFormatter(
            lambda v, _: f"{inline(before)}{v:{spec}}{inline(after)}".replace("-", "\u2212")
        )
    if before or after:
        return ticker.FuncFormatter(lambda v, _: f"{inline(before)}{v:g}{inline(after)}")
    made = _Powers(useOffset=False, useMathText=True)
    made.set_powerlimits((-3, 5))
    return made


class _Powers(ticker.ScalarFormatter):
    """The power of ten at every number, as plotly has it: once above the axis it would lie over the
    title of the panel.
    """

    def __call__(self, x: float, pos: int | None = None) -> str:
        text, above = super().__call__(x, pos), super().get_offset().replace("\u2212", "-")
        power = re.search(r"10\^\{-?\d+\}", above)
        return f"{text}$\\cdot{power[0]}$" if power and x else text

    def get_offset(self) -> str:
        """Nothing."""
        return ""


def _look(ax: Axes, axis: Any, which: str, scale: Scale) -> None:
    """Grid, tick marks, the axis' own line and its line at zero."""
    s = scale.set
    ink = units.color(s.get("color", "#262730"))
    if s.get("showgrid", scale.kind != "category") and s.get("visible", True):
        axis.grid(True, color=units.color(s.get("gridcolor", "#eeeeee")),
                  linewidth=units.points(s.get("gridwidth", 0.8)),
                  linestyle=units.dash(s.get("griddash"), 0.5))  # fmt: skip
    else:
        axis.grid(False)
    outside = {"outside": "out", "inside": "in"}.get(s.get("ticks", ""), "")
    axis.set_tick_params(
        which="both",
        direction=outside or "out",
        length=units.points(s.get("ticklen", 5)) if outside else 0,
        color=units.color(s.get("tickcolor", ink)),
        labelsize=units.font_size(s.get("tickfont")),
        labelcolor=units.color((s.get("tickfont") or {}).get("color", ink)),
    )
    if s.get("tickangle") is not None:
        turn = -float(s["tickangle"])
        axis.set_tick_params(labelrotation=turn)
    far = s.get("side") in ("top", "right")
    near = {"x": ("bottom", "top"), "y": ("left", "right")}[which]
    for side, own in zip(near, (not far, far), strict=True):
        line = ax.spines[side]
        line.set_visible(bool((own and s.get("visible", True)) or s.get("mirror")))
        line.set_color(units.color(s.get("linecolor", "#444444")))
        line.set_linewidth(max(0.5, units.points(s.get("linewidth", 1))))
    if far:
        axis.set_ticks_position(near[1])
        axis.set_label_position(near[1])
    if s.get("zeroline") and scale.kind == "linear":
        draw = ax.axvline if which == "x" else ax.axhline
        draw(0, color=units.color(s.get("zerolinecolor", "#444444")),
             linewidth=units.points(s.get("zerolinewidth", 1)), zorder=0.9)  # fmt: skip
