"""The pictures of the gallery: the right pixels, in the right order, with the right words."""

import numpy as np
import pytest

from grace_geom.plots import pictures, static, strips
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.palette import LIGHT
from grace_geom.records import Finding, Measure, Part, Result

RUNS = ("ft", "grace")
LEGEND = Legend.of({run: Identity.of_label(run) for run in RUNS}, {run: run for run in RUNS})
SETTINGS = {"n": 40, "seed": 0, "eps": 127 / 255, "attack_steps": 3, "smooth": 2}


def gallery(run: str, stands: list[bool]) -> Finding:
    """Three images of two classes, the last one of a shifted set."""
    rng = np.random.default_rng(RUNS.index(run))
    m, size = 3, (4, 6)
    grey = {name: rng.integers(0, 255, (m, *size, 3)).astype(np.uint8) for name in ("clean", "adv")}
    arrays = grey | {
        "set": np.array(["id", "id", "v2"]), "key": np.array(["a", "b", "a"]),
        "label": np.array(["cat", "dog", "cat"]), "index": np.arange(m), "hard": np.zeros(m, bool),
        "delta": np.full((m, *size, 3), 2, np.int8),
    }  # fmt: skip
    for side, right in (("clean", [True, False, True]), ("adv", stands)):
        first = np.where(right, arrays["label"], np.where(arrays["label"] == "cat", "dog", "cat"))
        second = np.where(first == "cat", "dog", "cat")
        arrays |= {
            f"margin_{side}": np.where(right, 1.0, -2.0),
            f"top_{side}": np.stack([first, second, np.full(m, "")], axis=1),
            f"p_{side}": np.tile([0.7, 0.3, 0.0], (m, 1)),
            f"saliency_{side}": np.full((m, *size), 255, np.uint8),
            f"saliency_white_{side}": np.ones(m),
        }
    values = {"saliency_correlation/id": Measure(0.5, 0.1, 0.3, 0.7)}
    result = Result("image_gallery", ({"label": run},), SETTINGS, {run: Part(values, arrays)})
    return Finding(run, result, run)


@pytest.fixture
def found() -> list[Finding]:
    return [gallery("ft", [False, False, True]), gallery("grace", [True, False, True])]


def test_images_are_told_apart_by_set_and_digest(found):
    own = pictures.pictures(found[0])
    assert list(own) == ["id-a", "id-b", "v2-a"]
    one = own["id-a"]
    assert one.adv.names == ("dog", "cat") and one.adv.p == (0.7, 0.3)  # no empty places
    np.testing.assert_allclose(one.delta, 2 / 255)
    assert one.magnified[0, 0, 0] == round(127.5 + strips.MAGNIFIED * 2)
    assert one.clean.attention is None and one.clean.right and not one.adv.right


def test_images_on_which_runs_differ_come_first(found):
    known = {f.run: pictures.pictures(f) for f in found[::-1]}
    assert pictures.shared(known)[0] == "id-a"
    del known["ft"]["id-a"]
    assert "id-a" not in pictures.shared(known)


def test_words_say_what_an_image_is_taken_for(found):
    own = pictures.pictures(found[0])
    said = [pictures.words(p) for p in own.values()]
    assert said == ["cat → dog", "dog, taken for cat", "cat stays"]


def test_maps_are_dark_to_light_and_lie_over_the_image_in_grey():
    row = pictures.coloured(np.array([[0, 128, 255]], np.uint8))[0].astype(int).sum(axis=1)
    assert row[0] < row[1] < row[2]
    mixed = pictures.over(np.full((1, 1, 3), 200, np.uint8), np.array([[0]], np.uint8))
    np.testing.assert_allclose(mixed[0, 0], 0.45 * 200 + 0.55 * np.array([68, 1, 84]), atol=1)


def test_the_figure_shows_five_pictures_of_each_image_and_can_be_printed(found):
    figure = pictures.sheet(found[0], ["id-a", "nowhere"], LIGHT)
    assert len(figure.data) == 1
    drawn = pictures.figures(found, LEGEND)
    assert list(drawn) == ["", "saliency"]
    assert [t.text for t in drawn[""].layout.annotations if t.text.startswith("cat → dog")]
    for page in drawn.values():
        static.draw(page, 7).draw_without_rendering()
    empty = Finding("ft", Result("x", ({"label": "ft"},), SETTINGS, {"ft": Part()}), "ft")
    assert pictures.figures([empty], LEGEND) == {}
