"""What each part of a method does, from a factorial study:
``python -m grace_geom.effects runs/parts --design grace-parts``
"""

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from grace_geom import starts
from grace_geom.cli import parse, quick
from grace_geom.errors import UserError
from grace_geom.terminal import door, finish, show

if TYPE_CHECKING:
    from grace_geom.study.design import Design
    from grace_geom.study.effects import Effects, StudyTable
    from grace_geom.tables import Table

PROG = "python -m grace_geom.effects"


@dataclass(frozen=True)
class EffectsOptions:
    """Which studies, and which design.

    Attributes:
        studies: Directories of studies; none: print the rows to train. Each data set has a model of
            its own.
        design: Factors and levels: a design of the package (grace-parts), or a YAML file.
        runs: Number of combinations to train, a D-optimal fraction; null: all of them.
        seed: Random seed of the choice of the fraction.
        part: Print part K of N of the rows only, as K/N; each part is for one training seed, which
            is printed with it (K - 1), and becomes a study of its own.
        columns: Columns of the table to explain.
        figure: Also draw the main effects: PNG, SVG or PDF.
    """

    studies: tuple[Path, ...] = field(default=(), metadata={"group": "effects"})
    design: str = "grace-parts"
    runs: int | None = None
    seed: int = 0
    part: str | None = None
    columns: tuple[str, ...] = ("ID", "OOD", "Adv", "HM", "HM'")
    figure: Path | None = None


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Print the rows of a design, or the effects that trained rows show."""
    quick.answer(PROG, argv, begin=starts.effects)
    options = parse(
        EffectsOptions, argv, positionals=("studies",), prog=PROG,
        description="Main effects and interactions of the parts of a method, by a mixed model over "
        "the runs of factorial studies. Without a study: which rows to train.",
    )  # fmt: skip
    quick.begun(starts.effects(vars(options)))
    from grace_geom.study.design import read_design

    design = read_design(options.design)
    if not options.studies:
        rows = plan(design, options.runs, options.seed, options.part)
        finish(text=rows, **yaml.safe_load(rows))
        return
    if options.figure is not None:
        check_ending(options.figure)
    found = {
        data: {column: effects_of(design, tables, column) for column in options.columns}
        for data, tables in by_data(options.studies).items()
    }
    width = shutil.get_terminal_size((100, 24)).columns
    for data, columns in found.items():
        for column, effect in columns.items():
            name = f"{data}, {column}" if len(found) > 1 else column
            for table in shown(name, effect):
                show(f"{table.text(width, sys.stdout.isatty())}\n")
    if options.figure is not None:
        drawn(found, options.figure)
        show(str(options.figure))
    from grace_geom.serialise import plain

    finish(data={d: {c: plain(e) for c, e in columns.items()} for d, columns in found.items()})


def by_data(studies: Sequence[Path]) -> "dict[str, dict[str, StudyTable]]":
    """Tables of finished studies by the data that they trained on: a short name of it, then study
    by study.
    """
    from grace_geom.study.effects import read_table

    tables = {str(folder): read_table(folder) for folder in studies}
    specs = dict.fromkeys(table.study.data for table in tables.values())
    names = {spec: short_spec(spec) for spec in specs}
    if len(set(names.values())) < len(names):
        names = {spec: spec for spec in specs}
    return {
        names[spec]: {folder: t for folder, t in tables.items() if t.study.data == spec}
        for spec in specs
    }


def short_spec(spec: str) -> str:
    """``npz:packs/cifar10_train.npz+packs/cifar10_test.npz`` -> ``cifar10_train``."""
    first = spec.partition("+")[0].partition(":")[2] or spec
    return re.sub(r"(\.wds)?\.(npz|tar|csv|json)$", "", first.rstrip("/").rpartition("/")[2])


def effects_of(design: "Design", tables: "Mapping[str, StudyTable]", column: str) -> "Effects":
    """What the runs of some studies say of one column."""
    from grace_geom.study.effects import effects, responses

    return effects(design, responses(design, tables, column))


def check_ending(path: Path) -> None:
    """Refuse a figure of another kind than can be written, before anything is fitted.

    Raises:
        UserError: If it is one.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--figure {path}: the name must end in .png, .svg or .pdf")


