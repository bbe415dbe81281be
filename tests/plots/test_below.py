"""The numbers of an axis, above the first panel and below the last one."""

import numpy as np

from grace_geom.plots import static, training
from grace_geom.plots.below import numbers_below
from grace_geom.plots.legend import Identity, Legend

LEGEND = Legend.of({"ft": Identity.of_label("ft")}, {"ft": "ft"})


def stacked(*keys):
    rows = [{"step": i, **dict.fromkeys(keys, float(i + 1))} for i in range(30)]
    figure = training.stack({"ft": rows}, LEGEND, keys)
    assert figure is not None
    return figure


def test_a_column_of_panels_has_the_numbers_of_its_axis_at_both_ends():
    keys = ("loss_total", "loss_task", "loss_adv", "grad_norm", "lr")
    figure = stacked(*keys)
    assert figure.layout.xaxis.side == "top"
    both = numbers_below(figure)
    below, lowest = both.layout.xaxis3, both.layout[f"yaxis{len(keys)}"]
    assert below.anchor == f"y{len(keys)}" and lowest.domain[0] == 0
    assert below.matches == "x" and below.side == "bottom"
    assert below.range == both.layout.xaxis.range
    assert len(both.data) == len(figure.data) + 1
    for old, new in zip(figure.data, both.data, strict=False):
        np.testing.assert_array_equal(old.x, new.x)
    more = both.layout.height - figure.layout.height
    assert both.layout.margin.b == figure.layout.margin.b + more >= 30, "numbers are not cut"
    drawn = static.draw(both, 3.4)
    drawn.draw_without_rendering()
    words = [label.get_text() for ax in drawn.axes for label in ax.get_xticklabels()]
    assert sum("{20}" in word for word in words) == 2


def test_a_panel_whose_axis_stands_below_stays_as_it_is():
    figure = stacked("loss_total")
    assert numbers_below(figure) is figure
