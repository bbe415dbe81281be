"""The page of a report: which checkpoint is best, then a section for each analysis with the answer,
one figure, its numbers and how they were made. It needs nothing beside itself.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from grace_geom.analysis.drawing import findings, shows_images
from grace_geom.analysis.report_parts import (
    as_sentence,
    marked_up,
    picture,
    table,
    together,
    untitled,
)
from grace_geom.analysis.report_plan import unfinished
from grace_geom.analysis.report_style import CSS
from grace_geom.analysis.standing import RankedCheckpoints
from grace_geom.analysis.standing_html import first_section
from grace_geom.plots import export
from grace_geom.plots.interactive import embedded, figure_of_page, narrow_of_page, plotly_once
from grace_geom.plots.sample import loss_name, sample_size, weights
from grace_geom.plots.sentences import ANSWERS
from grace_geom.quantities import ten_to
from grace_geom.records import Result
from grace_geom.records.numbers import in_symbols
from grace_geom.tables import Table

QUESTIONS = {
    "hessian_spectrum": "Is the loss flat, and where not?",
    "sharpness": "How far does the loss rise nearby?",
    "loss_landscape": "How does the loss look around the weights?",
    "parameter_drift": "Where did the weights move?",
    "representation_drift": "What changed in the representation, on which data?",
    "feature_stability": "Do features stay where they were?",
    "anisotropy": "Which directions carry curvature and features?",
    "robustness_curve": "How does accuracy fall with ε?",
    "image_gallery": "What does each checkpoint see?",
    "bound_terms": "What does the robust bound say, term by term?",
}
"""Headings of the sections; an analysis without one has its name."""
FIRST = {"feature_stability": "feature_stability-centroids"}
"""The figure that shows what the sentence says, where that is not the main one."""
MOST_ROWS = 12
"""Of a table that stands open: a longer one would part its section from the next."""


@dataclass(frozen=True)
class Section:
    """One analysis as the report shows it.

    Attributes:
        name: The analysis.
        purpose: What it measures, one line.
        command: What makes it again.
        text: The tables that it printed.
        figures: PNG file -> title.
        result: What it saved, or ``None`` where it failed.
        failure: Why it failed; the report says so in its place.
        tables: The same as the text, of analyses that give their tables.
        cached: Whether nothing of it was measured in this call.
    """

    name: str
    purpose: str
    command: str
    text: str
    figures: Mapping[Path, str] = field(default_factory=dict)
    result: Result | None = None
    failure: str = ""
    tables: Sequence[Table] = ()
    cached: bool = False

    @property
    def question(self) -> str:
        """What it answers."""
        return QUESTIONS.get(self.name, self.name.replace("_", " "))


class ReportPart(NamedTuple):
    """A section in HTML.

    Attributes:
        id: Of its place in the page.
        name: In the list of contents.
        body: The HTML.
    """

    id: str
    name: str
    body: str


def page(
    title: str,
    labels: Sequence[str],
    sections: Sequence[Section],
    interactive: bool = False,
    best: RankedCheckpoints | None = None,
) -> str:
    """The whole report; pictures or interactive figures lie in it, nothing is fetched.

    Args:
        title: Its heading.
        labels: Of the checkpoints.
        sections: In order.
        interactive: Whether figures can be zoomed into; else they are pictures.
        best: The evaluated checkpoints in order.
    """
    parts = [part_of(section, interactive) for section in sections]
    return assembled(title, labels, parts, interactive, best)


def part_of(section: Section, interactive: bool) -> ReportPart:
    """A section in HTML; figures make this slow, so each is made once."""
    return ReportPart(section.name, section.question, _section(section, interactive))


def assembled(
    title: str,
    labels: Sequence[str],
    parts: Sequence[ReportPart],
    interactive: bool = False,
    best: RankedCheckpoints | None = None,
    missing: Sequence[str] = (),
) -> str:
    """The whole report of sections that are in HTML already.

    Args:
        title: Its heading.
        labels: Of the checkpoints.
        parts: In order.
        interactive: Whether figures can be zoomed into.
        best: The evaluated checkpoints in order.
        missing: Analyses that have not ended; the page says so.
    """
    first = [] if best is None else [ReportPart(*first_section(best, interactive))]
    links = "".join(
        f'<li><a href="#{part.id}">{html.escape(part.name)}</a></li>' for part in [*first, *parts]
    )
    head, body = ("\n".join(part.body for part in some) for some in (first, parts))
    code = plotly_once() if 'class="plot' in head + body else ""
    told = f'<p class="failed">{unfinished(missing, len(parts))}</p>\n' if missing else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"{export.PHONE}<title>{html.escape(title)}</title><style>{CSS}</style></head>\n"
        f'<body>{code}<div class="sheet"><header><h1>{html.escape(title)}</h1>\n'
        f'<p class="note">{_counted(labels, named=best is not None and bool(best.by))}</p>\n'
        f"{told}{head}</header>\n"
        f'<nav aria-label="Contents"><strong>Contents</strong><ol>{links}</ol></nav>\n'
        f"<main>{body}\n</main></div></body></html>\n"
    )


def _counted(labels: Sequence[str], named: bool) -> str:
    """How many checkpoints there are, and which, but for many that the table names."""
    count = f"{len(labels)} checkpoint{'s' * (len(labels) > 1)}"
    names = (f'<span class="name">{html.escape(label)}</span>' for label in labels)
    return count if named and len(labels) > 6 else f"{count}: {', '.join(names)}"


def _section(section: Section, interactive: bool) -> str:
    """A question, the answer, its figure, its numbers, and how they were made."""
    head = f'<section id="{section.name}"><h2>{html.escape(section.question)}</h2>\n'
    if section.failure:
        why = html.escape(section.failure)
        command = f"<pre>{html.escape(section.command)}</pre>"
        return f'{head}<p class="failed">This analysis failed: {why}</p>\n{command}</section>'
    answer = _answer(section)
    figures = sorted(section.figures.items(), key=lambda f: f[0].stem != FIRST.get(section.name))
    drawn = [_figure(*one, interactive, folded=i > 0) for i, one in enumerate(figures)]
    first, *more = drawn or [""]
    names = "; ".join(name for _, name in figures[1:])
    hidden = "\n".join(more)
    if more:
        hidden = f"<details><summary>More figures: {html.escape(names)}</summary>{hidden}</details>"
    return f"{head}{answer}\n{first}\n{hidden}\n{_numbers(section)}\n{_how(section)}</section>"


def _answer(section: Section) -> str:
    """What was found, in a sentence; what was measured where there is none."""
    said, result = "", section.result
    if result is not None and section.name in ANSWERS:
        known = [f for f in findings(result) if not f.part.not_measured]
        said = ANSWERS[section.name](known, {f.run: f"**{f.run}**" for f in known})
    purpose = html.escape(section.purpose)
    return f'<p class="finding">{marked_up(said)}</p>' if said else f"<p>{purpose}</p>"


def _figure(file: Path, title: str, interactive: bool, folded: bool = False) -> str:
    """A figure with its title, and what lies beside the report."""
    drawn = _drawn(file, title, interactive, folded)
    links = f'<div class="links">{_beside(file)}</div>'
    return f"<figure><figcaption>{html.escape(title)}</figcaption>\n{drawn}{links}</figure>"


def _drawn(file: Path, title: str, interactive: bool, folded: bool = False) -> str:
    """A figure of a PNG: the picture, or what its interactive page draws."""
    alt = export.texts(file).get("Description", title)
    if not interactive or not file.with_suffix(".html").is_file():
        return picture(file, alt, folded)
    try:
        drawn = _of_page(file.with_suffix(".html"))
    except ValueError:  # the picture says the same, and that the page holds no figure
        return picture(file, alt, folded)
    if shows_images(file):
        drawn = drawn.replace('class="plot"', 'class="plot photo"', 1)
    said = html.escape(alt, quote=True)
    return f'<div role="img" aria-label="{said}" tabindex="0">{drawn}</div>'


def _of_page(path: Path) -> str:
    """The figure of an interactive page, without its title, which the caption has."""
    figure, narrow = figure_of_page(path), narrow_of_page(path)
    id = f"figure-{path.stem}"  # the section has the name of the analysis
    return embedded(untitled(figure), id, narrow=None if narrow is None else untitled(narrow))


def _beside(file: Path) -> str:
    """Links to the files of a figure, which lie beside the report."""
    files = [f for f in (file.with_suffix(".html"), file) if f.is_file()]
    words = {".html": "interactive page", ".png": "PNG"}
    named = [f'<a href="{html.escape(f.name)}">{words[f.suffix]}</a>' for f in files]
    return f"Open the figure: {', '.join(named)}"


def _numbers(section: Section) -> str:
    """The first table, and the others behind a line; with them the first, if it is long."""
    if not section.tables:
        return f'<pre tabindex="0">{html.escape(section.text)}</pre>' if section.text else ""
    start = int(len(section.tables[0].rows) <= MOST_ROWS)
    shown, hidden = (
        "\n".join(map(table, some)) for some in (section.tables[:start], section.tables[start:])
    )
    names = "; ".join(t.title for t in section.tables[start:] if t.title)
    head = "More tables" if start else "Tables"
    summary = html.escape(f"{head}: {names}" if names else head)
    return shown + (f"<details><summary>{summary}</summary>{hidden}</details>" if hidden else "")


def _how(section: Section) -> str:
    """Sample, estimators and command, behind a line."""
    made = f"<pre>{html.escape(section.command)}</pre>"
    said = f'<p class="note">{html.escape(section.purpose)}</p>'
    if section.result is not None:
        said += f'<p class="note">{html.escape(_sample(section.result))}</p>'
        said += _estimators(section.result)
    return (
        f"<details><summary>How it was measured, and the command</summary>{said}"
        f'<p class="note">Make it again:</p>{made}</details>'
    )


def _sample(result: Result) -> str:
    return together(as_sentence(caption_of(result)))


def caption_of(result: Result) -> str:
    """Sample, seed, precision, intervals, estimators, time and versions of a result, in one
    sentence.
    """
    s, levels = result.settings, {m.level for m in result.measures() if m.low is not None}
    known = [f"seed {s['seed']}"] if s.get("seed") is not None else []
    known += [str(s["dtype"])] if s.get("dtype") else []
    known += [weights(s["params"])] if s.get("params") else []
    known += [f"loss: {loss_name(s['loss'])}"] if s.get("loss") else []
    if s.get("n") is not None:
        used = {label: part.n for label, part in result.parts.items() if not part.not_measured}
        known.insert(0, sample_size(used, s["n"]))
    data = f"data {s['data']}" if s.get("data") else "data: each checkpoint's own"
    intervals = [
        f"{100 * level:.0f} % intervals" if level < 1 else "bounds by residuals"
        for level in sorted(levels)
    ]
    versions = f"grace_geom {result.versions.get('grace_geom')}"
    return ", ".join([data, *known, *intervals, f"{result.seconds:.0f} s", versions]) + "."


def _estimators(result: Result) -> str:
    measures = list(result.measures())
    texts = list(dict.fromkeys(m.estimator for m in measures if m.estimator))
    items = "".join(f"<li>{html.escape(in_symbols(text))}</li>" for text in _with_ranges(texts))
    return f'<div class="note">Estimators of its {len(measures)} numbers: <ul>{items}</ul></div>'


_LAST_NUMBER = re.compile(r"(?<== )([\d.e+-]+)(?=$|,)")


def _with_ranges(texts: Sequence[str]) -> list[str]:
    """Texts that differ in one number after an equals sign as one, with the range of that."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        found = _LAST_NUMBER.findall(text)
        alike.setdefault(_LAST_NUMBER.sub("\0", text) if len(found) == 1 else text, []).extend(
            found
        )
    return [
        text.replace("\0", _range(numbers)) if "\0" in text else text
        for text, numbers in alike.items()
    ]


def _range(numbers: Sequence[str]) -> str:
    ordered = sorted(set(numbers), key=float)
    ends = dict.fromkeys(_power(each) for each in (ordered[0], ordered[-1]))
    return " to ".join(ends)


def _power(number: str) -> str:
    """``4.2e-06`` as ``4.2·10⁻⁶``."""
    head, found, power = number.partition("e")
    return f"{head}·{ten_to(int(power))}" if found else head
