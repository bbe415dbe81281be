"""Names at the ends of lines."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from grace_geom.plots import static, training
from grace_geom.plots.coinciding import said
from grace_geom.plots.ends import LINE, MOST_BESIDE, name_ends, name_panels, stacked
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.panels import Curve, overlay
from grace_geom.plots.spoken import spoken
from grace_geom.plots.variants import LONG, fitted

RUNS = [*"abcd"]
LEGEND = Legend.of({r: Identity("ft", "ft", i) for i, r in enumerate(RUNS)}, {r: r for r in RUNS})


def names(figure):
    return {t.text[1].strip(): t for t in figure.data if t.mode == "lines+text"}


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_a_thin_line_leads_from_the_last_point_to_the_name(kind):
    lines = {"a": Curve([0, 1, 2], [1, 2, 10.0]), "b": Curve([0, 1, 2], [1, 2, np.nan])}
    plain = overlay(lines, LEGEND, {}, {"type": kind}, behind=["b"])
    figure = name_ends(plain, LEGEND, ["b"])
    a, b = (names(figure)[run] for run in "ab")
    assert (a.x[0], a.y[0], b.x[0], b.y[0]) == pytest.approx((2, 10, 1, 2))
    assert a.x[1] == b.x[1] > 2 and (a.y[1], b.y[1]) == pytest.approx((10, 2))
    low, high = figure.layout.xaxis.range
    assert low < 0 and high > a.x[1] and figure.layout.yaxis.type == kind
    cover = figure.data[0]  # no line of the grid goes through a name
    assert 2 < min(cover.x) < a.x[1] and max(cover.x) == high and not figure.layout.shapes
    ends = [10**y if kind == "log" else y for y in figure.layout.yaxis.range]
    assert [min(cover.y), max(cover.y)] == pytest.approx(ends)
    assert cover.fillcolor == LEGEND.ground.paper and cover.hoverinfo == "skip"
    assert b.textfont.color == LEGEND.ground.muted != a.textfont.color
    assert not names(plain) and spoken(figure) == spoken(plain)
    assert said({"": figure}, {r: r for r in RUNS}) == ""  # two thin lines are no runs
    static.draw(figure, 7).draw_without_rendering()
    assert name_ends(overlay({}, LEGEND, {}, {}), LEGEND).data == ()


def test_names_are_spread_as_little_as_can_be():
    wanted = {"a": 50.0, "b": 52.0, "c": 20.0, "d": 199.0, "e": 55.0}
    found = stacked(wanted, 200)
    order = [*found]
    goal = np.array([wanted[name] for name in order])
    gaps = [{"type": "ineq", "fun": lambda x, i=i: x[i + 1] - x[i] - LINE} for i in range(4)]
    best = minimize(
        lambda x: ((x - goal) ** 2).sum(),
        goal,
        constraints=gaps,
        bounds=[(LINE / 2, 200 - LINE / 2)] * 5,
    )
    np.testing.assert_allclose([*found.values()], best.x, atol=1e-3)
    crowded = [*stacked(dict.fromkeys(RUNS, 200.0), 200).values()]
    assert crowded == [200 - LINE * (n + 0.5) for n in (3, 2, 1, 0)]


def test_a_run_has_at_the_end_of_its_line_the_name_of_its_row():
    legend = replace(LEGEND, names={"a": "at · attack steps 1", "b": "x" * LONG, "c": "y" * 30})
    lines = {run: Curve([0, 1], [0.0, i]) for i, run in enumerate("abc")}
    ends = names(name_ends(overlay(lines, legend, {}, {}), legend))
    assert {*ends} == {*fitted(legend.names, LONG).values()} >= {"at · attack steps 1", "x" * LONG}


def test_where_there_is_no_room_for_all_names_those_in_grey_are_left_out():
    close = {run: Curve([0, 1], [0.0, 50]) for run in RUNS}
    low = overlay(close, LEGEND, {}, {"range": [0, 100]}, height=90 + 2 * LINE, behind="ac")
    assert set(names(name_ends(low, LEGEND, "ac"))) == {"b", "d"}


def test_grey_lines_that_end_close_together_share_a_label():
    runs = [f"run{i}" for i in range(9)]
    legend = Legend.of(
        {r: Identity("ft", "ft", i) for i, r in enumerate(runs)}, {r: r for r in runs}
    )
    heights = [0.9, 0.8, 0.36, 0.355, 0.352, 0.351, 0.35, 0.348, 0.2]
    lines = {run: Curve([0, 1], [1.0, y]) for run, y in zip(runs, heights, strict=True)}
    behind = runs[1:]
    figure = name_ends(overlay(lines, legend, {}, {"range": [0, 1]}, behind=behind), legend, behind)
    said = names(figure)
    assert set(said) == {"run0", "run1", "run8", "6 at 0.35\u20130.36"}
    (bracket,) = (t for t in figure.data if t.mode == "lines" and t.x[0] == t.x[1] != 1)
    assert bracket.y == (0.348, 0.36)
    loose = {run: Curve([0, 1], [1.0, 0.1 * i]) for i, run in enumerate(runs)}
    named = name_ends(overlay(loose, legend, {}, {"range": [0, 1]}, behind=behind), legend, behind)
    assert set(names(named)) == {*runs}
    static.draw(figure, 7).draw_without_rendering()


def test_panels_below_each_other_have_names_beside_an_axis_that_ends_where_lines_do():
    logs = {run: [{"step": s, "loss": 1.0 + i, "train_acc": 0.5 + i / 50} for s in range(1, 9 + i)]
            for i, run in enumerate(RUNS)}  # fmt: skip
    plain = training.stack(logs, LEGEND, ["loss", "train_acc"])
    figure = name_panels(plain, LEGEND)
    leads = [t for t in figure.data if t.mode == "lines+text"]
    assert [(t.xaxis, t.yaxis) for t in leads] == [("x2", "y101")] * 4 + [("x2", "y102")] * 4
    for own, names_of in ((figure.layout.yaxis, figure.layout.yaxis101),
                          (figure.layout.yaxis2, figure.layout.yaxis102)):  # fmt: skip
        assert (own.range, own.domain, own.type) == (names_of.range, names_of.domain, names_of.type)
        assert names_of.visible is False, "the grid ends where the lines do"
    for lead in leads:
        (line,) = (
            t
            for t in plain.data
            if (t.legendgroup, t.yaxis)
            == (lead.legendgroup, lead.yaxis.replace("10", "").rstrip("1"))
        )
        assert lead.y[0] == line.y[-1] and lead.textfont.color == line.line.color
    assert figure.layout.xaxis.range == plain.layout.xaxis.range
    assert figure.layout.xaxis.domain[1] == figure.layout.xaxis2.domain[0]
    assert spoken(figure) == spoken(plain) and said({"": figure}, LEGEND.names) == ""
    static.draw(figure, 7).draw_without_rendering()


def test_lines_that_end_together_share_a_label_where_their_names_would_fan_out():
    runs = [f"run{i}" for i in range(9)]
    legend = Legend.of(
        {r: Identity("ft", "ft", i) for i, r in enumerate(runs)}, {r: r for r in runs}
    )
    ends = {
        "lr": [4e-6 * i for i in range(9)],  # on an axis to 0.006: together
        "images_per_s": [600, *range(94, 126, 4)],
        "train_acc": [0.9, *(0.12 + 0.003 * i for i in range(8))],
        "loss": [1 + 0.12 * i for i in range(9)],  # each near its own name
    }
    starts = {"lr": 0.006, "images_per_s": 600, "train_acc": 0.1, "loss": 3.0}
    logs = {
        run: [{"step": 0} | starts, {"step": 1} | {key: y[i] for key, y in ends.items()}]
        for i, run in enumerate(runs)
    }
    figure = name_panels(training.stack(logs, legend, [*ends]), legend)
    said: dict[str, list[str]] = {}
    for lead in figure.data:
        if lead.mode == "lines+text":
            said.setdefault(lead.yaxis, []).append(lead.text[1].strip())
    assert said["y101"] == ["9 at 0"]
    assert sorted(said["y102"]) == ["8 at 90\u2013120", "run0"]
    assert sorted(said["y103"]) == ["8 at 12\u201314%", "run0"]
    assert sorted(said["y104"]) == runs
    (bracket,) = (t for t in figure.data if t.yaxis == "y102" and t.mode == "lines")
    assert bracket.y == (94, 122) and bracket.x[0] == bracket.x[1] > 0
    static.draw(figure, 7).draw_without_rendering()


def test_the_name_of_the_axis_above_stands_at_its_end_on_the_line_of_its_numbers():
    logs = {"a": [dict.fromkeys(("step", "loss", "lr", "loss_original"), 1.0)]}
    plain = training.stack(logs, LEGEND, ["loss_original", "lr", "loss"], training.View("share"))
    figure = name_panels(plain, LEGEND)
    head, along = figure.layout.annotations[:2]
    assert (along.x, along.xanchor, along.text) == (1, "left", "Share of log (%)")
    assert along.yshift + 18 < head.yshift, "below the name of the panel"
    rooms = [f.layout.height - f.layout.margin.t for f in (plain, figure)]
    assert rooms[0] == rooms[1] and plain.layout.margin.t > figure.layout.margin.t


def test_a_line_beyond_its_panel_and_lines_of_a_crowd_have_no_names():
    sizes = {"a": 1.0, "b": 1.1, "c": 1.2, "d": 400.0}
    logs = {run: [{"step": s, "loss": y} for s in range(9)] for run, y in sizes.items()}
    figure = name_panels(training.stack(logs, LEGEND, ["loss"]), LEGEND)
    assert set(names(figure)) == {"a", "b", "c"}
    many = {f"r{i}": Identity("ft", "ft", i) for i in range(MOST_BESIDE + 1)}
    crowd = Legend.of(many, {run: run for run in many})
    plain = training.stack(dict.fromkeys(many, logs["a"]), crowd, ["loss"])
    assert name_panels(plain, crowd) is plain
