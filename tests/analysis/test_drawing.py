"""The files of an analysis' figures: what an earlier result left goes, what is not ours stays."""

import base64
import io

import numpy as np
from PIL import Image

from grace_geom.analysis.drawing import pictures, save_figures
from grace_geom.analysis.report_parts import COLOURS, packed_picture
from grace_geom.plots.compose import pages
from grace_geom.plots.palette import LIGHT
from grace_geom.plots.panels import Curve, overlay
from grace_geom.plots.strips import strip
from grace_geom.records import Result

RESULT = Result("x", ({"label": "ft-s0", "method": "ft", "seed": 0},), {}, {})


def draw(*keys):
    """Figures of these keys, each called after its own."""

    def figures(found, legend):
        curve = Curve(np.arange(3.0), np.arange(3.0))
        return {
            key: overlay({"ft-s0": curve}, legend, {}, {}).update_layout(
                title=f"A &lt; B of {key or 'all'}"
            )
            for key in keys
        }

    return figures


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_figure_that_is_not_drawn_any_more_is_removed_and_nothing_else(tmp_path):
    assert save_figures(tmp_path, RESULT, draw("", "one", "two")) == ["x", "x-one", "x-two"]
    assert len(names(tmp_path)) == 6
    (tmp_path / "x-mine.png").write_bytes((tmp_path / "x-one.png").read_bytes())
    Image.new("RGB", (2, 2)).save(tmp_path / "x-photo.png")
    (tmp_path / "x-notes.html").write_text("<p>mine</p>")
    mine = ["x-mine.png", "x-notes.html", "x-photo.png"]
    save_figures(tmp_path, RESULT, draw("", "two"))
    assert names(tmp_path) == sorted([*mine, "x-two.html", "x-two.png", "x.html", "x.png"])
    save_figures(tmp_path, RESULT, draw())
    assert names(tmp_path) == mine


def test_a_report_keeps_every_pixel_of_a_figure_that_shows_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)

    def photographs(found, legend):
        curve = draw("curve")(found, legend)
        return curve | pages({"": ("Two", [{"a": strip([(noise, "x")], LIGHT, 1)}], "")}, legend)

    save_figures(tmp_path, RESULT, photographs)
    for stem, kept in (("x", True), ("x-curve", False)):
        packed = base64.b64decode(packed_picture(tmp_path / f"{stem}.png"))
        with Image.open(tmp_path / f"{stem}.png") as before, Image.open(io.BytesIO(packed)) as now:
            assert kept or len(now.getcolors(2**24) or ()) <= COLOURS
            same = np.array_equal(np.asarray(before.convert("RGB")), np.asarray(now.convert("RGB")))
            assert same or not kept


def test_pictures_tell_their_titles_and_only_those_of_the_analysis_are_listed(tmp_path):
    save_figures(tmp_path, RESULT, draw("", "two"))
    Image.new("RGB", (2, 2)).save(tmp_path / "x-photo.png")
    (tmp_path / "x-former.png").write_bytes(b"of another version")
    assert pictures(tmp_path, "x") == {
        tmp_path / "x.png": "A < B of all",
        tmp_path / "x-two.png": "A < B of two",
    }
