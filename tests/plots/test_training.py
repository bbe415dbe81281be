"""Figures of training records and ranks."""

import itertools

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from grace_geom.plots import curriculum, ranges, training
from grace_geom.plots.checks import has_bars
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import LIGHT, look
from grace_geom.plots.seed_bands import over_seeds
from grace_geom.plots.training import View, series

ROWS = [
    {"step": s, "loss": 1 / s, "train_acc": 0.5, "lr": 1e-3, "seconds": 2.0 * s}
    for s in range(1, 11)
]


def legend(*runs: str, **names: str) -> Legend:
    shown = {run: run for run in runs} | names
    return Legend(shown, {run: look(run) for run in shown})


def test_a_line_holds_what_was_logged():
    figure = training.stack({"a": ROWS, "b": []}, legend("a", "b"), ["loss"])
    assert figure is not None
    assert len(figure.data) == 1
    assert list(figure.data[0].y) == [1 / s for s in range(1, 11)]
    assert training.stack({"a": ROWS}, legend("a"), ["gram_volume"]) is None
    assert training.stack({}, legend(), []) is None


def test_panels_stand_below_each_other_on_one_axis_that_the_pointer_shares():
    figure = training.stack({"a": ROWS}, legend("a"), ["loss", "gram_volume", "lr", "train_acc"])
    assert figure is not None
    assert [(t.xaxis, t.yaxis) for t in figure.data] == [("x", "y"), ("x", "y2"), ("x", "y3")]
    domains = [figure.layout[f"yaxis{n}"].domain for n in ("", 2, 3)]
    assert domains[0][1] == 1 and domains[2][0] == pytest.approx(0)
    assert all(above[0] > below[1] for above, below in itertools.pairwise(domains))
    heads = [note.text for note in figure.layout.annotations if not note.name]
    assert heads == ["Total loss", "Learning rate", "Training accuracy"]
    assert [note.text for note in figure.layout.annotations if note.name == "along"] == ["Step"]
    axis = figure.layout.xaxis
    assert (figure.layout.hoversubplots, axis.anchor, axis.side) == ("axis", "y", "top")
    two = training.stack({"a": ROWS}, legend("a"), ["loss", "lr"]).layout.xaxis
    assert (two.anchor, two.side) == ("y2", "bottom")


def test_the_name_of_an_axis_stands_above_that_of_the_first_panel_where_both_have_no_room():
    rows = [dict.fromkeys(("step", "loss_contrastive", "loss_original", "lr", "loss"), 1.0)]
    for first, view, lifted in (
        ("loss_contrastive", "share", 0), ("loss_original", "step", 0), ("loss_original", "share", 1)
    ):  # fmt: skip
        figure = training.stack({"a": rows}, legend("a"), [first, "lr", "loss"], View(view))
        head, along = figure.layout.annotations[:2]
        assert (along.yshift - head.yshift > 12) == bool(lifted), (first, view)
        free = figure.layout.margin.t - along.yshift
        assert free > 12, "the letters are on the figure"


@pytest.mark.parametrize("key", [key for key in training.TITLES if key != "lr"])
def test_panels_are_named_in_words_and_the_key_is_in_the_tooltip(key):
    figure = training.stack({"a": [{"step": 5, key: 0.5}]}, legend("a"), [key])
    assert figure is not None
    (head,) = figure.layout.annotations
    assert len(head.text) <= 50 and head.text == training.TITLES[key].partition(":")[0]
    assert figure.data[0].hovertemplate.startswith(f"{key} ")


def test_a_single_accuracy_is_not_drawn_beyond_0_and_1():
    figure = training.stack({"a": [{"step": 5, "train_acc": 1.0}]}, legend("a"), ["train_acc"])
    assert figure is not None
    low, high = figure.layout.yaxis.range
    assert 0 <= low < 1 < high < 1.05


def test_the_moving_average_has_no_pull_to_zero_and_the_log_stands_behind_it():
    values = np.random.default_rng(0).normal(5, 1, 50)
    found = training.smooth(values, 0.8)
    weights = 0.8 ** np.arange(49, -1, -1)
    assert found[-1] == pytest.approx((weights * values).sum() / weights.sum())
    assert found[0] == values[0]
    constant = training.smooth([1e-3] * 300, 0.6)
    assert set(constant.tolist()) == {1e-3}, "or its axis shows nothing but rounding"
    rows = [{"step": i, "loss": v, "val_acc": 0.5} for i, v in enumerate(values)]
    raw, line = training.stack({"a": rows}, legend("a"), ["loss"], View(smoothing=0.8)).data
    np.testing.assert_array_equal(raw.y, values)
    np.testing.assert_allclose(line.y, found)
    assert raw.line.color.startswith("rgba") and raw.hoverinfo == "skip"
    few = training.stack({"a": rows[:20]}, legend("a"), ["loss"], View(smoothing=0.8))
    assert len(few.data) == 1, "few numbers stay as they are"


