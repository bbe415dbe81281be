"""The colour bar that stands once above maps: its colours and numbers are those of the maps."""

import re

import numpy as np
import pytest
from plotly.colors import sample_colorscale

from app import scale
from grace_geom.plots import landscape
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.palette import LIGHT
from grace_geom.records import Finding, Part, Result


def shown(words: str) -> list[tuple[float, str]]:
    """Place in percent and text of the numbers of a bar."""
    return [(float(at), text) for at, text in re.findall(r"left:([\d.]+)%\">([^<]*)<", words)]


def test_the_bar_has_the_title_and_numbers_of_the_map_and_words_at_its_ends():
    figure = heat(np.eye(2), "ab", "ab", (-30, 30), "Gain <b>", LIGHT)
    words = scale._bar(figure.data[0], ("worse", "better"))
    assert shown(words) == [(0, "−30"), (16.67, "−20"), (33.33, "−10"), (50, "0"), (66.67, "10"),
                            (83.33, "20"), (100, "30")]  # fmt: skip
    assert "Gain &lt;b&gt;" in words and "<b>" not in words
    assert words.index("worse</span>") < words.index("gradient") < words.index("better</span>")
    assert 'aria-label="Colours: Gain &lt;b&gt; from −30 to 30, worse to better"' in words
    first = figure.data[0].colorscale[0][1]
    assert f"{first} 0%" in words


def test_the_bar_of_contours_has_a_colour_between_each_two_levels():
    axis = np.array([-1.0, 0.0, 1.0])
    z = np.linspace(0.25, 0.5, 9).reshape(3, 3)
    part = Part({}, {"contour": z, "contour_axis": axis})
    found = [Finding("ft", Result("loss_landscape", (), {}, {"ft": part}), "ft")]
    legend = Legend.of({"ft": Identity.of_label("ft")}, {"ft": "ft"})
    trace = landscape.contours(found, legend)["ft"].data[0]
    n = round((trace.zmax - trace.zmin) / trace.contours.size)
    bands = re.findall(r"(rgb\([^)]*\)) ([\d.]+)% ([\d.]+)%", scale._bar(trace, ("", "")))
    assert len(bands) == n > 5
    assert float(bands[0][1]) == 0 and float(bands[-1][2]) == 100
    scales = [[at, color] for at, color in trace.colorscale]
    (middle,) = sample_colorscale(scales, [0.5 / n])
    assert bands[0][0] == middle


def test_the_bar_of_contours_says_that_its_last_colour_is_of_all_that_lies_above():
    axis = np.linspace(-1, 1, 11)
    legend = Legend.of({"ft": Identity.of_label("ft")}, {"ft": "ft"})
    for peak, last in ((0.5, "0.5"), (9.0, "≥ 0.5")):
        z = np.linspace(0.2, 0.5, 121).reshape(11, 11)
        z[-1, -1] = peak
        part = Part({}, {"contour": z, "contour_axis": axis})
        found = [Finding("ft", Result("loss_landscape", (), {}, {"ft": part}), "ft")]
        trace = landscape.contours(found, legend)["ft"].data[0]
        bar = scale._bar(trace, ("", ""))
        written, levels = shown(bar), (trace.zmax - trace.zmin) / trace.contours.size
        more = peak > 1  # a cell of the last colour, beyond the last level
        whole = levels + more
        assert bar.count("% ") == pytest.approx(whole)
        assert written[-1] == (pytest.approx(100 * levels / whole, abs=0.01), last)
        assert 3 <= len(written) <= 7
        assert landscape.above([z]) == (peak > 1)
        assert (trace.colorbar.ticktext is not None) == (peak > 1), "as in printed figures"
        for at, word in written[:-1]:
            assert float(word) == pytest.approx(
                trace.zmin + at / 100 * whole * trace.contours.size, 1e-3
            )


@pytest.mark.parametrize(
    ("low", "high", "numbers"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 100, [0, 20, 40, 60, 80, 100]),
     (0.2, 0.525, [0.2, 0.3, 0.4, 0.5]), (-31, 31, [-20, 0, 20]), (1e-4, 3e-4, [1e-4, 1.5e-4, 2e-4, 2.5e-4, 3e-4])],
)  # fmt: skip
def test_numbers_are_round_and_few(low, high, numbers):
    assert scale.ticks(low, high) == pytest.approx(numbers)


def test_maps_lose_their_bars_once_and_keep_what_they_show():
    drawn = {"a": heat(np.eye(2), "ab", "ab", (0, 1), "CKA", LIGHT)}
    (bare,) = scale.barless(drawn).values()
    assert bare.data[0].showscale is False and drawn["a"].data[0].showscale is None
    np.testing.assert_array_equal(np.asarray(bare.data[0].z), np.eye(2))
    assert bare.layout == drawn["a"].layout
    assert scale.barless(drawn)["a"] is bare
