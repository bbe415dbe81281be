"""Headings of the tables of :mod:`grace_geom.analysis.robustness_curve`."""

from grace_geom.analysis.robustness_tables import check_table
from grace_geom.records import Measure
from grace_geom.records.analysis import Part


def test_headings_of_checks_spell_the_radius_and_leave_other_words_alone():
    names = ("pgd, 2x steps", "pgd, eps = 64/255", "apgd")
    part = Part({f"check/{name}": Measure(0.5, low=0.4, high=0.6) for name in names})
    heads = check_table({"run": part}, 4 / 255, 500).columns
    assert list(heads) == ["checkpoint", "pgd, 2x steps", "pgd, ε = 64/255", "apgd"]
