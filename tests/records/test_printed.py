"""Tables to be taken along: every digit as CSV, and what LaTeX and Markdown would misread."""

import csv
import io

import pytest

from grace_geom.records.printed import Figure, Printed, latex_text


@pytest.fixture
def table() -> Printed:
    rows = [
        ["at_100%", Figure(100 / 3, 30.0, 36.7, best=True), None],
        ["a|b & c", Figure(-2.0, digits=None, signed=True), "0, 1"],
    ]
    return Printed(["run", "HM", "seeds"], rows, ["In %."])


def test_csv_has_every_digit_and_the_ends_of_intervals(table):
    head, first, second = csv.reader(io.StringIO(table.csv()))
    assert head == ["run", "HM", "HM low", "HM high", "seeds"]
    assert first == ["at_100%", repr(100 / 3), "30.0", "36.7", ""]
    assert second == ["a|b & c", "-2.0", "", "", "0, 1"]


def test_markdown_marks_the_best_and_keeps_its_columns(table):
    lines = table.markdown().splitlines()
    assert lines[1] == "| --- | ---: | --- |"
    assert lines[2] == "| at_100% | **33.3** [30.0, 36.7] | – |"
    assert lines[3] == "| a\\|b & c | −2 | 0, 1 |"
    assert lines[-1] == "In %."


def test_latex_is_a_tabular_of_booktabs_with_everything_escaped(table):
    text = table.latex()
    assert "\\begin{tabular}{lrl}\n\\toprule\nrun & HM & seeds \\\\\n\\midrule\n" in text
    assert "at\\_100\\% & \\textbf{33.3} {\\scriptsize [30.0, 36.7]} & -- \\\\" in text
    assert "a|b \\& c & $-$2 & 0, 1 \\\\\n\\bottomrule\n\\end{tabular}" in text
    assert latex_text("λ₁ ±5 {x}^~\\") == (
        "$\\lambda$$_1$ $\\pm$5 \\{x\\}\\textasciicircum{}\\textasciitilde{}\\textbackslash{}"
    )


def test_a_lopsided_interval_is_written_out():
    assert Figure(71.3, 69.2, 73.4).short() == "71.3 ±2.1"
    assert Figure(96.1, 94.5, 97.3).short() == "96.1 ±1.4", "an end is 0.2 off"
    assert Figure(97.0, 94.4, 98.8).short() == "97.0 ±2.2"
    assert Figure(97.5, 94.5, 98.5).short() == "97.5 [94.5, 98.5]"
    assert Figure(0.0, 0.0, 10.7).short() == "0.0 [0.0, 10.7]"
    assert Figure(-0.04).short() == "0.0"
    assert Figure(5.0, signed=True).number() == "+5.0"
    assert Figure(1234.5, digits=None).number() == "1.23e+03"