@pytest.mark.parametrize("key", ["lr", "train_acc", "cos_id_adv", "grad_norm"])
@pytest.mark.parametrize("scale", ranges.SCALES)
@pytest.mark.parametrize("noise", [1e-12, 1e-3])
def test_the_noise_of_a_level_line_fills_no_axis(key, scale, noise):
    values = 0.5 * (1 + noise * np.random.default_rng(0).normal(size=100))
    rows = [{"step": i, key: float(v)} for i, v in enumerate(values)]
    figure = training.stack({"a": rows}, legend("a"), [key], View(scale=scale))
    low, high = figure.layout.yaxis.range
    if figure.layout.yaxis.type == "log":
        low, high = 10**low, 10**high
    least = {"train_acc": 0.1, "cos_id_adv": 0.05}.get(key, 0.2 * 0.5)
    assert 0.99 * least < high - low < 1.4 * least
    assert low < values.min() < values.max() < high


def test_a_change_is_shown_in_full_and_a_window_at_its_bound_goes_on_below_it():
    rows = [{"step": i, "loss": 2.0 - i, "train_acc": 0.99} for i in range(2)]
    figure = training.stack({"a": rows}, legend("a"), ["loss", "train_acc"])
    assert figure.layout.yaxis.range == pytest.approx((0.92, 2.08))
    low, high = figure.layout.yaxis2.range
    assert 1 < high < 1.01 and high - low > ranges.LEAST_ACCURACY


@pytest.mark.parametrize(
    ("key", "value", "least"),
    [("val_acc_pgd", 0.0, 0.1), ("val_acc", 0.02, 0.1), ("cos_id_adv", -1.0, 0.05),
     ("loss_cos", -0.9, 0.2 * 0.9)],
)  # fmt: skip
def test_a_window_at_its_lower_bound_goes_on_above_it(key, value, least):
    figure = training.stack({"a": [{"step": i, key: value} for i in range(2)]}, legend("a"), [key])
    low, high = figure.layout.yaxis.range
    assert low < value < high and least < high - low < 1.4 * least
    if key != "loss_cos":
        assert low > {"cos_id_adv": -1.0}.get(key, 0.0) - 0.01


def test_a_loss_that_falls_far_has_a_logarithmic_axis_by_itself():
    falls = [{"step": i, "loss": 10.0**-i, "lr": 10.0**-i, "train_acc": 0.5} for i in range(4)]
    keys = ["loss", "lr", "train_acc"]
    kinds = {}
    for scale in ranges.SCALES:
        layout = training.stack({"a": falls}, legend("a"), keys, View(scale=scale)).layout
        kinds[scale] = [layout[f"yaxis{n}"].type for n in ("", 2, 3)]
        heads = [note.text for note in layout.annotations if not note.name]
        assert [head.endswith(", logarithmic") for head in heads] == [
            kind == "log" for kind in kinds[scale]
        ], "a panel says which scale it has"
    assert kinds["auto"] == ["log", None, None]
    assert kinds["linear"] == [None, None, None]
    assert kinds["log"] == ["log", "log", None]


@pytest.mark.parametrize("key", ["loss", "grad_norm", "images_per_s", "loss_cos"])
def test_a_line_far_above_many_presses_them_together_and_is_named_instead(key):
    sign = -1 if key == "loss_cos" else 1
    sizes = {"a": 1.0, "b": 2.0, "c": 3.0, "d & e": 400.0}
    records = {
        run: [{"step": i, key: sign * size * (1 + 0.01 * i), "train_acc": 0.1 + i / 50}
              for i in range(40)]
        for run, size in sizes.items()
    }  # fmt: skip
    keys = [key, "train_acc"]
    figure = training.stack(records, legend(*sizes), keys)
    low, high = figure.layout.yaxis.range
    assert max(abs(low), abs(high)) < 5 and figure.layout.yaxis.type is None
    top = max(t.y.max() for t in figure.data if t.yaxis == "y" and t.name != "d &amp; e")
    assert top < low + 0.9 * (high - low), "the note has room above the lines"
    (note,) = (n for n in figure.layout.annotations if n.name == "beyond")
    ends = "400 to 556" if sign > 0 else "\u2212556 to \u2212400"
    assert note.text.endswith(f"d &amp; e: {ends}") and note.yref == "y domain"
    assert training.leaves_out(figure)
    assert {t.name for t in figure.data} == {"a", "b", "c", "d &amp; e"}, (
        "its numbers stay in files"
    )
    for scale in ("linear", "log"):
        assert not training.leaves_out(
            training.stack(records, legend(*sizes), keys, View(scale=scale))
        )
    few = {run: records[run] for run in ("a", "b", "d & e")}
    assert not training.leaves_out(training.stack(few, legend(*sizes), keys)), (
        "of three none is odd"
    )


