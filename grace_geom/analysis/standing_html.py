"""The first section of a report: which checkpoint is best."""

import html
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from PIL import Image

from grace_geom.analysis.report_parts import marked_up, packed, row_head, together
from grace_geom.analysis.standing import RankedCheckpoints, figures, how_measured
from grace_geom.plots import export
from grace_geom.plots.interactive import embedded
from grace_geom.plots.spoken import with_numbers
from grace_geom.records import Estimate

ID, QUESTION = "standing", "Which checkpoint is best?"
WIDE = ("HM'", "ZS", "NatAdv")
"""Columns that a narrow screen folds away."""
INCHES = 3.9
"""Width of a picture, two of which stand side by side."""
MEASURES = '<p class="note">This measures what is missing:</p>'
KEY = "Ringed: not beaten in both; dotted: Pareto front; bars: 95 % intervals over images."


def first_section(best: RankedCheckpoints, interactive: bool) -> tuple[str, str, str]:
    """Id, question and HTML: the answer, the ranked table, and both trade-offs.

    Args:
        best: The checkpoints in order.
        interactive: Whether figures can be zoomed into.
    """
    head = f'<section id="{ID}" class="first"><h2>{QUESTION}</h2>\n'
    if not best.by:
        said = "None of these checkpoints was evaluated, so none is ahead yet; this measures them:"
        body = f'<p class="finding">{said}</p>{_command(list(best.files.values()))}'
        return ID, QUESTION, f"{head}{body}</section>"
    missing = "".join(
        f'<p class="note">{html.escape(f"{label} is not in the table: {why}.")}</p>'
        for label, why in best.missing.items()
    )
    if missing:
        missing += f"{MEASURES}{_command([best.files[label] for label in best.missing])}"
    drawn = "".join(_figure(id, *one, interactive) for id, one in figures(best).items())
    key = together(f"{_named(best.numbers())}{KEY}")
    pair = f'<div class="pair">{drawn}</div><p class="note">{key}</p>' if drawn else ""
    return ID, QUESTION, (
        f'{head}<p class="finding">{marked_up(best.sentence())}</p>\n{_table(best)}{missing}'
        f'{pair}<details><summary>What the columns are</summary><p class="note">'
        f"{html.escape(together(how_measured(best)))}</p></details></section>"
    )  # fmt: skip


def _command(files: Sequence[Path]) -> str:
    """What evaluates these checkpoints."""
    words = ["python", "-m", "grace_geom.evaluate", *map(str, files)]
    return f"<pre>{html.escape(shlex.join(words))}</pre>"


def _named(numbers: Mapping[str, str]) -> str:
    """What stands at the points in the place of names; empty where names do."""
    kinds = {"Numbers" if place.isdigit() else "Letters" for place in numbers.values()}
    said = " and ".join(sorted(kinds, reverse=True)).capitalize()
    return f"{said}: places in the table. " if said else ""


def _table(best: RankedCheckpoints) -> str:
    """The ranked table; the columns that a narrow screen has no room for stand folded below it."""
    folded = [c for c in WIDE if c in best.columns]
    more = ""
    if folded:
        names = html.escape(", ".join(map(_head, folded)))
        more = (
            f'<details class="folded"><summary>More columns: {names}</summary>'
            f"{_ranked(best, folded)}</details>"
        )
    note = together(
        "Accuracy in %, 95 % intervals over images. Bold: the best of a column and those not "
        "clearly worse on the same images; none where attacks or images differ."
    )
    return f'{_ranked(best, best.columns, WIDE)}{more}<p class="note">{note}</p>'


def _ranked(best: RankedCheckpoints, columns: Sequence[str], wide: Sequence[str] = ()) -> str:
    """A row a checkpoint, with some columns; those of ``wide`` only where there is room."""
    leaders, looks = {c: best.leaders(c) for c in {*columns, best.by}}, best.legend.looks
    sides = {c: f"number{' wide' * (c in wide)}" for c in columns}
    heads = "".join(
        f'<th scope="col" class="{sides[c]}">{html.escape(_head(c))}</th>' for c in columns
    )
    rows, places = [], best.numbers() or best.ranks()
    for label, known in best.estimates.items():
        cells = "".join(
            f'<td class="{sides[c]}{" best" * (label in leaders[c])}">{_number(known.get(c))}</td>'
            for c in columns
        )
        key = f'<span class="key" style="background:{looks[label].color}"></span>'
        lead = ' class="lead"' if label in leaders[best.by] else ""
        rows.append(
            f'<tr{lead}>{row_head(label)}<span class="who"><span class="rank">'
            f"{places.get(label, '')}</span> {key} <span>{html.escape(label)}</span></span></th>"
            f"{cells}</tr>"
        )
    return (
        '<div class="scroll" tabindex="0"><table class="ranked"><thead><tr><th scope="col">'
        f"Checkpoint</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(column: str) -> str:
    """``HM'`` with a true prime."""
    return column.replace("'", "\u2032")


def _number(e: Estimate | None) -> str:
    if e is None:
        return "–"
    interval = f"[{100 * e.low:.1f}, {100 * e.high:.1f}]"
    return f'{100 * e.value:.1f} <span class="interval">{interval}</span>'


def _figure(id: str, title: str, figure: go.Figure, interactive: bool) -> str:
    alt = html.escape(with_numbers(title, figure), quote=True)
    if interactive:
        drawn = embedded(figure, f"figure-{id}", narrow=figure)
        drawn = f'<div role="img" aria-label="{alt}" tabindex="0">{drawn}</div>'
    else:
        with Image.open(io.BytesIO(export.printed(figure, "png", INCHES))) as picture:
            data = packed(picture, exact=False)
        drawn = f'<img class="chart" alt="{alt}" src="data:image/webp;base64,{data}">'
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{drawn}</figure>"
