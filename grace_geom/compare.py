"""Methods on equal terms:
``python -m grace_geom.compare --methods zero-shot,ft,lora,at,grace --seeds 0,1,2``
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grace_geom import starts
from grace_geom.cli import Command, part_of, quick
from grace_geom.cli.memory import remember
from grace_geom.engines import EngineOptions, check_engine
from grace_geom.errors import UserError
from grace_geom.refusals import check_study, refuse_several
from grace_geom.terminal import door, finish, say, show

if TYPE_CHECKING:
    from grace_geom.study import Row

PROG = "python -m grace_geom.compare"


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Train and evaluate what is missing, print the table, say where everything lies."""
    quick.answer(PROG, argv, {"methods": "rows"}, _check, starts.study)
    refuse_several("compare", "--workers runs several trainings at a time, one a GPU")
    from grace_geom.attacks import check_eps
    from grace_geom.evaluation import Measures
    from grace_geom.records.schema import read_json
    from grace_geom.study import Study, StudyOptions
    from grace_geom.study.options import row_names
    from grace_geom.study.shared import opened
    from grace_geom.tracking import check_installed

    command = Command(
        [StudyOptions, Measures, EngineOptions],
        description="Train and evaluate several methods on equal terms. An interrupted study "
        "continues where it stopped.",
        prog=PROG,
        key=PROG,
    )
    remember("rows", row_names())
    values = command.values(argv)
    quick.begun(starts.study(values))
    options, measures = part_of(StudyOptions, values), part_of(Measures, values)
    where = part_of(EngineOptions, values)
    check_engine(where, options.device)
    check_installed(options.report_to)
    if warning := check_eps(measures.radius, measures.norm):
        say(f"warning: --eps: {warning}")
    alone = where.engine == "local" and (options.workers or 1) == 1
    with opened(options, say, alone=alone, where=where) as (options, shared):
        study = Study(options, measures, say=say, where=where, shared=shared)
        study.width = shutil.get_terminal_size((100, 24)).columns
        rows = study.run()
    show("\n" + summary(rows, study.baseline(rows), study.width, sys.stdout.isatty()))
    figures = ("tradeoff.png", "effective_robustness.png")
    drawn = [name for name in figures if (options.out / name).is_file()]
    files = ["table.md (all tables)", "table.csv", "table.json", *drawn]
    finish(
        options.out / "table.md",
        beside=[options.out / name for name in ("table.csv", "table.json", *drawn)],
        text=f"\n{study.place}: {', '.join(files)}, and a folder for each run\n"
        f"see everything:  streamlit run app/main.py -- --runs {study.place}",
        **read_json(options.out / "table.json"),
    )
    if all(not row.records for row in rows):
        raise UserError("no run of the study succeeded; the reasons stand above")


def _check(values: Mapping[str, Any]) -> None:
    """What can be refused before torch is imported."""
    check_engine(part_of(EngineOptions, values), values["device"])
    check_study(values)


def summary(rows: Sequence["Row"], baseline: "Row | None", width: int, wrap: bool = False) -> str:
    """What a terminal shows: the main table, the OOD sets, the differences, and what failed."""
    from grace_geom.study import report
    from grace_geom.study.effective import effective

    shift = effective(rows)
    tables = [
        report.main_table(rows, above=shift.column),
        report.sets_table(rows, "ood", "OOD sets"),
    ]
    tables.append(report.suite_table(rows))
    if baseline is not None:
        tables.append(report.difference_table(rows, baseline, ("ID", "OOD", "Adv", "HM")))
    parts = [table.text(width, wrap) for table in tables if table is not None]
    meanings = " ".join([report.definitions(rows), *([report.ER] if shift.column else [])])
    parts[0] += "\n" + report.wrapped(meanings, width)
    parts += [report.wrapped(f"effective robustness: {text}", width) for text in shift.lacking]
    return "\n\n".join(parts + [f"failed: {line}" for line in report.failures(rows)])


if __name__ == "__main__":
    main()
