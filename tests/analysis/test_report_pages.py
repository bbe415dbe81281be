"""Interactive figures of a report: each in a place of its own, and those whose pages cannot be
taken apart.
"""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from plotly.subplots import make_subplots

from grace_geom.analysis import report_page as report
from grace_geom.analysis import report_parts as parts_of_it
from grace_geom.analysis.report_style import CSS
from grace_geom.plots import export, interactive, layers, units
from grace_geom.plots.compose import compose
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import look
from grace_geom.records import Finding, Part, Result
from grace_geom.records.numbers import in_symbols
from grace_geom.tables import Table


def interactive_page(folder: Path, name: str) -> str:
    """A report of one analysis with one figure of three panels."""
    figure = make_subplots(1, 3)
    for column in (1, 2, 3):
        figure.add_scatter(x=[0, 1], y=[0, 1], row=1, col=column)
    export.save_html(figure, folder / f"{name}.html", "")
    info = PngInfo()
    info.add_text("Title", "Three panels")
    Image.new("RGB", (4, 4)).save(folder / f"{name}.png", pnginfo=info)
    drawn = {folder / f"{name}.png": "Three panels"}
    section = report.Section(name, "What for.", "python x.py", "", drawn)
    return report.page("A report", ["a"], [section], interactive=True)


def test_a_figure_is_drawn_into_its_own_element_and_not_over_its_section(tmp_path: Path) -> None:
    page = interactive_page(tmp_path, "sharpness")
    ids = re.findall(r'<\w+[^>]* id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    (target,) = re.findall(r'Plotly\.newPlot\("([^"]*)"', page)
    assert f'<div id="{target}"' in page and '<section id="sharpness">' in page


def test_a_figure_keeps_the_width_that_its_panels_need_on_a_telephone(tmp_path: Path) -> None:
    page = interactive_page(tmp_path, "sharpness")
    assert "min-width:900px" in page and "overflow-x: auto" in page
    assert 'name="viewport" content="width=device-width' in page


def test_maps_of_equal_scales_need_less_width_and_a_caption_replaces_the_title(
    tmp_path: Path,
) -> None:
    ticks = ["block.0", "block.1", "block.2", "block.3", "embedding"]
    grid = {"layers": np.array(ticks), "cka_layers/id": np.eye(5)}
    name = "a-long-name-of-a-run-that-nobody-can-read-at-a-glance-of-two"
    parts = {f"{name}{i}": Part({}, grid) for i in range(3)}
    found = [Finding(run, Result("x", (), {"n": 4}, parts), run) for run in parts]
    legend = Legend({run: run for run in parts}, {run: look("ft") for run in parts})
    maps = layers.layer_by_layer(found, legend, "id", 230)
    (axis,) = {str(figure.layout.xaxis.ticktext) for figure in maps.values()}
    assert axis == str(("0", "1", "2", "3", "E"))  # level, with room for the name
    assert next(iter(maps.values())).layout.yaxis.ticktext == ("0", "1", "2", "3", "E")
    figure = compose("Maps", [maps], legend, "", 6)
    assert interactive.least_width(figure) == 3 * interactive.SQUARE
    heads = [a.text for a in figure.layout.annotations]
    assert all("<br>" in head for head in heads)  # none lies over its neighbour
    export.save_html(figure, tmp_path / "maps.html", "")
    Image.new("RGB", (4, 4)).save(tmp_path / "maps.png")
    drawn = report._drawn(tmp_path / "maps.png", "Maps", interactive=True)
    assert f"height:{figure.layout.height - 36}px" in drawn and ">Maps<" not in drawn


def test_a_page_that_holds_no_figure_leaves_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(file)
    file.with_suffix(".html").write_text("<p>no figure</p>")
    assert report._drawn(file, "A title", interactive=True).startswith(
        '<img class="chart" alt="A title"'
    )
    said = " ".join(capsys.readouterr().err.split())
    assert "holds no figure that can be taken out; the report has its picture" in said


def two_forms(folder: Path, narrow: go.Figure) -> str:
    """What a report has of a figure whose page shows another one to a telephone."""
    wide = go.Figure(go.Scatter(x=np.arange(3.0), y=np.arange(3.0))).update_layout(height=300)
    export.save_html(wide, folder / "x.html", "", narrow=narrow)
    Image.new("RGB", (4, 4)).save(folder / "x.png")
    return report._drawn(folder / "x.png", "A < B", interactive=False)


