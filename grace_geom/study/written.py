"""The files that a study leaves beside its runs."""

from collections.abc import Sequence
from typing import Any

from grace_geom.evaluation import Measures
from grace_geom.files import write_text
from grace_geom.progress import Progress
from grace_geom.provenance import provenance
from grace_geom.records.schema import dumps
from grace_geom.serialise import plain
from grace_geom.study import data_files, report
from grace_geom.study.effective import effective, plain_lines
from grace_geom.study.figure import effective_robustness, tradeoff
from grace_geom.study.options import StudyOptions
from grace_geom.study.rate_tables import Searches, Trials, edges, rates_text, search_edges
from grace_geom.study.rows import Row
from grace_geom.study.state import FORMAT


def write_reports(
    rows: Sequence[Row],
    baseline: Row | None,
    options: StudyOptions,
    measures: Measures,
    trials: Trials,
    searches: Searches,
    place: str | None = None,
) -> None:
    """``table.md``, ``table.csv``, ``table.json``, ``tradeoff.png``, ``effective_robustness.png``.

    Args:
        rows: The methods.
        baseline: What the others are compared with.
        options: Of the study; its folder is where the files go.
        measures: What was measured.
        trials: Learning rates that were tried on a grid.
        searches: Searches for learning rates.
        place: Where the study is kept, for the record, if not there.
    """
    watch = Progress()
    watch.begin("tables and figures")
    out, shift = options.out, effective(rows)
    heading = f"{', '.join(row.label for row in rows)} on {options.data}"
    if options.unequal:
        heading += f", not on equal terms ({', '.join(options.unequal)})"
    rates = rates_text(trials, searches)
    write_text(out / "table.md", report.markdown(rows, baseline, heading, rates))
    write_text(out / "table.csv", data_files.csv_text(rows))
    settings = settings_of(options, measures) | {"trials": trials}
    settings["tables"] = {
        title: [row.label for row in some] for title, some in report.grouped(rows).items()
    }
    settings["study"]["out"] = place or str(options.out)
    settings["effective_robustness"] = plain_lines(shift)
    settings["rates_at_an_edge"] = [*edges(trials), *search_edges(searches)]
    if searches:
        settings["search"] = {label: search.plain() for label, search in searches.items()}
    content = {"format": FORMAT, **settings, "rows": data_files.plain_rows(rows, baseline)}
    write_text(out / "table.json", dumps(content | {"versions": provenance()}))
    first, second = out / "tradeoff.png", out / "effective_robustness.png"
    for path, drawn in (
        (first, tradeoff(rows, first)),
        (second, effective_robustness(shift, second)),
    ):
        if drawn is None:  # what an earlier study left here would pass for this one's
            path.unlink(missing_ok=True)
    watch.clear()


def settings_of(options: StudyOptions, measures: Measures) -> dict[str, Any]:
    """What was asked for, as plain types, and the ``radii`` in use where ``eps`` is the attack's
    own.
    """
    radii = [spec.eps for spec in measures.attack_specs()]
    return {"study": plain(options), "measures": plain(measures) | {"radii": radii}}
