"""The report over several analyses: one file with all of them, and what failed."""

import base64
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from analyses import feature_stability, report
from grace_geom.analyses import ANALYSES, script
from grace_geom.analysis.report import ReportOptions, failures, run_section
from grace_geom.analysis.report import report as write_report
from grace_geom.analysis.report_page import Section, page
from grace_geom.analysis.report_parts import packed_picture
from grace_geom.plots.interactive import figure_of_page, narrow_of_page, packed_plotly
from grace_geom.records import Measure, Part, Result
from tests.analysis.two_runs import FAST, runs


def quick(main):
    """An analysis at the smallest settings, whatever the report asks."""

    def run(argv):
        main([*argv, *FAST])

    run.__doc__ = "What it measures <here>."
    return run


def test_report_is_one_file_with_everything_in_it(lab, capsys):
    def broken(argv):
        raise RuntimeError("eigenvalues <lost>")

    options = ReportOptions(tuple(map(Path, runs(lab))), out=lab / "report", title="A & B")
    names = ("feature_stability", "representation_drift")
    mains = {name: quick(script(name)) for name in names}
    mains = {names[0]: mains[names[0]], "broken": broken, names[1]: mains[names[1]]}
    (lab / "report").mkdir()
    (lab / "report" / "feature_stability-former.png").write_bytes(b"of another version")
    path = write_report(options, mains)
    text = path.read_text()
    assert text.count("data:image/webp;base64,") == 8 and "<script" not in text
    assert "http://" not in text and "https://" not in text  # nothing is fetched
    assert "A &amp; B" in text and "What it measures &lt;here&gt;." in text
    assert "This analysis failed: RuntimeError: eigenvalues &lt;lost&gt;" in text
    assert (
        "python analyses/feature_stability.py" in text
        and "95 % intervals" in text
        and "Table 2" in text
    )
    links = (
        '<a href="feature_stability.html">interactive page</a>, <a href="feature_stability.png">'
    )
    assert links in text
    assert "By their cosine to the clean ones, an attack moves class centroids" in text
    assert "<strong>moved</strong> moved most: its <strong>" in text
    assert "torchrun" not in text and "was evaluated, so none is ahead yet" in text
    assert "<h2>Do features stay where they were?</h2>" in text and "<h2>broken</h2>" in text
    (first, _, second) = (part.partition("</section>")[0] for part in text.split("<section ")[2:])
    for part in (first, second):  # figures, then numbers, then once how they were made
        order = [
            part.index(mark)
            for mark in ('class="finding"', "<figcaption", "<table", "Estimators of", "Make it")
        ]
        assert order == sorted(order) and part.count("Estimators of") == 1
    assert re.search("data.*n = 60, seed 0, .*95 % intervals", first)
    assert "Levina-Bickel" in text and "params =" not in text and "loss =" not in text
    alts = re.findall(r'<img class="chart" alt="([^"]*)"', text)
    assert len(alts) == 8 and all(re.search(r"(still|moved): |lowest |\d points", a) for a in alts)
    said, told = capsys.readouterr()
    assert "broken failed: RuntimeError: eigenvalues <lost>\n" in told
    assert "2 of 3 analyses" in said and f"({len(text.encode()) / 1e6:.1f} MB)" in said
    assert_interactive(write_report(replace(options, interactive=True), mains), text)
    assert f"({path.stat().st_size / 1e6:.1f} MB)" in capsys.readouterr().out


def assert_interactive(path: Path, light: str) -> None:
    """Every figure of the light report, as its own page has it, with plotly inside once."""
    text = path.read_text()
    assert text.count('id="plotly"') == 1 and "data:image/webp" not in text
    assert "http://" not in re.sub(r"http://www.w3.org[\w/.]*", "", text).partition("<section")[0]
    drawn = re.findall(r'Plotly\.newPlot\("figure-([\w-]+)"', text)
    assert sorted(drawn) == sorted(re.findall(r'<a href="([\w-]+)\.html">', light))
    assert len(set(drawn)) == len(drawn) == 8
    for stem in drawn:
        own = figure_of_page(path.with_name(f"{stem}.html"))
        spec = text.partition(f'<div id="figure-{stem}"')[2].partition("const spec = ")[2]
        found, _ = json.JSONDecoder().raw_decode(spec)
        assert found["data"] == json.loads(own.to_json())["data"]
        assert narrow_of_page(path.with_name(f"{stem}.html")) is not None
    assert len(packed_plotly()) < len(text) < len(packed_plotly()) + 3e6


def test_pictures_of_a_report_are_small_and_look_the_same(tmp_path):
    drawn = Image.new("RGB", (2400, 1200), "white")
    for k, colour in enumerate(("#0072b2", "#d55e00", "#009e73"), start=1):
        wave = [(x, 600 + 500 * math.sin(x / 100 / k)) for x in range(0, 2400, 8)]
        ImageDraw.Draw(drawn).line(wave, colour, 12, "curve")
    smooth = drawn.resize((600, 300), Image.Resampling.BOX).convert(
        "RGBA"
    )  # as printed figures are
    smooth.save(path := tmp_path / "a.png")
    packed = base64.b64decode(packed_picture(path))
    assert len(packed) < path.stat().st_size / 2
    before, after = (
        np.asarray(Image.open(file).convert("RGB"), float) for file in (path, io.BytesIO(packed))
    )
    assert np.abs(before - after).mean() < 0.5, "of 255"


def test_a_report_tells_which_checkpoints_an_analysis_left_out(tmp_path):
    parts = {"a": Part({"drift": Measure(1.0)}), "b": Part(not_measured="not finite")}
    section = Section("drift", "", "", "", result=Result("drift", (), {}, parts))
    assert failures(section) == ["drift: b: not measured: not finite"]


def test_report_says_why_an_analysis_refused(lab):
    def refuses(argv):
        feature_stability.main([*argv, *FAST, "--layers", "blok"])

    argv = [runs(lab)[0], "--out", str(lab / "no")]
    section = run_section("feature_stability", refuses, argv, lab / "no")
    assert "did you mean" in section.failure and section.figures == {}
    assert "This analysis failed" in page("t", ["a"], [section])


def test_report_knows_every_analysis_of_the_folder_and_no_other(lab, capsys):
    scripts = {file.stem for file in Path(report.__file__).parent.glob("*.py")}
    assert scripts == {*ANALYSES, "report"}
    with pytest.raises(SystemExit):
        report.main([runs(lab)[0], "--analyses", "feature_stabilty", "--out", str(lab / "no")])
    assert "did you mean 'feature_stability'?" in capsys.readouterr().err