def test_a_telephone_has_a_picture_of_the_narrow_figure_in_letters_of_its_size(
    tmp_path: Path,
) -> None:
    tall = go.Figure(go.Heatmap(z=np.eye(3), colorscale="Greys")).update_layout(height=720)
    drawn = two_forms(tmp_path, tall)
    assert drawn.startswith('<picture><source media="screen and (max-width: 640px)" srcset="')
    assert drawn.endswith("</picture>") and 'alt="A &lt; B"' in drawn
    small, large = re.findall('base64,([^"]+)', drawn)
    with Image.open(io.BytesIO(base64.b64decode(small))) as picture:
        assert picture.height == pytest.approx(
            720 / parts_of_it.TELEPHONE * picture.width, rel=0.01
        )
        assert picture.width > 390  # pixels of a telephone, which are not to be enlarged
    assert small != large


def test_a_narrow_figure_that_cannot_be_printed_is_told_and_leaves_the_wide_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = two_forms(tmp_path, go.Figure(go.Pie(values=[1, 2])).update_layout(height=300))
    assert drawn.startswith('<img class="chart"')
    assert "warning: x has no form for a telephone" in " ".join(capsys.readouterr().err.split())


def test_arrays_of_a_page_are_those_that_were_drawn() -> None:
    z = np.arange(6, dtype=np.int16).reshape(2, 3)
    found = units.unpacked(go.Figure(go.Heatmap(z=z, x=["a", "b", "c"])).to_plotly_json()["data"])
    assert np.array_equal(found[0]["z"], z) and list(found[0]["x"]) == ["a", "b", "c"]
    packed = {"dtype": "f8", "bdata": base64.b64encode(np.array([1.5, 2.0])).decode()}
    assert units.unpacked({"y": (packed, 1)})["y"][0].tolist() == [1.5, 2.0]


def test_numbers_have_true_minus_signs_and_notes_begin_with_a_capital() -> None:
    said = parts_of_it.printed
    assert said("-0.3 [-0.57, 2.90]") == "\u22120.3 [\u22120.57, 2.90]"
    assert said("-") == "–" and said("-¹") == "–¹"
    for same in ("1e-07", "lora-s0", "0.1-0.5", "--n 64", "2026-11-30", "--seed -x"):
        assert said(same) == same
    rows = [["ft", "1.0", "-2.0"]]
    drawn = parts_of_it.table(Table(["run", "a", "b"], rows, notes=["bars: 95 %", "ft: left out"]))
    assert "\u22122.0</td>" in drawn and ">Bars: 95\u00a0%<" in drawn
    assert ">ft: left out<" in drawn


def test_symbols_have_what_is_lowered_and_a_table_says_what_it_is_of() -> None:
    heads = ["checkpoint", "λ_min", "λ_min,2", "‖H‖_F/√d", "ce/ball_1"]
    drawn = parts_of_it.table(Table(heads, [["a", *"1234"]], title="T", about="hessian, n = 64"))
    found = re.findall('<th scope="col"[^>]*>(.*?)</th>', drawn)
    lowered = ["λ<sub>min</sub>", "λ<sub>min,2</sub>", "‖H‖<sub>F</sub>/√d"]
    assert found == ["Checkpoint", *lowered, "ce/ball_1"]
    about = '<span class="about">Hessian, n\u00a0=\u00a064</span>'
    assert f"<caption>T{about}</caption>" in drawn


def test_a_telephone_folds_columns_of_a_wide_table_and_says_which() -> None:
    heads = ["checkpoint", "ball, ρ = 0.1", "adaptive, ρ = 1", "average ± s.e., ρ = 10", "λ_min"]
    row = ["zero-shot-s0", "0.3929", "0.3735", "0.0230 ± 0.0027", "1.5"]
    drawn = parts_of_it.table(Table(heads, [row], title="T", notes=["A note"]))
    head, _, rest = drawn.partition('<details class="few">')
    names = "Average\u00a0±\u00a0s.e., ρ\u00a0=\u00a010; λ<sub>min</sub>"
    assert rest.startswith(f"<summary>More columns: {names}</summary>")
    near, far = ["number"] * 2, ["number far"] * 2
    assert re.findall('<td class="([^"]*)">', head) == near + far
    more, _, notes = rest.partition("</details>")
    assert re.findall("<td[^>]*>([^<]*)<", more) == row[3:] and "zero-shot-s0" in more
    assert "far" not in more and "caption" not in more and "A note" in notes
    assert "few" not in parts_of_it.table(Table(heads[:3], [row[:3]]))
    assert ".far { display: none } .few { display: block }" in CSS


