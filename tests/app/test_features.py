"""The page of feature geometry: its answer, and pictures of the points that are selected."""

import re
from types import SimpleNamespace
from typing import cast

from app import collapse, show
from app.shell import Choice
from grace_geom.plots.panels import Point
from grace_geom.records import Finding, Measure, Part, Result
from tests.app.conftest import sees, specs

KEY = "features/id/effective_rank_centred/embedding"


def test_the_answer_holds_each_run_against_the_pretrained_model(opened, lab):
    app = opened(lab, "features")
    said = app.main.markdown[0].value.replace("\\", "")
    parts = Result.load(lab / "toy/analyses/anisotropy.json").parts
    before, ft = (parts[run].values[KEY] for run in ("zero-shot-s0", "ft-s0"))
    assert "): both other runs collapse; under attack" in said  # their numbers would need 3 lines
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


def test_the_sentence_keeps_to_two_lines_where_names_are_long(monkeypatch):
    values = {"zero-shot": Point(9.0, 8.5, 9.5)}
    values |= {f"a run with {i} options of its own": Point(7.0, 6.5, 7.5) for i in range(3)}
    choice, number = of_runs(values)
    said = collapse.sentence(choice, [], number)
    assert "**a run with 0" in said  # alone it is short enough
    monkeypatch.setattr(collapse, "_moved", lambda *_: f"Under attack {'centroids move ' * 6}.")
    said = collapse.sentence(choice, [], number)
    assert "all 3 other runs collapse; under attack" in said
    assert len(said.replace("**", "")) <= collapse.MOST_LETTERS


def cosines(**of: dict[str, float]) -> list[Finding]:
    """Runs with the cosine of each distribution."""
    parts = {
        run: Part({f"centroid_cosine/{s}": Measure(v, None, v - 0.01, v + 0.01) for s, v in known.items()})
        for run, known in of.items()
    }  # fmt: skip
    result = Result("feature_stability", (), {}, parts)
    return [Finding(run, result, run) for run in of]


def test_the_sentence_on_classes_says_on_which_distribution_they_move_most():
    a, b = {"v2": 0.9, "sketch": 0.3, "adv": 0.98}, {"v2": 0.7, "sketch": 0.8, "adv": 0.5}
    said = collapse.moves(cosines(a=a, b=b, c=a), ["v2", "sketch", "adv"])
    assert said == (
        "Under attack class centroids keep a cosine to ID of 0.50 to 0.98; on sketch, where they "
        "move most in 2 of 3 runs, of 0.30 to 0.80."
    )
    said = collapse.moves(cosines(a=a, b=b), ["v2", "adv"])
    assert said.endswith(
        "0.50 to 0.98; on v2, where they move most in 1 of 2 runs, of 0.70 to 0.90."
    )
    assert collapse.moves(cosines(b=b), ["v2", "adv"]).replace("\N{NO-BREAK SPACE}", " ") == (
        "Under attack class centroids keep a cosine to ID of 0.50 [0.49, 0.51], and move farther "
        "than on any other distribution."
    )
    assert collapse.moves(cosines(a=a, b=b), ["sketch"]).startswith(
        "On sketch class centroids keep"
    )
    assert collapse.moves(cosines(a=a), ["rendition"]) == ""


def test_the_page_says_cosines_of_a_distribution_in_one_precision(opened, lab):
    app = opened(lab, "features", features_over="attacked")
    cosine = r"(0\.\d+)\s\["
    heads = [m.value.replace("\\", "") for m in app.markdown if "attacked\\: cosine" in m.value]
    said = app.main.markdown[0].value.replace("\\", "").partition("under attack")[2]
    numbers = [n for text in (*heads, said) for n in re.findall(cosine, text)]
    assert len(numbers) >= 4 and len({len(n) for n in numbers}) == 1
    assert any(h.value == "How far do classes move?" for h in app.header)
    assert any("class centroids keep a cosine to ID of" in m.value for m in app.markdown)


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
