"""Work on a study whose runs are finished: ``python -m grace_geom.study analyse runs/study``, and
``python -m grace_geom.study evaluate runs/study --suites adv --attack apgd``.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from grace_geom import starts
from grace_geom.cli import Command, part_of, quick
from grace_geom.engines import EngineOptions, check_engine
from grace_geom.errors import UserError, check_known
from grace_geom.known_analyses import ANALYSES
from grace_geom.refusals import check_suites, refuse_several
from grace_geom.terminal import door, finish, say, show

PROG = "python -m grace_geom.study"
COMMANDS = ("analyse", "evaluate")
ANALYSE_TEXT = "Analyse every finished run of a study; what is current is not measured again."
EVALUATE_TEXT = "Evaluate every finished run of a study on more data sets, or under more attacks."


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, print a summary, say where everything lies."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    if tokens in (["--help"], ["-h"]):
        print(f"{PROG} analyse STUDY [flags]\n    {ANALYSE_TEXT}")
        print(f"{PROG} evaluate STUDY [flags]\n    {EVALUATE_TEXT}")
        print("\nFlags: the same with --help behind the command.")
        raise SystemExit(0)
    if not tokens:
        raise UserError(f"name a command: {' or '.join(COMMANDS)}; see --help")
    check_known("command", tokens[0], COMMANDS)
    refuse_several(f"study {tokens[0]}", "--workers runs several tasks at a time, one a GPU")
    {"analyse": analyse, "evaluate": evaluate}[tokens[0]](tokens[1:])


def analyse(argv: Sequence[str]) -> None:
    """The command ``analyse``."""
    prog = f"{PROG} analyse"
    quick.answer(prog, argv, check=_check_names, begin=starts.study_analyses)
    from grace_geom.engines import make_engine
    from grace_geom.study.analyse import AnalysesOptions, StudyAnalyses

    command = Command([AnalysesOptions, EngineOptions], description=ANALYSE_TEXT,
                      positionals=("study",), prog=prog, key=prog)  # fmt: skip
    values = command.values(argv)
    _check_names(values)
    quick.begun(starts.study_analyses(values))
    options, where = part_of(AnalysesOptions, values), part_of(EngineOptions, values)
    _check_engine(where, options.device)
    engine = make_engine(where, options.workers, options.device, options.study)
    work = StudyAnalyses(options, engine, where.resources())
    done = work.run()
    for name in work.plans:
        if text := done.texts.get(name):
            show(f"{text}\n")
    show(work.table().text(*_terminal()))
    results = [done.results[name] for name in work.plans if name in done.results]
    finish(*results, text="\n" + _written(results), analyses=done.plain())
    if not results:
        raise UserError("no analysis of the study succeeded; the reasons stand above")


def evaluate(argv: Sequence[str]) -> None:
    """The command ``evaluate``."""
    prog = f"{PROG} evaluate"
    quick.answer(
        prog, argv, check=lambda v: check_suites(v["suites"]), begin=starts.study_evaluations
    )
    from grace_geom.attacks import check_eps
    from grace_geom.engines import make_engine
    from grace_geom.evaluation import Measures
    from grace_geom.evaluation.table import accuracy_table
    from grace_geom.study.evaluate import EvaluationsOptions, StudyEvaluations

    command = Command([EvaluationsOptions, Measures, EngineOptions], description=EVALUATE_TEXT,
                      positionals=("study",), prog=prog, key=prog)  # fmt: skip
    values = command.values(argv)
    quick.begun(starts.study_evaluations(values))
    options, measures = part_of(EvaluationsOptions, values), part_of(Measures, values)
    where = part_of(EngineOptions, values)
    _check_engine(where, options.device)
    if warning := check_eps(measures.radius, measures.norm):
        say(f"warning: --eps: {warning}")
    engine = make_engine(where, options.workers, options.device, options.study)
    done = StudyEvaluations(options, measures, engine, where.resources()).run()
    if done.records:
        show(accuracy_table(list(done.records.values())).text(*_terminal()))
    current = sum(state == "current" for state in done.states.values())
    files = [done.files[name] / "eval.json" for name in done.records]
    several = "run" if len(files) == 1 else "runs"
    text = f"\n{len(files)} {several}, {current} of them measured before: eval.json beside each"
    finish(*files, text=text, runs=done.plain())
    if not done.records:
        raise UserError("no run of the study could be evaluated; the reasons stand above")


def _check_engine(where: EngineOptions, device: str) -> None:
    """Refuse an engine that is not there, and several processes for one task.

    Raises:
        UserError: With what to do.
    """
    check_engine(where, device)
    if where.resources().processes * where.resources().nodes > 1:
        raise UserError(
            f"--gpus-per-run {where.gpus_per_run:g}: the tasks of this command take one GPU each; "
            "leave it out, and more of them run at a time"
        )


def _check_names(values: Mapping[str, Any]) -> None:
    for name in values["analyses"]:
        check_known("--analyses:", name, ANALYSES)


def _terminal() -> tuple[int, bool]:
    return shutil.get_terminal_size((100, 24)).columns, sys.stdout.isatty()


def _written(results: Sequence[object]) -> str:
    return "results: " + (", ".join(map(str, results)) or "none")


if __name__ == "__main__":
    main()