def test_a_short_name_stays_in_one_line() -> None:
    name, long = "zero-shot-s0", "a-name-that-has-more-letters-than-there-is-room-for"
    drawn = parts_of_it.table(Table(["run", "a"], [[name, "1"], [long, "2"]]))
    assert f'<th scope="row" class="short">{name}<' in drawn
    assert f'<th scope="row">{long}<' in drawn


def test_lines_break_within_no_number() -> None:
    said = "by **a** (κ = 0.0080 ± 0.0015), 95 % [0.4, 0.6] [see below, b]"
    whole = "κ_=_0.0080_±_0.0015), 95_% [0.4,_0.6] [see below, b]".replace("_", "\u00a0")
    assert parts_of_it.together(said) == f"by **a** ({whole}"
    assert parts_of_it.marked_up(said).startswith('by <strong class="name">a</strong> (κ\u00a0=')


def test_a_figure_has_its_title_in_the_page_and_not_in_the_picture(tmp_path: Path) -> None:
    legend = Legend({"a": "a"}, {"a": look("ft")})
    panel = go.Figure(go.Scatter(x=[0.0, 1.0], y=[0.0, 1.0], legendgroup="a"))
    figure = compose("A title", [{"panel": panel}], legend)
    heights = []
    for name, drawn in (("titled", figure), ("bare", parts_of_it.untitled(go.Figure(figure)))):
        heights.append(drawn.layout.height)
        export.save_html(drawn, tmp_path / f"{name}.html", "", narrow=drawn)
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    assert heights[0] > heights[1]
    pictures = [re.findall('base64,([^"]+)', parts_of_it.picture(tmp_path / f"{name}.png", ""))
                for name in ("titled", "bare")]  # fmt: skip
    assert pictures[0] == pictures[1] and len(pictures[0]) == 2
    shown = report._figure(tmp_path / "titled.png", "A < title", interactive=False, folded=True)
    assert "<figcaption>A &lt; title</figcaption>" in shown
    assert shown.count("base64,") == 1 and '<div class="fit" tabindex="0"><img ' in shown


def test_a_picture_of_lines_keeps_its_colours_and_a_smooth_one_has_no_steps() -> None:
    pixels = np.full((100, 200, 3), 255, np.uint8)
    pixels[:20, :20], pixels[20:40, :20], pixels[50, :2] = (
        (0, 114, 229),
        (0, 116, 229),
        (250, 255, 255),
    )
    few = parts_of_it.in_few_colours(Image.fromarray(pixels))
    assert few is not None
    assert {c for _, c in few.getcolors() or ()} == {(255,) * 3, (0, 114, 229), (0, 116, 229)}
    x, y = np.meshgrid(np.arange(200), np.arange(100))
    smooth = np.stack([x, 2 * y, (x + y) // 2], axis=2)
    assert parts_of_it.in_few_colours(Image.fromarray(smooth.astype(np.uint8))) is None
    packed = base64.b64decode(parts_of_it.packed(Image.fromarray(smooth.astype(np.uint8)), False))
    with Image.open(io.BytesIO(packed)) as picture:
        assert np.abs(np.asarray(picture.convert("RGB"), float) - smooth).mean() < 4


def test_the_figure_of_the_sentence_comes_first_and_a_long_table_is_folded(tmp_path: Path) -> None:
    figures = {}
    for stem, title in (("feature_stability", "Clouds"), (report.FIRST["feature_stability"], "B")):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{stem}.png")
        figures[tmp_path / f"{stem}.png"] = title
    tables = [Table(["run", "x"], [["ft", "1"]] * n, title=f"{n} rows") for n in (40, 2)]
    section = report.Section("feature_stability", "", "", "", figures, tables=tables)
    text = report.part_of(section, interactive=False).body
    assert "<summary>More figures: Clouds</summary>" in text
    assert "<summary>Tables: 40 rows; 2 rows</summary>" in text
    short = report.part_of(replace(section, tables=tables[::-1]), interactive=False).body
    assert "<summary>More tables: 40 rows</summary>" in short


def test_estimators_that_differ_in_a_number_are_one_line_in_symbols():
    texts = ["Lanczos, |Hv - lam v| = 4.2e-06", "Lanczos, |Hv - lam v| = 0.1", "Hutchinson, n = 3",
             "Lanczos, |Hv - lam v| = 2e-07", "sum_c pi_c |mu_id - mu_t|^2"]  # fmt: skip
    said = [in_symbols(text) for text in report._with_ranges(texts)]
    assert said == [
        "Lanczos, ‖Hv − λv‖ = 2·10⁻⁷ to 0.1",
        "Hutchinson, n = 3",
        "∑_c π_c ‖μ_id − μ_t‖²",
    ]
