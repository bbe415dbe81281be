"""The page of curvature, without a browser."""

from grace_geom.records import Result
from tests.app.conftest import notices, sees, specs, spectrum


def test_spectra_measured_otherwise_are_left_out(opened, runs):
    spectrum(runs / "demo/ft-s0", 5.0)
    spectrum(runs / "demo/grace-s0", 3.0, n=10)
    app = opened(runs, "curvature")
    assert "grace\\-s0 is left out: measured with other n" in "\n".join(notices(app))
    figure = next(e for e in app.main if e.type in ("expander", "plotly_chart"))
    assert figure.type == "expander"  # one collapsed line before the first figure
    assert not figure.proto.expanded
    assert "no checkpoint to measure it on: zero\\-shot\\-s0" in sees(app)
    assert {trace["name"] for trace in specs(app)[0]["data"]} == {"ft-s0"}


def test_without_a_density_what_is_there_comes_first_and_the_command_below(opened, runs):
    spectrum(runs / "demo/ft-s0", 5.0)
    path = next((runs / "demo/ft-s0/analyses").glob("*.json"))
    result = Result.load(path)
    for part in result.parts.values():
        part.arrays.clear()
    result.save(path.parent)
    app = opened(runs, "curvature")
    assert not [c for c in app.segmented_control if c.key == "curvature_axis"]
    assert [h.value for h in app.main.header] == [
        "Eigenvalues, trace and norm", "Curvature of each matrix", "Spectral density",
        "Sharpness: how far the loss rises nearby",
    ]  # fmt: skip
    assert not [h for h in app.main.get("html") if 'aria-label="Runs"' in h.proto.body], (
        "the rows have names"
    )
    lines = [c.value for c in app.code if "hessian_spectrum.py" in c.value]
    assert lines[-1].endswith("--density-probes 2")


def test_rows_of_curvature_are_ranked_as_the_answer_ranks_them_and_the_baseline_is_marked(
    opened, runs
):
    for run, top in (("ft", 5.0), ("grace", 2.0), ("zero-shot", 9.0)):
        spectrum(runs / f"demo/{run}-s0", top)
    app = opened(runs, "curvature", baseline="demo/ft-s0")
    said = sees(app)
    assert said.index("grace") < said.index("zero")
    rows = [
        spec["layout"]
        for spec in specs(app)
        if "<b>ft-s0</b>" in spec["layout"]["yaxis"].get("ticktext", ())
    ]
    last = rows.pop()["yaxis"]["ticktext"]
    assert last == ["zero-shot-s0", "<b>ft-s0</b>", "grace-s0"], "the map"
    assert len(rows) == 4 - 2, "no norm and no smallest eigenvalue on record"
    for layout in rows:
        assert layout["yaxis"]["ticktext"] == ["grace-s0", "<b>ft-s0</b>", "zero-shot-s0"]
        (line,) = layout["shapes"]
        assert line["x0"] == line["x1"] in (5.0, 15.0)
    assert "Bold, dotted: the baseline." in said and "Bold: the baseline." in said
    assert said.count("A weight is most curved in") == 1
    assert said.index("Curvature of each matrix") < said.index("A weight is most curved in")
