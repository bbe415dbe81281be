"""The page of feature geometry: its answer, and pictures of the points that are selected."""

from types import SimpleNamespace
from typing import cast

from app import collapse, show
from app.shell import Choice
from grace_geom.plots.panels import Point
from grace_geom.records import Result
from tests.app.conftest import sees, specs

KEY = "features/id/effective_rank_centred/embedding"


def test_the_answer_holds_each_run_against_the_pretrained_model(opened, lab):
    app = opened(lab, "features")
    said = app.main.markdown[0].value.replace("\\", "")
    parts = Result.load(lab / "toy/analyses/anisotropy.json").parts
    before, ft = (parts[run].values[KEY] for run in ("zero-shot-s0", "ft-s0"))
    assert f"**ft-s0** ({ft.value:.2f} [{ft.low:.2f}, {ft.high:.2f}])" in said  # 1 to 10
    assert f"the pretrained model **zero-shot-s0** ({before.value:.2f} [" in said
    clear = "collapse" if ft.high < before.low else "spread" if ft.low > before.high else "neither"
    assert clear in said.partition("; under attack")[0] and said.count(". ") == 0
    cosines = Result.load(lab / "toy/analyses/feature_stability.json").parts
    by = {run: part.values["centroid_cosine/adv"].value for run, part in cosines.items()}
    assert f"centroids move least in **{max(by, key=by.get)}** (cosine " in said
    assert f"), most in **{min(by, key=by.get)}** (" in said
    first = specs(app)[0]  # the number of the answer, before the clouds
    assert first["layout"]["xaxis"]["title"]["text"] == "Effective rank of the ID embedding"
    assert {t["name"] for t in first["data"]} == {"zero-shot-s0", "ft-s0", "grace-s0"}


def test_a_collapse_is_said_only_where_intervals_are_apart():
    before = Point(9.0, 8.5, 9.5)
    assert collapse._turn(Point(7.0, 6.5, 7.5), before) == "fewer"
    assert collapse._turn(Point(8.4, 8.0, 8.8), before) == "unclear"
    assert collapse._turn(Point(11.0, 10.0, 12.0), before) == "more"
    assert collapse._turn(Point(7.0), Point(8.0)) == "fewer"  # exact numbers


def of_runs(values: dict[str, Point]) -> tuple[Choice, collapse.Told]:
    """Runs with a number each; the first is the reference."""
    choice = SimpleNamespace(single=(), names={run: run for run in values})
    return cast(Choice, choice), collapse.Told("rank", values, next(iter(values)))


def test_three_runs_are_named_and_of_more_only_their_counts():
    values = {"ref": Point(9.0, 8.5, 9.5), "a": Point(7.0, 6.5, 7.5), "b": Point(6.0, 5.5, 6.4),
              "c": Point(9.1, 8.6, 9.6)}  # fmt: skip
    said = collapse._collapsed(*of_runs(values))
    assert said.endswith(
        ": **a** (7.00 [6.50, 7.50]), **b** (6.00 [5.50, 6.40]) collapse; "
        "**c** (9.10 [8.60, 9.60]) does neither clearly."
    )
    said = collapse._collapsed(*of_runs(values | {"d": Point(12.0, 11.0, 13.0)}))
    assert said == (
        "By the rank, against the baseline **ref** (9.00 [8.50, 9.50]): of 4 other runs "
        "2 collapse, 1 spreads out, 1 does neither clearly."
    )


def test_of_many_runs_the_clouds_that_stay_and_move_most_are_shown(opened, lab, monkeypatch):
    monkeypatch.setattr(show, "MOST_IN_FRONT", 2)
    app = opened(lab, "features", baseline="toy/ft-s0", features_over="attacked")
    heads = [
        said for m in app.markdown if "attacked: cosine" in (said := m.value.replace("\\", ""))
    ]
    cosines = Result.load(lab / "toy/analyses/feature_stability.json").parts
    by = {run: part.values["centroid_cosine/adv"].value for run, part in cosines.items()}
    most = max((run for run in by if run != "ft-s0"), key=lambda run: -by[run])
    assert {h.partition("**  ")[0].strip("*") for h in heads} == {"ft-s0", most}
    assert any("2 of 3 runs" in c.value for c in app.caption)
    app.toggle(key="features_all").set_value(True).run()
    assert len([m for m in app.markdown if "attacked\\: cosine" in m.value]) == 3


def test_ends_have_as_many_digits_as_the_value():
    assert collapse._shown(Point(4.19, 4.0, 4.41)) == "4.19 [4.00, 4.41]"
    assert collapse._shown(Point(0.99703, 0.9969, 0.99712)) == "0.997 [0.997, 0.997]"
    assert collapse._shown(Point(31.4159, 30.0, 33.0)) == "31.4 [30.0, 33.0]"
    assert collapse._shown(Point(0.0)) == "0.00"


def test_selected_points_show_their_images(opened, lab, monkeypatch):
    gallery = Result.load(lab / "toy/analyses/image_gallery.json").parts["grace-s0"].arrays
    place = int(gallery["index"][0])
    monkeypatch.setattr(show, "selectable", lambda *_: [["id", place], ["adv", place], ["adv", -5]])
    app = opened(lab, "features", runs=["toy/grace-s0"])
    assert not app.exception
    (body,) = [e.proto.body for e in app.get("html") if "display:grid" in e.proto.body]
    assert body.count("data:image/png;base64,") == 2  # clean, and attacked
    assert f"no. {place}" in body and gallery["label"][0] in body
    assert "1 of the selected images are not in the gallery" in sees(app)


def test_the_lower_figures_are_made_where_somebody_opens_them(opened, lab):
    app = opened(lab, "features")
    closed = len(specs(app))
    titles = {"features_dimension": "LID (Levina-Bickel, k = 20)", "features_decay": None}
    for key, title in titles.items():
        app = opened(lab, "features", **{key: "true"})
        assert not app.exception and len(specs(app)) > closed
        assert title is None or any(title in m.value.replace("\\", "") for m in app.markdown)
