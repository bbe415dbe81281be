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
from grace_geom.analysis.heard import tell
from grace_geom.analysis.named import options_of
from grace_geom.analysis.report import ReportOptions, failures, run_section
from grace_geom.analysis.report import report as write_report
from grace_geom.analysis.report_page import Section, page
from grace_geom.analysis.report_parts import packed_picture
from grace_geom.analysis.report_plan import ReportPlan, contents_now, made_before
from grace_geom.errors import Interrupted
from grace_geom.files import sha256
from grace_geom.plots.interactive import figure_of_page, narrow_of_page, packed_plotly
from grace_geom.provenance import installed
from grace_geom.records import Measure, Part, Result
from tests.analysis.test_standing import evaluated
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
    assert "<script" not in text
    assert text.count("data:image/webp;base64,") == 12 + 2, "a telephone's of those that stand open"
    assert text.count("<picture>") == 2 and text.count('<div class="fit"') == 12 - 2
    assert "http://" not in text and "https://" not in text  # nothing is fetched
    assert "A &amp; B" in text and "What it measures &lt;here&gt;." in text
    assert "This analysis failed: RuntimeError: eigenvalues &lt;lost&gt;" in text
    assert (
        "python analyses/feature_stability.py" in text
        and "95\u00a0% intervals" in text
        and "Table 2" in text
    )
    links = (
        '<a href="feature_stability.html">interactive page</a>, <a href="feature_stability.png">'
    )
    assert links in text
    assert "By 1 − cosine to the clean ones, an attack moves class centroids" in text
    assert re.search("<strong[^>]*>moved</strong> moved most: its <strong", text)
    assert "torchrun" not in text and "was evaluated, so none is ahead yet" in text
    assert "<h2>Do features stay where they were?</h2>" in text and "<h2>broken</h2>" in text
    (first, _, second) = (part.partition("</section>")[0] for part in text.split("<section ")[2:])
    for part in (first, second):  # figures, then numbers, then once how they were made
        order = [
            part.index(mark)
            for mark in ('class="finding"', "<figcaption", "<table", "Estimators of", "Make it")
        ]
        assert order == sorted(order) and part.count("Estimators of") == 1
    assert re.search(r"Data.*n\s=\s60, seed 0, .*95\s% intervals", first)
    assert "Levina-Bickel" in text and "params =" not in text and "loss =" not in text
    alts = re.findall(r'<img class="chart" alt="([^"]*)"', text)
    assert len(alts) == 12 and all(re.search(r"(still|moved): |lowest |\d points", a) for a in alts)
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
    assert len(set(drawn)) == len(drawn) == 12
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


def checkpoint(folder: Path) -> Path:
    """A run directory whose checkpoint nobody opens."""
    folder.mkdir()
    (folder / "ckpt.pt").write_bytes(b"weights")
    return folder


def test_an_interrupted_report_has_what_was_made_and_says_what_is_missing(tmp_path, capsys):
    out, seen = tmp_path / "out", []

    def made(argv):
        page = out / "report.html"
        seen.append(page.read_text() if page.is_file() else "")
        name = ("first", "second", "third")[len(seen) - 1]
        Result(name, ({"label": "a"},), {}, {"a": Part({"x": Measure(1.0)})}).save(out)

    def stopped(argv):
        raise KeyboardInterrupt

    options = ReportOptions((checkpoint(tmp_path / "a"),), out=out)
    stays = r"1 of 3 analyses are in .*report\.html; missing: second, third\. The same command"
    with pytest.raises(Interrupted, match=stays):
        write_report(options, {"first": made, "second": stopped, "third": made})
    text = (out / "report.html").read_text()
    assert "has 1 of 3 analyses. Missing: second, third." in text and '<section id="first">' in text
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        "to measure: first, second, third (3 of 3); the time is known once the first has ended"
    )
    assert "[1/3] first: 0 s; about 0 s left (2 more, if they take as long on average)" in told
    seen.clear()
    write_report(options, {"first": made, "second": made, "third": made})
    assert "Missing: second, third." in seen[1] and "Missing: third." in seen[2]
    assert "Missing" not in (out / "report.html").read_text()


def test_the_time_of_a_report_is_told_from_what_was_measured_in_this_call():
    plan = ReportPlan(("a", "b", "c", "d"), frozenset("b"))
    assert plan.begun().startswith(
        "to measure: a, c, d (3 of 4); made before with these settings: b"
    )
    assert plan.left is None
    plan.others["b"] = "made before"
    assert plan.left is None and plan.ended("b") == "[1/4] b: made before"
    plan.seconds["a"] = 60
    assert plan.ended("a").startswith("[2/4] a: 1:00 min; about 2:00 min left (2 more")
    plan.others["c"] = "failed"
    assert plan.left == 60 and plan.missing == ["d"]
    assert plan.ended("c").startswith("[3/4] c: failed; about 1:00 min left (1 more")
    assert "every analysis was made before" in ReportPlan("b", frozenset("b")).begun()


def test_what_was_measured_anew_is_not_said_to_be_made_before(tmp_path, capsys):
    out, name = tmp_path / "out", "sharpness"
    options = ReportOptions((checkpoint(tmp_path / "a"),), out=out)
    flags = options.arguments(out)[1:]
    settings = options_of(name, [tmp_path / "a" / "ckpt.pt"], flags).settings()
    record = {"label": "a", "sha256": sha256(tmp_path / "a" / "ckpt.pt")}
    versions = {"grace_geom": installed("grace_geom")}
    result = Result(name, (record,), settings, {"a": Part()}, versions=versions)
    result.save(out)

    def told(measured: int) -> str:
        def main(argv: list[str]) -> None:
            tell([], measured)

        write_report(options, {name: main})
        err = capsys.readouterr().err
        assert "every analysis was made before" in err, "as far as its file tells"
        return err.splitlines()[-1]

    assert told(measured=0) == "[1/1] sharpness: made before"
    assert told(measured=1) == "[1/1] sharpness: 0 s"


def test_a_stale_evaluation_does_not_rank_where_no_analysis_has_read_the_checkpoint(tmp_path):
    def broken(argv: list[str]) -> None:
        raise RuntimeError("lost")

    evaluated(tmp_path, "a", (360, 300, 240), sha="of earlier weights").write_bytes(b"weights")
    folder = tmp_path / "a"
    text = write_report(ReportOptions((folder,), out=tmp_path / "out"), {"x": broken}).read_text()
    assert "None of these checkpoints was evaluated" in text
    assert f"python -m grace_geom.evaluate {folder}/ckpt.pt</pre>" in text


def test_results_that_answer_for_the_same_checkpoints_and_settings_are_known(tmp_path):
    folder, out = checkpoint(tmp_path / "a"), tmp_path / "out"
    files, names = [folder / "ckpt.pt"], ("sharpness", "anisotropy", "own")
    settings = options_of("sharpness", files, ["--seed", "1"]).settings()
    record = {"label": "a", "sha256": sha256(files[0])}
    parts = {"a": Part({"x": Measure(1.0)})}
    versions = {"grace_geom": installed("grace_geom")}
    Result("sharpness", (record,), settings, parts, versions=versions).save(out)
    now = contents_now({"a": files[0]})
    assert made_before(names, files, ["--seed", "1"], out, now) == {"sharpness"}
    assert not made_before(names, files, ["--seed", "2"], out, now)
    files[0].write_bytes(b"other weights")
    assert not made_before(names, files, ["--seed", "1"], out, contents_now({"a": files[0]}))
