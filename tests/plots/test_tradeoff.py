"""Figures of accuracies: the data in them, not their pixels."""

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest

from grace_geom.plots import static
from grace_geom.plots.accuracies import as_map, data_sets, dots, widest
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import LIGHT
from grace_geom.plots.placing import add_leaders, label_at, place_labels, uncrossed
from grace_geom.plots.tradeoff import SIZE, pareto, tradeoff, tradeoffs
from grace_geom.records import Estimate, questions, shown
from tests.app.conftest import evaluation
from tests.records.flowers import BY_CLASS, flowers

RECORDS = {
    name: evaluation(name, clean, attacked)
    for name, clean, attacked in (("zero-shot-s0", 60, 5), ("ft-s0", 90, 10), ("grace-s0", 80, 50))
}
RUNS = {
    name: {
        c: Estimate(v, 0.02, v - 0.04, v + 0.04) if v is not None else None
        for c, v in record.summary.items()
    }
    for name, record in RECORDS.items()
}
ASKED = {name: questions(record.accuracies) for name, record in RECORDS.items()}


def legend_of(*names: str) -> Legend:
    return Legend.of({n: Identity(n[:-3], n) for n in names}, {n: n for n in names})


LEGEND = legend_of(*RUNS)


def test_pareto_is_what_comparing_every_pair_finds():
    points = {str(i): ((7 * i) % 11 / 11, (5 * i) % 13 / 13) for i in range(40)}

    def beaten(a: tuple[float, float]) -> bool:
        return any(b[0] >= a[0] and b[1] >= a[1] and b != a for b in points.values())

    assert set(pareto(points)) == {name for name, p in points.items() if not beaten(p)}


def test_tradeoff_shows_percent_with_intervals_and_rings_the_front():
    figure = tradeoff(RUNS, LEGEND, "ID", "Adv", ("x", "y"))
    assert figure is not None
    trace = next(t for t in figure.data if t.name == "ft-s0")
    assert (trace.x[0], trace.y[0]) == (90, 10)
    assert trace.error_x.array[0] == pytest.approx(4)
    ringed = next(t for t in figure.data if t.name == "not beaten in both")
    assert sorted(zip(ringed.x, ringed.y, strict=True)) == [(80, 50), (90, 10)]
    steps = next(t for t in figure.data if t.name == "Pareto front")
    assert steps.line.shape == "hv"
    assert list(steps.x) == sorted(
        steps.x, reverse=True
    )  # from the right, so that steps stay inside of the front


def test_tradeoff_without_the_column_is_no_figure():
    assert (
        tradeoff({"a": {"ID": Estimate(0.5, 0, 0.5, 0.5)}}, LEGEND, "ID", "Adv", ("x", "y")) is None
    )


