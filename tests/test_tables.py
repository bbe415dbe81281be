"""Tables line up, fit their width, and never show a missing number as zero."""

import pytest

from grace_geom.tables import Cell, Table, percent


def table() -> Table:
    rows = [
        ["id", "shapes", percent(0.713, 0.692, 0.733), percent(0.082, 0.061, 0.11)],
        ["ood", "sketch", percent(1.0, 0.99, 1.0), percent(None)],
    ]
    return Table(
        ["suite", "data", "first", "second"], rows, labels=2, title="Title", notes=["A note."]
    )


def test_numbers_carry_their_interval():
    assert percent(0.713, 0.692, 0.733).full == "71.3 [69.2, 73.3]"
    assert percent(0.7, 0.68, 0.72).short == "70.0 ± 2.0"
    assert (
        percent(0.0, 0.0, 0.107).short == "0.0 [0.0, 10.7]"
    )  # ±5.4 would reach below 0 and miss half of it
    assert percent(-0.02, -0.05, 0.01, signed=True).full == "-2.0 [-5.0, 1.0]"
    assert percent(0.5).full == "50.0"


def test_missing_is_a_dash_and_zero_is_zero():
    assert percent(None).full == "-" and percent(0.0, 0.0, 0.02).full.startswith("0.0 ")


def test_a_wide_terminal_shows_intervals_with_points_below_each_other():
    assert table().text(100) == "\n".join(
        [
            "Title",
            "suite  data                  first           second",
            "─────  ──────  ───────────────────  ───────────────",
            "id     shapes   71.3 [69.2, 73.3]   8.2 [6.1, 11.0]",
            "ood    sketch  100.0 [99.0, 100.0]    -",
            "",
            "A note.",
        ]
    )


@pytest.mark.parametrize("width", range(24, 100, 3))
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width):
    text = table().text(width)
    widest = 15 + 19  # the labels and the widest column cannot be cut
    assert max(map(len, text.splitlines())) <= max(width, widest)
    for number in ("71.3", "100.0", "8.2", "first", "second", "sketch"):
        assert number in text


def test_a_terminal_breaks_the_longest_label_where_a_line_would_wrap():
    attack = "shapes, apgd-ce 4/255, 3 steps, 1 restart, float32"
    rows = [["ID", "shapes", "100", percent(0.73, 0.636, 0.807)],
            ["Adv", attack, "100", percent(0.04, 0.016, 0.098)]]  # fmt: skip
    long = Table(["", "data", "images", "run1"], rows, labels=3)
    shown = long.text(60, wrap=True)
    assert max(map(len, shown.splitlines())) <= 60 < max(map(len, long.text(60).splitlines()))
    assert shown.split() and sorted(shown.replace("─", "").split()) == sorted(
        long.text(60).replace("─", "").split()
    )
    assert long.text(100, wrap=True) == long.text(100)
    assert long.text(20, wrap=True) == long.text(20), "its longest word is too long"


def test_markdown_is_a_table_whose_bars_are_escaped():
    text = Table(["method", "x"], [["a|b", Cell("1.0", value=0.01)]], notes=["note"]).markdown()
    assert text == "| method | x |\n| --- | ---: |\n| a\\|b | 1.0 |\n\nnote\n"


def test_what_the_numbers_are_of_stands_below_the_title():
    table = Table(["run", "x"], [["ft", "1"]], title="T", about="weights: image tower, n = 64")
    assert table.text(20).splitlines()[:3] == ["T", "weights: image", "tower, n = 64"]
    assert table.markdown().startswith("**T**\n\nweights: image tower, n = 64\n\n| run | x |")