def test_lines_far_from_each_other_have_a_logarithmic_axis_by_themselves():
    apart = {run: [{"step": i, "loss": size, "lr": size} for i in range(3)]
             for run, size in (("a", 1.0), ("b", 11.0))}  # fmt: skip
    layout = training.stack(apart, legend("a", "b"), ["loss", "lr"]).layout
    assert (layout.yaxis.type, layout.yaxis2.type) == ("log", None)
    near = apart | {"b": [{"step": i, "loss": 9.0} for i in range(3)]}
    assert training.stack(near, legend("a", "b"), ["loss"]).layout.yaxis.type is None


def test_seeds_become_a_mean_with_a_band_where_all_have_numbers():
    at = np.arange(0, 50, 1.0)
    known = {"loss": {"a-s0": (at, at), "a-s1": (at[::2] + 10, 3 * (at[::2] + 10)), "b": (at, -at)}}
    means, bands = over_seeds(known, {"a": ["a-s0", "a-s1"], "b": ["b"], "c": ["c-s0"]})
    x, y = means["loss"]["a"]
    assert (x[0], x[-1]) == (10, 49) and len(x) == 40
    np.testing.assert_allclose(y, 2 * x)
    low, high = bands["loss"]["a"]
    np.testing.assert_allclose(low, x)
    np.testing.assert_allclose(high, 3 * x)
    assert means["loss"]["b"] is known["loss"]["b"] and set(means["loss"]) == {"a", "b"}
    assert set(bands["loss"]) == {"a"}
    apart = {"loss": {"a-s0": (at[:5], at[:5]), "a-s1": (at[9:], at[9:])}}
    assert over_seeds(apart, {"a": ["a-s0", "a-s1"]})[0] == {"loss": {}}
    view = View(smoothing=0.9)
    figure = training.stack({}, legend("a", "b"), ["loss"], view, means, bands)
    band, raw, line, other = figure.data
    assert (band.legendgroup, band.fill, raw.legendgroup) == ("a", "toself", "b")
    np.testing.assert_allclose(
        band.y, [*training.smooth(x, 0.9), *training.smooth(3 * x, 0.9)[::-1]]
    )
    np.testing.assert_allclose(line.y, training.smooth(2 * x, 0.9))
    assert other.legendgroup == "b" and other.hovertemplate.startswith("loss ")


def test_a_term_that_nobody_has_named_is_called_by_the_words_of_its_key():
    assert training.title("loss_new_term") == "New term loss"
    assert training.title("cos_x_y") == "Cos x y"


def test_numbers_stand_against_images_or_time_and_only_of_runs_that_logged_it():
    rows = [row | {"images_seen": 8 * row["step"]} for row in ROWS]
    records, view = {"a": rows, "b": ROWS}, View("images_seen")
    figure = training.stack(records, legend("a", "b"), ["loss"], view)
    assert [t.legendgroup for t in figure.data] == ["a"]
    assert training.stack(records, legend("a", "b"), ["loss"], View("epoch")) is None
    assert list(figure.data[0].x) == [8 * s for s in range(1, 11)]
    hours = [row | {"seconds": 3600.0 * row["step"]} for row in ROWS]
    figure = training.stack({"a": hours}, legend("a"), ["loss"], View("seconds"))
    assert list(figure.data[0].x) == list(range(1, 11))
    assert figure.layout.xaxis.title.text == "Time (h)"


def test_shares_of_the_log_put_runs_of_unlike_lengths_over_each_other():
    figure = training.stack({"a": ROWS, "b": ROWS[:5]}, legend("a", "b"), ["loss"], View("share"))
    long, short = figure.data
    assert list(long.x) == pytest.approx(range(10, 101, 10))
    assert list(short.x) == pytest.approx([20, 40, 60, 80, 100]) and list(short.y) == list(
        long.y[:5]
    )
    assert figure.layout.xaxis.title.text == "Share of log (%)"


def test_points_of_many_lines_have_no_markers_but_a_point_alone_has():
    runs = "abcdef"
    for known in (runs[:5], runs):
        records = dict.fromkeys(known[:-1], ROWS) | {known[-1]: ROWS[:1]}
        *lines, point = training.stack(records, legend(*known), ["loss"]).data
        assert {line.mode for line in lines} == {"lines" if known == runs else "lines+markers"}
        assert point.mode == "lines+markers"


