"""What nobody has asked for is not made, and what is made for a figure is made once."""

import gc
import io
import json
from collections import Counter, OrderedDict

import pandas as pd
import plotly.graph_objects as go
import pytest

from app import kept, logged, measured, show
from app.logs import Lines
from grace_geom.plots import spoken, style, training
from grace_geom.plots.legend import Identity, Legend
from tests.app.conftest import specs
from tests.figures import checked

LEGEND = Legend.of({"a": Identity("ft", "ft", 0)}, {"a": "a"})


def test_numbers_behind_figures_are_made_when_somebody_asks(opened, lab, monkeypatch):
    asked = []

    def counted(*_) -> pd.DataFrame:
        asked.append(1)
        return pd.DataFrame({"run": ["a"]})

    monkeypatch.setattr(measured, "values_table", counted)
    files = {}
    offer = show._file
    monkeypatch.setattr(
        show, "_file", lambda *args: files.update({args[2]: args[1]}) or offer(*args)
    )
    app = opened(lab, "curvature")
    assert not app.exception and specs(app)
    assert not asked
    assert "run" in files["curvature.csv"]() and asked == [1]
    density = pd.read_csv(io.StringIO(files["density.csv"]()))
    assert {"run", "probe", "node", "weight"} == set(density) and len(density)


def test_each_figure_is_put_into_words_once(opened, lab, monkeypatch):
    said = Counter()

    def counted(figure) -> str:
        said[figure.to_json()] += 1
        return spoken.spoken(figure)

    monkeypatch.setattr(show, "spoken", counted)
    monkeypatch.setattr(kept.kept, "_known", OrderedDict())  # no figure is there yet
    app = opened(lab, "curvature")
    once = len(specs(app))
    alts = [element.proto.alt for element in app.get("plotly_chart")]
    assert said.total() == once > 3
    app.run()
    assert said.total() == once  # the same figures are drawn again
    assert [element.proto.alt for element in app.get("plotly_chart")] == alts


@pytest.mark.parametrize(
    "page",
    [
        "overview", "numbers", "curvature", "landscape", "drift", "features", "robustness",
        "images", "weights", "training", "run",
    ],
)  # fmt: skip
def test_figures_of_pages_stand_plotlys_checks(opened, lab, monkeypatch, page):
    drawn = []
    make = checked(style.made)
    monkeypatch.setattr(style, "made", lambda *parts: drawn.append(1) or make(*parts))
    monkeypatch.setattr(kept.kept, "_known", OrderedDict())  # no figure is there yet
    monkeypatch.setattr(kept.kept_of_logs, "_known", OrderedDict())
    app = opened(lab, page)
    assert not app.exception
    assert drawn and specs(app)


def test_a_figure_that_is_drawn_again_is_sent_as_it_was(opened, lab, monkeypatch):
    packed = []
    pack = go.Figure.to_dict
    monkeypatch.setattr(kept.kept, "_known", OrderedDict())
    app = opened(lab, "weights")
    first = specs(app)
    monkeypatch.setattr(go.Figure, "to_dict", lambda self: packed.append(1) or pack(self))
    assert specs(app.run()) == first and len(first) > 1
    assert not packed
    figure = training.stack({"a": [{"step": 1, "loss": 2.0}]}, LEGEND, ["loss"])
    assert show._Packed(figure).to_dict() == pack(figure)
    place = id(figure)
    del figure
    gc.collect()
    assert place not in show._SENT


def test_whatever_is_asked_of_a_figure_that_is_sent_has_an_answer():
    figure = training.stack({"a": [{"step": 1, "loss": 2.0}]}, LEGEND, ["loss"])
    sent = show._Packed(figure)
    assert sent.layout.height == figure.layout.height and sent.layout.width is None
    assert sent.data[0].name == "a" and sent.data[0] is sent.data[0], "made once"
    assert sent.to_plotly_json() == figure.to_dict()
    with pytest.raises(AttributeError):
        _ = sent.nothing_of_this_name


def test_words_go_with_their_figure():
    figure = training.stack({"a": [{"step": 1, "loss": 2.0}]}, LEGEND, ["loss"])
    assert "a: 2 at 1" in show.told(figure) and id(figure) in show._TOLD
    place = id(figure)
    del figure
    gc.collect()  # a figure and its traces hold each other
    assert place not in show._TOLD


def test_what_is_known_of_two_hundred_runs_stays():
    logs = [Lines(({"step": i, "loss": 1.0},)) for i in range(200)]
    makers = (logged.trend, logged.pace)
    first = [kept.kept_of_runs(make, log) for log in logs for make in makers]
    again = [kept.kept_of_runs(make, log) for log in logs for make in makers]
    assert all(a is b for a, b in zip(first, again, strict=True))


def test_points_of_a_log_are_those_of_its_series():
    rows = [{"step": 1, "loss": 2.0, "epoch": 0.5}, {"step": 2, "loss": float("nan")},
            {"step": 3, "acc": True, "loss": 1}, {"loss": 5.0}]  # fmt: skip
    logs = {"a": Lines(tuple(rows)), "b": Lines()}
    for along in ("step", "epoch"):
        known = logged.points(logs, ["loss", "acc"], along)
        at, values = known["loss"]["a"]
        assert (at.tolist(), values.tolist()) == training.series(rows, "loss", along=along)
        assert known["acc"] == {} and set(known["loss"]) == {"a"}
    table = logged.table(logged.points(logs, ["loss"], "step"), "step")
    assert json.loads(table.to_json(orient="records")) == [
        {"run": "a", "step": 1.0, "name": "loss", "value": 2.0},
        {"run": "a", "step": 3.0, "name": "loss", "value": 1.0},
    ]
