"""Interactive figures: every checkpoint in every panel under one name, fields on one scale,
self-contained files.
"""

import pytest

from grace_geom import figures
from grace_geom.analysis import pages

LABELS = ["zero-shot", "ft", "grace"]


def panel(**options) -> pages.Panel:
    curves = [pages.Curve(label, [1.0, 10.0], [0.1, 2.0], mode="lines") for label in LABELS]
    return pages.Panel("rise", "rho", "loss", curves, **options)


def test_a_checkpoint_has_one_entry_in_the_legend_and_its_look_in_every_panel():
    figure = pages.page("Title", LABELS, [[panel(), panel(log_x=True)], [panel()]])
    entries = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert entries == LABELS
    for label, look in figures.looks(LABELS).items():
        mine = [trace for trace in figure.data if trace.legendgroup == label]
        assert len(mine) == 4 and {trace.line.color for trace in mine} == {look.color}
    dashes = {trace.line.dash for trace in figure.data}
    assert len(dashes) == len(LABELS)  # told apart without colour


def test_every_look_that_a_checkpoint_may_have_can_be_drawn():
    labels = [f"run {i}" for i in range(20)] + ["pretrained"]
    figure = pages.page(
        "Title", labels, [[pages.Panel("", "", "", [pages.Curve(n, [1], [1]) for n in labels])]]
    )
    assert len(figure.data) == 2 * len(labels)


@pytest.mark.parametrize(("top", "powers"), [(2.0, False), (1e6, True)])
def test_a_logarithmic_axis_has_as_many_ticks_as_its_decades_need(top, powers):
    curve = pages.Curve("ft", [1, 2], [0.1, top])
    figure = pages.page("Title", ["ft"], [[pages.Panel("", "", "", [curve], log_y=True)]])
    assert (
        figure.layout.yaxis.type == "log"
        and (figure.layout.yaxis.exponentformat == "power") == powers
    )


def test_a_panel_alone_in_its_row_is_as_wide_as_the_row_above():
    figure = pages.page("Title", LABELS, [[panel(), panel()], [panel(ticks=["a", "b"])]])
    assert figure.layout.xaxis3.domain == (
        figure.layout.xaxis.domain[0],
        figure.layout.xaxis2.domain[1],
    )
    assert list(figure.layout.xaxis3.ticktext) == ["a", "b"]


@pytest.mark.parametrize(
    ("count", "rows"), [(0, []), (1, [1]), (3, [3]), (4, [2, 2]), (7, [3, 2, 2])]
)
def test_cells_are_wrapped_evenly(count, rows):
    assert [len(row) for row in pages.wrapped([panel()] * count)] == rows