def test_few_checks_are_marked_and_have_the_intervals_of_their_images():
    checks = [{"step": s, "val_acc": 0.5 + s / 100, "val_n": 64.0} for s in (10, 20)]
    records = {run: [*checks, {"step": 20, "loss": 1.0}] for run in "abcdef"}
    figure = training.stack(records, legend(*records), ["val_acc"], View("share"))
    assert {line.mode for line in figure.data} == {"lines+markers"} and has_bars(figure)
    for i, p in enumerate((0.6, 0.7)):
        low, high = proportion_confint(p * 64, 64, method="wilson")
        bars = figure.data[0].error_y
        assert (bars.array[i], bars.arrayminus[i]) == pytest.approx((high - p, p - low))
    top, bottom = figure.layout.yaxis.range[::-1]
    assert bottom < 0.6 - bars.arrayminus[0] and top > 0.7 + bars.array[1]
    unknown = {run: [{k: v for k, v in row.items() if k != "val_n"} for row in rows]
               for run, rows in records.items()}  # fmt: skip
    assert not has_bars(training.stack(unknown, legend(*records), ["val_acc"]))
    long = {"a": [row | {"step": s} for s in range(6) for row in checks[:1]]}
    assert not has_bars(training.stack(long, legend("a"), ["val_acc"]))


def test_logarithms_are_of_losses_alone():
    figure = training.stack({"a": ROWS}, legend("a"), ["loss", "train_acc"], View(scale="log"))
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("log", None)
    zero = [{"step": 1, "loss": 0.0}, {"step": 2, "loss": 1.0}]
    assert (
        training.stack({"a": zero}, legend("a"), ["loss"], View(scale="log")).layout.yaxis.type
        is None
    )


def test_what_is_logged_is_found_by_heading():
    found = training.groups(
        {"a": [{"step": 1, "loss": 1, "loss_new": 1, "cos_x_y": 1, "val_acc": 1, "val_n": 5}]}
    )
    assert found == {
        "Loss": ["loss", "loss_new"],
        "Accuracy": ["val_acc"],
        "Feature geometry": ["cos_x_y"],
    }


def test_held_out_accuracy_comes_first_and_terms_of_single_methods_last():
    shared = {"step": 1, "lr": 1, "train_acc": 1, "val_acc": 1, "val_acc_pgd": 1, "loss": 1}
    terms = {f"loss_{i}": 1 for i in range(5)}
    of_grace = [shared | terms | {"loss_task": 1}]
    records = {"g-s0": of_grace, "g-s1": of_grace, "ft": [shared | {"loss_task": 1}]}
    lines = {"g": ("g-s0", "g-s1"), "ft": ("ft",)}
    found = training.groups(records, lines)
    assert list(found) == ["Accuracy", "Loss", "Optimiser and speed", "Terms of single methods"]
    assert found["Accuracy"] == ["val_acc_pgd", "val_acc", "train_acc"]
    assert found["Loss"] == ["loss", "loss_task"]
    assert found["Terms of single methods"] == list(terms)
    assert len(training.groups(records)["Loss"]) == 7, "two runs have each term"
    alone = training.groups({"g-s0": of_grace}, {"g": ("g-s0",)})
    assert len(alone["Loss"]) == 7, "of one line all terms are its own"
    fewer = {
        run: [{k: v for k, v in rows[0].items() if k != "loss_4"}] for run, rows in records.items()
    }
    assert len(training.groups(fewer, lines)["Loss"]) == 6


def test_long_series_keep_their_ends():
    steps, values = series([{"step": s, "loss": s} for s in range(10_001)], "loss", most=2000)
    assert len(steps) == len(values) == 2000
    assert (steps[0], steps[-1]) == (0, 10_000)


def test_curriculum_fills_what_a_refresh_does_not_name():
    first, second = {"a": {"score": 1.0, "rank": 4}}, {"b": {"rank": 2}}
    rows = [{"step": 0, "matrices": first}, {"step": 5, "matrices": second}, {"step": 6}]
    steps, matrices, grids = curriculum.curriculum(rows)
    assert (steps, matrices) == ([0, 5], ["a", "b"])
    np.testing.assert_array_equal(grids["rank"], [[4, np.nan], [np.nan, 2]])
    np.testing.assert_array_equal(grids["score"], [[1, np.nan], [np.nan, np.nan]])


def test_heat_map_of_many_refreshes_is_averaged_in_blocks():
    grid = np.tile(np.arange(1000.0), (2, 1))
    figure = curriculum.refreshes(grid, list(range(1000)), ["a", "b"], (0, 999), "rank", LIGHT)
    z = np.asarray(figure.data[0].z)
    assert z.shape == (2, 256)
    assert (z[0, 0], z[0, -1]) == (1.5, 998)  # means of the first four and of the last three
    assert list(figure.data[0].x[:2]) == ["0", "4"]  # a block is named by its first refresh
