"""Places on linear, logarithmic and probit axes, the line and its band, and parallel axes."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.numbers import (
    NARROW,
    Axis,
    Column,
    Drawn,
    colors_of,
    labels,
    parallel,
    parallel_width,
    places,
    scatter,
)
from grace_geom.plots.palette import DARK, LIGHT
from grace_geom.plots.spoken import spoken
from grace_geom.plots.static import draw
from grace_geom.records.fit import line_of
from grace_geom.records.numbers import Datum

RUNS = ("ft", "at", "grace")
LEGEND = Legend.of({run: Identity(run, run) for run in RUNS}, {run: run for run in RUNS})
POINTS = {
    "ft": (Datum(0.9, 0.85, 0.95), Datum(10.0, 8.0, 12.0)),
    "at": (Datum(0.5, 0.45, 0.55), Datum(100.0)),
    "grace": (Datum(0.7, 0.65, 0.75), Datum(0.0, -1.0, 1.0)),
}


@pytest.mark.parametrize(
    ("axis", "value", "place"),
    [
        (Axis("a"), -3.0, -3.0),
        (Axis("a", share=True), 0.4, 40.0),
        (Axis("a", "log"), 100.0, 2.0),
        (Axis("a", "probit", True), 0.8, norm.ppf(0.8)),
    ],
)
def test_a_place_leads_back_to_its_value(axis, value, place):
    assert axis.place(value) == pytest.approx(place)
    assert axis.back(axis.place(value)) == pytest.approx(value)


def test_ends_without_a_place_are_left_out():
    log = Axis("a", "log")
    assert log.place(0.0) is None and log.spot(Datum(-1.0)) is None
    spot = log.spot(Datum(1.0, -1.0, 10.0))
    assert (spot.low, spot.value, spot.high) == (0.0, 0.0, 1.0)
    assert Axis("a", "probit", True).place(1.0) == pytest.approx(norm.ppf(0.998))
    assert set(places(POINTS, Axis("x", share=True), log)) == {"ft", "at"}


def test_points_stand_at_their_places_with_their_intervals_and_line():
    x, y = Axis("ID (%)", "probit", True), Axis("cost", "log")
    at = places(POINTS, x, y)
    line = line_of([0.0, 1.0, 2.0], [1.0, 1.4, 2.1])
    figure = scatter(POINTS, LEGEND, x, y, Drawn(line, ("ft",), {"at": "#112233"}))
    named = {trace.name: trace for trace in figure.data}
    assert set(named) == {"95 % band", "line", "ft", "at"}  # 0 has no place on a log axis
    ft = named["ft"]
    assert (ft.x[0], ft.y[0]) == pytest.approx(at["ft"])
    assert ft.error_x.array[0] == pytest.approx(norm.ppf(0.95) - norm.ppf(0.9))
    assert ft.error_y.arrayminus[0] == pytest.approx(1 - math.log10(8))
    assert ft.marker.symbol == "circle-open" and named["at"].marker.color == "#112233"
    assert "90 % [85, 95]" in ft.hovertemplate and "10 [8, 12]" in ft.hovertemplate
    drawn = named["line"]
    assert drawn.y[5] == pytest.approx(line.at(drawn.x[5])[0])
    assert "50" in figure.layout.xaxis.ticktext and "20" in figure.layout.yaxis.ticktext
    draw(figure, 6.9)  # on paper too
    assert scatter({}, LEGEND, x, y) is None


def test_one_long_name_is_shortened_and_the_others_stand_beside_their_points():
    names = {
        "ft": "ft",
        "at": "at · attack steps 1 · alpha 5/255 · max steps 588",
        "grace": "grace",
    }
    legend = Legend.of({run: Identity(run, run) for run in RUNS}, names)
    written = labels(names)
    assert (written["ft"], written["grace"]) == ("ft", "grace")
    assert len(written["at"]) < 30 and written["at"].startswith("at · ") and "…" in written["at"]
    near = {run: (Datum(0.3 + 0.2 * i), Datum(0.5 + 0.1 * i)) for i, run in enumerate(RUNS)}
    figure = scatter(near, legend, Axis("x"), Axis("y"))
    said = {text for t in figure.data for text in t.text} | {
        a.text for a in figure.layout.annotations
    }
    assert set(written.values()) <= said
    assert "at · attack steps 1 · alpha 5/255 · max steps 588" in {t.name for t in figure.data}
    assert labels(dict.fromkeys("abc", 30 * "x")) == {}  # a legend tells these
    assert labels({str(i): str(i) for i in range(15)}) == {}


def test_names_stay_inside_of_the_figure_on_a_telephone():
    far = {run: (Datum(0.1 + 0.4 * i), Datum(0.5 + 0.1 * i)) for i, run in enumerate(RUNS)}
    names = {run: f"{run}-seed0"[:8] for run in RUNS}
    figure = scatter(far, Legend.of({r: Identity(r, r) for r in RUNS}, names), Axis("x"), Axis("y"))
    low, high = figure.layout.xaxis.range
    for trace in figure.data:
        ((middle,), (word,)) = trace.x, trace.text
        width, at = 7.2 * len(word), 300 * (middle - low) / (high - low)
        side = trace.textposition.split()[1]
        left = at + {"left": -width - 9, "center": -width / 2, "right": 9}[side]
        assert word and left >= 0 and left + width <= 300, trace.textposition


def test_names_are_clear_of_each_other_on_a_telephone_too():
    runs = {"adv-flyp-s0": (0.225, 61.3), "grace-plus-s0": (0.39, 60.8), "at-s0": (0.52, 35.0),
            "agft-s0": (0.1, 49.5)}  # fmt: skip
    at = {run: (Datum(x), Datum(y)) for run, (x, y) in runs.items()}
    legend = Legend.of({r: Identity(r, r) for r in runs}, {r: r for r in runs})
    figure = scatter(at, legend, Axis("x"), Axis("y"))
    spans = figure.layout.xaxis.range, figure.layout.yaxis.range
    for width in (760, NARROW):
        boxes = {}
        for trace in figure.data:
            assert trace.text[0], "none stands off"
            x, y = (size * (place[0] - low) / (high - low) for place, (low, high), size in
                    zip((trace.x, trace.y), spans, (width, 330), strict=True))  # fmt: skip
            vertical, side = trace.textposition.split()
            wide = 7.2 * len(trace.text[0])
            left = x + {"left": -wide - 9, "center": -wide / 2, "right": 9}[side]
            low = y + {"bottom": -25, "middle": -8, "top": 9}[vertical]
            boxes[trace.text[0]] = left, low, left + wide, low + 16
        for (a, one), (b, other) in itertools.combinations(boxes.items(), 2):
            apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3]
            assert apart or other[1] >= one[3], (width, a, b)


DRIFTS = {
    "adv-flyp-s0": (0.2248, 61.29), "agft-s0": (0.1066, 49.57), "at · attack steps 1": (0.4308, 33.72),
    "at": (0.2376, 49.64), "comp-tga-s0": (0.2316, 53.53), "grace-plus-s0": (0.391, 60.75),
    "grace-s0": (0.5173, 46.36), "lora-mix-at-s0": (0.5151, 46.51), "mix-at-s0": (0.2321, 46.21),
    "tga-zsr-s0": (0.2228, 55.82), "ucat-s0": (0.2158, 57.09),
}  # fmt: skip
"""Relative weight drift and zero-shot accuracy of eleven runs."""


def test_a_line_to_a_name_passes_no_other_marker():
    at = {run: (Datum(x), Datum(y / 100, y / 100 - 0.009, y / 100 + 0.009))
          for run, (x, y) in DRIFTS.items()}  # fmt: skip
    legend = Legend.of({r: Identity(r, r) for r in at}, {r: r for r in at})
    line = line_of(*zip(*DRIFTS.values(), strict=True))
    figure = scatter(at, legend, Axis("x"), Axis("y", share=True), Drawn(line))
    spans = figure.layout.xaxis.range, figure.layout.yaxis.range
    led = 0
    for width in (760, NARROW):
        scale = [n / (high - low) for n, (low, high) in zip((width, 330), spans, strict=True)]
        middles = {run: np.multiply(scale, place) for run, place in DRIFTS.items()}
        for note in figure.layout.annotations:
            own = np.multiply(scale, (note.x, note.y))
            along = own + np.linspace(0, 1, 500)[:, None] * np.array([note.ax, -note.ay])
            for run, middle in middles.items():
                if np.linalg.norm(middle - own) > 9:  # others lie over the point itself
                    led += 1
                    gap = np.linalg.norm(along - middle, axis=1).min()
                    assert gap > 8, (width, note.text, run, gap)
    assert led


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_numbers_of_parallel_axes_have_a_halo_in_the_colour_of_the_page(ground):
    legend = Legend.of({run: Identity(run, run) for run in RUNS}, {r: r for r in RUNS}, ground)
    figure = parallel([Column(c, dict.fromkeys(RUNS, 0.5)) for c in "ab"], RUNS, legend)
    shadow = figure.data[0].tickfont.shadow.split(", ")
    assert {one.split()[-1] for one in shadow} == {ground.paper}
    beside = [int(one.split()[0].removesuffix("px")) for one in shadow]
    assert (min(beside), max(beside)) == (-3, 3), "wider than the space between two digits"


def test_parallel_axes_have_room_for_their_titles_and_short_names():
    long = {"ft": "ft · attack steps 1 · alpha 5/255 · max steps 588", "at": "at", "grace": "grace"}
    legend = Legend.of({r: Identity(r, r) for r in RUNS}, long)
    columns = [Column(title, dict.fromkeys(RUNS, 0.5)) for title in ("a", 10 * "title ", "HM")]
    figure = parallel(columns, RUNS, legend)
    (trace,) = figure.data
    title = trace.dimensions[2].label
    assert (
        max(map(len, title.split("<br>"))) <= 11
        and title.replace("<br>", " ") == columns[1].title.strip().capitalize()
    )
    assert (
        trace.labelside == "bottom" and figure.layout.margin.b > 100
    )  # below, any number of lines
    assert figure.layout.height - figure.layout.margin.t - figure.layout.margin.b >= 256
    (few,) = parallel([Column("learning rate", {}, few=True), columns[2]], RUNS, legend).data
    assert few.labelside == "top" and few.dimensions[1].label == "Learning<br>rate"
    assert parallel_width(figure) > 3 * 72
    assert all(len(name) <= 30 for name in trace.dimensions[0].ticktext)
    assert figure.layout.margin.l < 250


def test_a_narrow_probit_axis_has_ticks_enough():
    near = {run: (Datum(0.62 + 0.05 * i), Datum(0.6 + 0.02 * i)) for i, run in enumerate(RUNS)}
    axes = Axis("ID (%)", "probit", True), Axis("OOD (%)", "probit", True)
    figure = scatter(near, LEGEND, *axes)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        inside = [t for t in axis.tickvals if axis.range[0] <= t <= axis.range[1]]
        assert len(inside) >= 4
    assert "62" in figure.layout.yaxis.ticktext


def test_runs_are_lines_of_their_colour_across_settings_and_numbers():
    columns = [
        Column("lr", {"ft": 1e-3, "grace": 6e-3}, few=True),
        Column("head", {"ft": "yes", "at": "no", "grace": "yes"}, few=True),
        Column("ID", {"ft": 0.9, "at": 0.5, "grace": 0.7}, share=True),
    ]
    (trace,) = parallel(columns, RUNS, LEGEND).data
    names, lr, head, share = trace.dimensions
    assert names.ticktext == RUNS
    assert lr.ticktext == ("–", "0.001", "0.006") and list(lr["values"][:3]) == [1, 0, 2]
    assert head.ticktext == ("no", "yes") and list(head["values"][:3]) == [1, 0, 1]
    assert list(share["values"][:3]) == pytest.approx([90, 50, 70])
    assert "ID: 50 to 90" in spoken(parallel(columns, RUNS, LEGEND))
    # A line of one pixel is drawn three times, each a little beside the first.
    every = np.reshape(share["values"], (3, 3))
    assert trace.line.color == (0.5, 1.5, 2.5) * 3
    assert 0 < np.abs(every[1:] - every[0]).max() < 0.005 * np.ptp(share.range)
    assert [color for _, color in trace.line.colorscale][::2] == [
        LEGEND.looks[run].color for run in RUNS
    ]
    assert parallel(columns[:1], RUNS, LEGEND) is None


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_values_of_a_setting_have_a_colour_each(ground):
    numbers = colors_of({"a": 0.1, "b": 2.0, "c": 0.1}, ground)
    assert list(numbers) == ["0.1", "2.0"] and len(set(numbers.values())) == 2
    texts = colors_of({"a": "cosine", "b": "constant"}, ground)
    assert set(texts) == {"cosine", "constant"} and len(set(texts.values())) == 2
    assert all(np.char.startswith(list(numbers.values()), "#"))
    assert colors_of({}, ground) == {}
