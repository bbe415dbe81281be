"""The page of images: its answer, its pictures, and what it does without a gallery."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from app import store, wall
from app.pair import of_pictures
from app.wall import Reply, Shot
from grace_geom.plots import pictures
from grace_geom.records import Measure, Part, Result, headline_attack
from tests.app.conftest import sees, specs, write_run


def answered(root: Path, run: str) -> np.ndarray:
    """Which images under attack a run has right, ``(n,)`` bool."""
    return headline_attack(store.entries(root)[run].accuracies)[0].right()


def test_the_answer_counts_images_that_only_one_run_gets_right(opened, lab):
    app = opened(lab, "images", runs=["toy/ft-s0", "toy/grace-s0"], baseline="toy/ft-s0")
    ft, grace = (answered(lab, f"toy/{run}") for run in ("ft-s0", "grace-s0"))
    said = app.main.markdown[0].value.replace("\\", "")
    counts = f"**grace-s0** alone is right on **{(grace & ~ft).sum()}**, **ft-s0** alone on "
    assert f"{counts}**{(ft & ~grace).sum()}**, both on {(ft & grace).sum()}: the first is " in said
    assert said.count(". ") == 0  # one sentence
    assert f"{100 * (grace.mean() - ft.mean()):+.1f}".replace("-", "−") in said
    assert "[" in said and " under APGD-CE, ε = " in said.replace("\u00a0", " ")


def test_outcomes_answer_without_classes_and_what_is_missing_is_said_in_words(opened, runs):
    app = opened(runs, "images", runs=["demo/ft-s0", "demo/grace-s0"], baseline="demo/ft-s0")
    ft, grace = (answered(runs, f"demo/{run}") for run in ("ft-s0", "grace-s0"))
    said = app.main.markdown[0].value.replace("\\", "")
    assert f"**grace-s0** alone is right on **{(grace & ~ft).sum()}**" in said
    assert f"**{(ft & ~grace).sum()}**, both on {(ft & grace).sum()}" in said
    told = [info.value for info in app.info if "The records do not say" in info.value]
    assert len(told) == 2 and all("of the attacked images of shapes" in one for one in told)
    assert "adv/" not in sees(app) and "No answer" not in sees(app)


def test_the_wall_shows_each_image_clean_and_attacked_at_both_runs(opened, lab):
    app = opened(lab, "images", runs=["toy/ft-s0", "toy/grace-s0"], baseline="toy/ft-s0")
    walls = _walls(app)
    cards = re.findall(r"font-weight:600[^>]*>([^<]*), no\. (\d+)", walls)
    assert len(cards) == 8 and len(set(cards)) == 8
    assert walls.count("data:image/png;base64,") == 3 * 8
    assert all(alt for alt in re.findall(r'alt="([^"]*)"', walls))
    rows = re.findall(r'scope="row"[^>]*>(\d \S+?)</th>', walls)
    assert rows == ["1 ft-s0", "2 grace-s0"] * 8  # each with what it says clean and attacked
    marks = re.findall(r"<td[^>]*>([✓✗]) \S+ [+−]\d+\.\d+</td>", walls)
    assert len(marks) == 4 * 8 and {*marks} == {"✓", "✗"}
    headed = re.findall(
        r"\*\*(Only \S+ is|Both are|Neither is) right under attack\*\*: (\d+) of 8 pictures",
        sees(app),
    )
    assert sum(int(n) for _, n in headed) == 8 == len(walls.split("<table")) - 1
    there = app.selectbox(key="images_right").options
    assert there[0] == "all" and set(there[1:]) <= {
        "they differ",
        "only Against",
        "only Run",
        "both",
        "neither",
    }
    app.selectbox(key="images_right").select(there[-1]).run()
    assert not app.exception
    fewer = re.findall(r"font-weight:600[^>]*>([^<]*), no\. (\d+)", _walls(app))
    assert fewer and set(fewer) < set(cards)


def _walls(app) -> str:
    """The pictures with what each run says of them, without those of the first row."""
    bodies = [e.proto.body for e in app.get("html")]
    there = (body for body in bodies if "display:grid" in body and "<table" in body)
    return "".join(body for body in there if ROW not in body)


ROW = "grid-auto-flow:column"


def test_the_images_that_tell_the_two_apart_stand_before_the_first_figure(opened, lab):
    app = opened(lab, "images", runs=["toy/ft-s0", "toy/grace-s0"], baseline="toy/ft-s0")
    drawn = [e for e in app.main if e.type in ("html", "plotly_chart")]
    (at,) = (i for i, e in enumerate(drawn) if e.type == "html" and ROW in e.proto.body)
    assert at < [e.type for e in drawn].index("plotly_chart")
    row = drawn[at].proto.body
    cards = row.split("<table")[1:]
    known = {
        run: pictures.pictures(f)
        for run in ("ft-s0", "grace-s0")
        for f in store.findings("image_gallery", [store.entries(lab)[f"toy/{run}"]], lab)[0]
    }
    apart = [
        id for id, p in known["ft-s0"].items()
        if p.set == "id" and p.adv.right != known["grace-s0"][id].adv.right
    ]  # fmt: skip
    assert 0 < len(apart) == len(cards) <= 8 and 'tabindex="0"' in row
    for card in cards:  # attacked, one of the two is right
        marks = re.findall(r"<td[^>]*>([✓✗]) \S+ [+−]\d+\.\d+</td>", card)
        assert {marks[1], marks[3]} == {"✓", "✗"}
    said = [c.value.replace("\\", "") for c in app.caption if "alone is right on" in c.value]
    counts = re.findall(r"\*\*(\S+)\*\* alone is right on (\d+)", said[0])
    assert [run for run, _ in counts] == ["grace-s0", "ft-s0"]
    assert sum(int(n) for _, n in counts) == len(apart)


def test_runs_with_pictures_are_compared_first(opened, lab):
    runs = ["toy/ft-s0", "toy/ft-s1", "toy/grace-s0"]
    app = opened(lab, "images", runs=runs, baseline="toy/ft-s1", over="none")  # without pictures
    assert not app.exception
    pair = {app.selectbox(key=f"images_{which}").value for which in ("run", "other")}
    assert pair == {"toy/ft-s0", "toy/grace-s0"}


def test_classes_have_bars_and_gains_with_intervals(opened, lab):
    app = opened(lab, "images", runs=["toy/ft-s0", "toy/grace-s0"], baseline="toy/ft-s0")
    bars, gains = specs(app)[:2]
    assert {t["type"] for t in bars["data"]} == {"bar"} and gains["data"][0]["type"] == "scatter"
    assert all("error_x" in t for t in gains["data"])
    assert not any("error_x" in t for t in bars["data"])  # they would lie over each other
    (said,) = (c.value for c in app.caption if "Bonett" in c.value)
    rows = len(gains["layout"]["yaxis"]["ticktext"])
    assert f"Without any gain {0.05 * rows:.1g} of these {rows} would" in said


def test_pictures_of_another_attack_than_the_sentence_are_headed_with_it(opened, lab):
    app = opened(lab, "images", runs=["toy/ft-s0", "toy/grace-s0"], baseline="toy/ft-s0")
    steps = Result.load(lab / "toy/analyses/image_gallery.json").settings["attack_steps"]
    heads = [h.value for h in app.header]
    assert f"Pictures, under a weaker attack (PGD, {steps} steps)" in heads
    settings = {"attack_steps": 10, "eps": 4 / 255}
    assert of_pictures(None, settings) == ""
    assert of_pictures(attack("pgd", 10), settings) == ""
    assert of_pictures(attack("pgd", 10, 8 / 255), settings).startswith("a weaker attack (PGD, 10")
    for name, steps in (("pgd", 20), ("apgd-ce", 100), ("autoattack", 100)):
        assert of_pictures(attack(name, steps), settings) == "a weaker attack (PGD, 10 steps)"
    for other in (attack("pgd", 5), attack("pgd", 50, 1 / 255), attack("square", 5000),
                  attack("apgd-ce", 100) | {"norm": "l2"}):  # fmt: skip
        assert of_pictures(other, settings) == "another attack (PGD, 10 steps)"


def attack(name: str, steps: int, eps: float = 4 / 255) -> dict[str, Any]:
    """An attack as a record holds it."""
    return {"name": name, "eps": eps, "norm": "linf", "parts": [{"name": name, "steps": steps}]}


def test_hard_pictures_are_counted_and_captions_begin_with_the_data_set(opened, lab):
    app = opened(lab, "images", runs=["toy/ft-s0", "toy/grace-s0"], baseline="toy/ft-s0")
    said = [c.value.replace("\\", "") for c in app.caption]
    arrays = Result.load(lab / "toy/analyses/image_gallery.json").parts["ft-s0"].arrays
    hard = int(arrays["hard"][arrays["set"] == "id"].sum())
    (drawn,) = (one for one in said if one.startswith("Every run has the same pictures"))
    assert (f"The pretrained model gets {hard} of these 8 wrong" in drawn) == (hard > 0)
    assert sum(one.startswith("Data set ") and "under APGD" in one for one in said) == 2
    (gain,) = (one for one in said if "In the gain blue is better" in one)
    assert "on the diagonal" in gain and "beside it" in gain


def test_without_two_runs_or_a_gallery_it_says_what_to_do(opened, lab, runs):
    app = opened(runs, "images", runs=["demo/ft-s0"])
    assert not app.exception and "Choose two runs" in sees(app)
    write_run(runs, "demo/new-s0", None)
    app = opened(runs, "images", runs=["demo/ft-s0", "demo/new-s0"])
    assert not app.exception
    assert "not evaluated on the same images" in sees(app)
    app = opened(lab, "images", runs=["toy/ft-s1"])  # evaluated, not analysed
    assert not app.exception and specs(app)  # its own confusion matrix


def test_without_a_gallery_it_shows_what_the_robustness_curve_kept_of_the_two(opened, runs):
    for run in ("demo/grace-s0", "demo/zero-shot-s0"):
        turned(runs / run)
    app = opened(runs, "images", runs=["demo/ft-s0", "demo/grace-s0", "demo/zero-shot-s0"],
                 baseline="demo/ft-s0")  # fmt: skip
    assert not app.exception
    said = _said(app)
    assert "Images that the attack turned at **grace-s0**" in said
    assert "turned at **zero-shot-s0**" not in said  # neither of the two that are compared
    assert any("perturbation × 16" in c.value for c in app.caption)
    order = [header.value for header in app.header]
    assert order.index(TURNED) < order.index("Class by class: who is right alone?")
    for file in (runs / "demo/zero-shot-s0").rglob("robustness_curve.*"):
        file.unlink()
    app.selectbox(key="images_run").select("demo/zero-shot-s0").run()
    assert not app.exception
    assert "of neither run, but of **grace-s0**" in _said(app)
    assert "Images that the attack turned at" not in sees(app)


def _said(app) -> str:
    return sees(app).replace("\\", "")


TURNED = "Which images did the attack turn?"


def turned(folder: Path) -> None:
    """A robustness curve that kept one image."""
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    arrays = {f"example_{part}": pixels for part in ("clean", "adv", "delta")}
    arrays |= {"example_before": np.array(["circle"]), "example_after": np.array(["star"])}
    checkpoint = {"label": folder.name, "path": str(folder / "ckpt.pt"), "method": "grace"}
    settings = {"data": "shapes", "n": 1, "eps": 4 / 255, "steps": 2}
    parts = {folder.name: Part({"clean": Measure(0.8)}, arrays)}
    Result("robustness_curve", (checkpoint,), settings, parts).save(folder / "analyses")


def test_words_on_the_wall_are_text_and_small_pictures_are_enlarged_in_whole_steps(monkeypatch):
    written: list[str] = []
    monkeypatch.setattr(wall.st, "html", written.append)
    small = np.zeros((20, 32, 3), np.uint8)
    wall.cards({"<b>": [Shot(small, "<i>", 'a "quote"', [("<u>", "#123456")])]})
    (body,) = written
    assert not any(tag in body for tag in ("<b>", "<i>", "<u>")) and "&quot;quote&quot;" in body
    assert 'width="96" height="60"' in body and "image-rendering:pixelated" in body
    assert "flex-wrap:nowrap" in body and "max-width:100%" in body  # a card fits a narrow screen
    wall.cards(
        {"t": 4 * [Shot(small, "", "")]}, told={"t": [Reply("<b>", "#123456", [("<u>", True)])]}
    )
    body = written.pop()
    assert "flex-wrap:wrap" in body and not any(tag in body for tag in ("<b>", "<u>"))
    written.clear()
    wall.cards({})
    assert not written


def test_more_pictures_than_fit_a_telephone_stand_in_pairs(monkeypatch):
    written = []
    monkeypatch.setattr(wall.st, "html", written.append)
    shots = [Shot(np.zeros((8, 8, 3), np.uint8), head, head) for head in "abcd"]
    wall.cards({"three": shots[:3]})
    assert not any("in-pairs" in part for part in written)
    wall.cards({"four": shots})
    look, cards = written[-2:]
    assert "max-width:640px" in look and "repeat(2," in look
    assert cards.count("class=in-pairs") == 1