def test_names_are_not_read_as_tags():
    wild = {"<b>x</b>": RUNS["grace-s0"]}
    figure = tradeoff(wild, legend_of(*wild), "ID", "Adv", ("x", "y"))
    assert figure is not None
    named = next(trace for trace in figure.data if trace.text)
    assert named.name == named.text[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<b>x" not in named.hovertemplate


def test_labels_of_two_close_points_do_not_cover_each_other():
    a, b = Estimate(0.5, 0, 0.5, 0.5), Estimate(0.51, 0, 0.51, 0.51)
    places = place_labels(
        {"a": (a, a), "b": (b, b)},
        {"a": "a long name", "b": "a long name"},
        [[0, 100], [0, 100]],
        SIZE,
    )
    assert places["a"] != places["b"]


def test_a_name_stays_inside_of_the_plot():
    at = Estimate(0.99, 0, 0.99, 0.99), Estimate(0.5, 0, 0.5, 0.5)
    spans = [[0.0, 100.0], [0.0, 100.0]]
    assert place_labels({"a": at}, {"a": "a long name"}, spans, SIZE)["a"].endswith("left")


def test_of_many_points_only_those_of_the_front_are_named():
    runs = [f"run{i:02}" for i in range(15)]  # the last three are beaten by none
    values = {run: (0.1 + 0.02 * i, 0.9 - 0.1 * (i - 12) if i > 11 else 0.2)
              for i, run in enumerate(runs)}  # fmt: skip
    estimates = {
        run: {c: Estimate(v, 0.01, v - 0.01, v + 0.01) for c, v in zip("xy", pair, strict=True)}
        for run, pair in values.items()
    }
    figure = tradeoff(estimates, legend_of(*runs), "x", "y", ("x", "y"))
    assert figure is not None
    named = {t.name for t in figure.data if "text" in (t.mode or "")}
    assert named == set(pareto(values)) == set(runs[12:])


def test_points_behind_the_front_of_many_stand_back_and_seeds_are_within_the_axes():
    at = [0.30 + 0.01 * i for i in range(26)]
    estimates = {
        f"run{i}": {c: Estimate(v, 0.01, v - 0.01, v + 0.01) for c in "xy"}
        for i, v in enumerate(at)
    }
    numbers = {run: str(i) for i, run in enumerate(estimates)}
    legend = legend_of(*estimates)
    singles = {"run3": [(0.05, 0.1), (0.2, 0.97)], "stranger": [(0.0, 0.0)]}
    figure = tradeoff(estimates, legend, "x", "y", ("x", "y"), numbers=numbers, singles=singles)
    named = [t for t in figure.data if "text" in (t.mode or "")]
    assert [t.name for t in named] == ["25: run25"], "26 numbers would be a cloud"
    behind = next(t for t in figure.data if t.name == "3: run3")
    assert behind.marker.size < named[0].marker.size
    assert behind.error_x.array is None and named[0].error_x.array is not None
    seeds = figure.data[0]
    assert list(seeds.x) == pytest.approx([5, 20]) and seeds.hoverinfo == "skip"
    assert figure.layout.xaxis.range[0] < 5 and figure.layout.yaxis.range[1] > 97
    fewer = dict(list(estimates.items())[:20])
    figure = tradeoff(fewer, legend, "x", "y", ("x", "y"), numbers=numbers)
    assert sum("text" in (t.mode or "") for t in figure.data) == 20


def written_at(place: str, x: float, y: float, name: str) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of letters of 12 pixels, from a point in pixels."""
    wide = 7 * len(name)
    if place.startswith("led "):
        right, up = map(float, place.split()[1:])
        return x + right - wide / 2, y + up - 7, x + right + wide / 2, y + up + 7
    vertical, horizontal = place.split()
    left = x + {"left": -9 - wide, "center": -wide / 2, "right": 9}[horizontal]
    bottom = y + {"bottom": -25, "middle": -8, "top": 9}[vertical]
    return left, bottom, left + wide, bottom + 14


def test_a_name_without_room_beside_its_point_stands_at_the_end_of_a_line():
    at = {
        "at-s0": (3.1, 74.0),
        "ft-s0": (26.7, 1.3),
        "lora-s0": (24.4, 1.7),
        "zero-shot-s0": (43.6, 1.0),
    }
    points = {
        run: (Estimate(x / 100, 0, x / 100, x / 100), Estimate(y / 100, 0, y / 100, y / 100 + 0.02))
        for run, (x, y) in at.items()
    }
    spans = [[-9.1, 55.8], [-4.0, 88.0]]
    places = place_labels(points, {run: run for run in at}, spans, (230, 200))
    scale = [size / (span[1] - span[0]) for size, span in zip((230, 200), spans, strict=True)]
    boxes = []
    for run, (x, y) in at.items():
        middle = (x - spans[0][0]) * scale[0], (y - spans[1][0]) * scale[1]
        boxes.append(written_at(places[run], *middle, run))
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    led = [run for run, place in places.items() if place.startswith("led ")]
    assert led and "at-s0" not in led  # which has room
    assert label_at(places[led[0]], "a")["text"] == [""]
    assert label_at("top left", "a") == {"text": ["a"], "textposition": "top left"}
    figure = go.Figure(go.Scatter(x=[1], y=[2]))
    add_leaders(figure, {"a": "led 30 -40", "b": "top left"}, {"a": (1, 2)}, {"a": "<a>"}, LIGHT)
    (note,) = figure.layout.annotations
    assert (note.text, note.x, note.y, note.ax, note.ay) == ("&lt;a&gt;", 1, 2, 30, 40)


CLOSE = {
    "1": (96.0, 80.2), "2": (94.0, 78.8), "3": (92.8, 70.6), "4": (93.6, 66.8), "5": (91.0, 71.4),
    "6": (93.5, 66.2), "7": (90.5, 72.2), "8": (90.5, 72.0), "9": (82.0, 62.2), "10": (75.6, 49.6),
    "11": (58.7, 38.8),
}  # fmt: skip
"""Accuracies of eleven runs, of which seven are close."""


def lines_of(places: dict[str, str], at: dict[str, tuple[float, float]]) -> list[np.ndarray]:
    """Both ends of each line to a name, in pixels."""
    return [
        np.array([at[run], np.add(at[run], [float(x) for x in place.split()[1:]])])
        for run, place in places.items()
        if place.startswith("led ")
    ]


def meet(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two lines cross: solved for how far along each of them that is."""
    along = np.column_stack([one[1] - one[0], other[0] - other[1]])
    if abs(np.linalg.det(along)) < 1e-9:
        return False
    shares = np.linalg.solve(along, other[0] - one[0])
    return bool(((shares > 0) & (shares < 1)).all())


def test_lines_to_the_names_of_close_points_do_not_cross():
    def placed(size: tuple[int, int]) -> tuple[dict[str, str], dict[str, tuple[float, float]]]:
        share = {run: [v / 100 for v in xy] for run, xy in CLOSE.items()}
        points = {
            run: (Estimate(x, 0, x - 0.01, x + 0.01), Estimate(y, 0, y - 0.04, y + 0.04))
            for run, (x, y) in share.items()
        }
        spans = [[52.0, 101.0], [29.0, 90.0]]
        places = place_labels(points, {run: run for run in points}, spans, size, ["1"])
        scale = [n / (high - low) for n, (low, high) in zip(size, spans, strict=True)]
        return places, {
            run: ((x - spans[0][0]) * scale[0], (y - spans[1][0]) * scale[1])
            for run, (x, y) in CLOSE.items()
        }

    for size in ((330, 185), (260, 185), (200, 150)):
        places, at = placed(size)
        lines = lines_of(places, at)
        assert len(lines) > 1
        assert not any(meet(a, b) for a, b in itertools.combinations(lines, 2)), size
        left, bottom, right, top = written_at(places["1"], *at["1"], "1")
        x, y = np.clip(at["1"][0], left, right), np.clip(at["1"][1], bottom, top)
        assert np.hypot(x - at["1"][0], y - at["1"][1]) > 10, "a name keeps clear of its ring"


def test_lines_that_cross_exchange_their_ends():
    at = {"a": (0.0, 0.0), "b": (10.0, 0.0), "c": (50.0, 0.0), "d": (5.0, 5.0)}
    places = {"a": "led 20 30", "b": "led -15 30", "c": "led 0 30", "d": "top left"}
    assert sum(meet(a, b) for a, b in itertools.combinations(lines_of(places, at), 2)) == 1
    found = uncrossed(places, at)
    assert found == places | {"a": "led -5 30", "b": "led 10 30"}
    fan = {str(i): (10.0 * i, 0.0) for i in range(6)}
    mirrored = {str(i): f"led {50 - 20 * i} {40 + i}" for i in range(6)}
    lines = lines_of(uncrossed(mirrored, fan), fan)
    assert not any(meet(a, b) for a, b in itertools.combinations(lines, 2))


def test_dots_have_one_row_a_data_set_and_the_intervals_of_the_record():
    keys = data_sets(ASKED.values(), ("id", "ood", "adv"))
    figure = dots(ASKED, LEGEND, keys)
    assert figure is not None
    assert [key[0] for key in keys] == ["id", "ood", "ood", "adv"]
    assert len(figure.layout.yaxis.ticktext) == len(keys)
    trace = next(t for t in figure.data if t.name == "grace-s0")
    assert list(trace.x) == [80, 80, 80, 50]
    assert list(trace.error_x.arrayminus) == pytest.approx([4] * 4)
    assert dots(ASKED, LEGEND, ()) is None


def test_the_map_of_data_sets_writes_each_number_and_colours_within_its_column():
    keys = data_sets(ASKED.values(), ("id", "ood", "adv"))
    figure = as_map(ASKED, LEGEND, keys)
    assert figure is not None
    (cells,) = figure.data
    runs = list(ASKED)[::-1]  # the first row lies below
    for i, run in enumerate(runs):
        for j, key in enumerate(keys):
            e = shown(ASKED[run][key])
            assert cells.text[i][j] == f"{100 * e.value:.1f}"
            assert list(cells.customdata[i][j]) == pytest.approx(
                [100 * e.value, 100 * e.low, 100 * e.high]
            )
    z = np.asarray(cells.z, float)
    assert (
        z.min() == 0 and z.max() == 1 and (z.argmax(0) == cells.customdata[..., 0].argmax(0)).all()
    )
    assert widest(ASKED, keys) == pytest.approx(max(
        50 * (e.high - e.low) for known in ASKED.values() for e in (shown(known[k]) for k in keys)
    ))  # fmt: skip
    static.draw(figure, 7).draw_without_rendering()
    partly = {run: dict(list(known.items())[:1]) for run, known in list(ASKED.items())[:1]}
    assert as_map(ASKED | partly, LEGEND, keys) is not None  # a cell without a number is empty
    assert as_map(ASKED, LEGEND, ()) is None


def test_intervals_over_few_seeds_do_not_stretch_an_axis_of_percent():
    wide = {"ft-s0": {"ID": Estimate(0.5, 1, -3.0, 4.0), "Adv": Estimate(0.1, 1, -1.0, 1.2)}}
    figure = tradeoff(wide, LEGEND, "ID", "Adv", ("x", "y"))
    assert figure is not None
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert axis.range[0] >= -5 and axis.range[1] <= 105


def test_the_steps_of_the_front_do_not_cross_a_name():
    at = {"ft": (96.8, 76.2), "grace": (93.0, 63.5)}
    points = {
        run: tuple(Estimate(v / 100, 0, v / 100, v / 100) for v in xy) for run, xy in at.items()
    }
    spans, size = [[62.0, 101.0], [58.0, 79.0]], (320, 270)
    free = place_labels(points, {run: run for run in at}, spans, size)
    kept = place_labels(points, {run: run for run in at}, spans, size, ["ft"])
    assert (free["grace"], kept["grace"]) == ("top right", "top left")


def test_several_tradeoffs_say_what_their_marks_mean_and_what_they_rest_on():
    figure = tradeoffs(RUNS, LEGEND, ("ID", "x"), (("Adv", "y"), ("OOD", "z")), note="n = 3 < 4")
    assert figure is not None and figure.layout.showlegend
    assert [t.name for t in figure.data if t.showlegend] == ["Pareto front", "not beaten in both"]
    assert figure.layout.annotations[-1].text == "n = 3 &lt; 4"


def test_a_set_that_papers_report_by_class_is_drawn_so():
    asked = {"ft-s0": {("zeroshot", "flowers"): flowers()}}
    figure = dots(asked, legend_of("ft-s0"), [("zeroshot", "flowers")])
    (trace,) = figure.data
    mean = shown(flowers())
    assert trace.x == (100 * BY_CLASS,)
    assert trace.error_x.array == pytest.approx([100 * (mean.high - mean.value)])
    assert trace.customdata[0][1] == "mean of 3 classes, n = 15"
    assert figure.layout.xaxis.title.text == "Top-1 or mean per-class accuracy (%)"