def drawn(found: "Mapping[str, Mapping[str, Effects]]", path: Path) -> None:
    """The main effects of all data sets as one figure.

    Raises:
        UserError: If the file cannot be written.
    """
    from grace_geom.plots.export import save
    from grace_geom.plots.forest import forest
    from grace_geom.plots.panels import Point

    bars = {
        data: {
            column: {
                f"{c.factor}: {c.level} − {c.reference}": Point(c.value, c.low, c.high)
                for c in effect.contrasts
            }
            for column, effect in columns.items()
        }
        for data, columns in found.items()
    }
    save(forest(bars, note=bars_are(found)), path, 7.0)


def bars_are(found: "Mapping[str, Mapping[str, Effects]]") -> str:
    """What points and bars of the figure are, and of how many runs."""
    runs = {}
    for data, columns in found.items():
        least, most = min(e.n for e in columns.values()), max(e.n for e in columns.values())
        count = f"{least} runs" if least == most else f"{least} to {most} runs"
        runs[data] = f"{count} on {data}" if len(found) > 1 else count
    model = "a mixed model over" if len(found) == 1 else "mixed models over"
    return (
        "Differences in points, averaged over the levels of the other factors: mean and 95 % "
        f"interval of {model} {', '.join(runs.values())}."
    )


def plan(design: "Design", runs: int | None, seed: int, part: str | None) -> str:
    """YAML for ``compare --config``, with the D-efficiency of the fraction as a comment.

    Raises:
        UserError: If ``part`` is not K/N with K from 1 to N, or the fraction is too small.
    """
    from grace_geom.study.design import efficiency, fraction

    place, parts = _part(part)
    if runs is None and part is None:
        shared = [design.cells]
    else:
        shared = fraction(design, runs or len(design.cells), seed, parts)
    cells = [cell for cells in shared for cell in cells]
    of = f"{len(cells)} of {len(design.cells)} combinations"
    head = f"# {of}, D-efficiency {efficiency(design, cells):.2f} of the whole design (seed {seed})"
    rows = [head]
    if part is not None:
        cells = shared[place - 1]
        rows += [f"# part {part}: {len(cells)} combinations", f"seeds: [{place - 1}]"]
    return "\n".join([*rows, "methods:", *(f"  - {design.label(cell)}" for cell in cells)])


def _part(part: str | None) -> tuple[int, int]:
    if part is None:
        return 1, 1
    place, slash, parts = part.partition("/")
    if not (slash and place.isdecimal() and parts.isdecimal() and 1 <= int(place) <= int(parts)):
        raise UserError(f"--part {part}: expected K/N with K from 1 to N, such as 1/3")
    return int(place), int(parts)


def shown(column: str, found: "Effects") -> list["Table"]:
    """The contrasts, then the F tests, of one column."""
    from grace_geom.tables import Cell, Table

    rows: list[list[Cell | str]] = [
        [
            c.factor,
            f"{c.level} − {c.reference}",
            Cell(f"{c.value:+.1f} [{c.low:+.1f}, {c.high:+.1f}]", value=c.value),
            _p(c.p),
            _p(c.p_holm),
            f"{c.detectable:.1f}",
        ]
        for c in found.contrasts
    ]
    notes = [
        f"{found.n} runs; mean {found.mean:.1f}; a run's standard deviation around the model "
        f"{found.residual:.2f}, a seed's {found.between:.2f} points; {found.df} degrees of freedom. "
        "Differences in points, averaged over the levels of the other factors, with 95 % intervals; "
        "detectable: the difference that 80 % of such studies would find at 5 %."
    ]
    first = Table(
        ["factor", "level", "difference", "p", "p, Holm", "detectable"],
        rows, labels=2, title=f"{column}: main effects", notes=notes,
    )  # fmt: skip
    tests: list[list[Cell | str]] = [
        [" × ".join(t.term), str(t.df), f"{t.F:.1f}", _p(t.p)] for t in found.tests
    ]
    return [first, Table(["term", "df", "F", "p"], tests, title=f"{column}: terms")]


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    main()
