"""Checkpoints that a study did not make, as rows beside its own."""

from dataclasses import replace
from pathlib import Path

from grace_geom.errors import UserError
from grace_geom.evaluation import Measures, Sets, Source, assess
from grace_geom.evaluation.watching import Heard
from grace_geom.files import folder_name
from grace_geom.study.options import StudyOptions
from grace_geom.study.rows import Row
from grace_geom.study.state import Say


def also_rows(
    options: StudyOptions, measures: Measures, source: Source, sets: Sets, say: Say, failed: Say
) -> list[Row]:
    """Checkpoints from elsewhere, measured like the study's own, with the answers to its questions
    alone; what is wrong with one is said in its row.

    Args:
        options: The study.
        measures: What is measured.
        source: Where the study's data come from.
        sets: Data sets that are in memory.
        say: Told of each that was measured.
        failed: Told of each that could not be.
    """
    base = (
        "shipped"
        if options.pretrained is None and options.also_model is None
        else options.pretrained
    )
    source = replace(
        source,
        data=options.data,
        model=options.also_model or options.model,
        pretrained=options.also_pretrained or base,
    )
    found = []
    for name, file in options.also.items():
        into = options.out / "also" / f"{folder_name(name)}.eval.json"
        try:
            heard = Heard()
            record = assess(Path(file), measures, source, sets=sets, watcher=heard, into=into)
            record = replace(record, accuracies=tuple(heard.found)).summed()
            say(f"{name:<14} evaluated: {file}")
            found.append(Row(name, {options.seeds[0]: record}, trains=False))
        except UserError as error:
            failed(f"{name:<14} failed: {str(error).splitlines()[0]}")
            found.append(Row(name, {}, trains=False, error=str(error)))
    return found
