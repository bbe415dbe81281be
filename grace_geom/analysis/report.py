"""Several analyses in one HTML file that needs nothing beside itself: tables, figures, captions,
commands.
"""

import base64
import contextlib
import html
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from grace_geom import terminal
from grace_geom.analysis.drawing import pictures, shows_images
from grace_geom.analysis.report_plan import ReportPlan, made_before, unfinished
from grace_geom.analysis.run import folder_of, say
from grace_geom.analysis.subject import labels_of
from grace_geom.checkpoint import checkpoint_file
from grace_geom.distributed import asked_for
from grace_geom.errors import Interrupted, UserError, check_known
from grace_geom.files import write_text
from grace_geom.plots import export
from grace_geom.plots.compose import TITLE
from grace_geom.plots.sample import LOSSES, sample_size, weights
from grace_geom.progress import Progress
from grace_geom.records import RecordError, Result

CSS = """
:root { color-scheme: light }
body { font: 16px/1.55 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 66rem }
body { margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2 } section { scroll-margin-top: 4rem }
h2 { font-size: 1.35rem; margin: 3rem 0 .25rem; border-top: 1px solid #ddd; padding-top: 1rem }
section:first-of-type h2 { border: 0; margin-top: 1rem }
nav { position: sticky; top: 0; z-index: 2; background: #fff; border-bottom: 1px solid #ddd }
nav { padding: .5rem 0; font-size: 14px; line-height: 1.6; overflow-x: auto; white-space: nowrap }
nav a { margin-right: 1rem } a { color: #1d4ed8 }
pre { font: 13px/1.45 ui-monospace, monospace; overflow-x: auto; background: #f7f7f7 }
pre { padding: .8rem; overflow-wrap: normal }
figure { margin: 1.2rem 0 } figure > div { overflow-x: auto } figcaption { font-weight: 600 }
figcaption a { font-weight: 400 } figcaption a, .note { font-size: 14px } .note { color: #555 }
img { max-width: 100%; height: auto } summary { cursor: pointer }
.failed { border-left: 4px solid #b00020; padding-left: .8rem }
@media print { nav { position: static } figure { break-inside: avoid } }
"""

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


@dataclass(frozen=True)
class ReportOptions:
    """What goes into the report. Every other option of an analysis keeps that analysis' default.

    Attributes:
        checkpoints: Checkpoints or run directories.
        analyses: Analyses in the report, in this order; default: all.
        data: ID data set; default: the one each checkpoint was trained on.
        ood: Out-of-distribution sets, as NAME=SPEC; default: those known for the data set.
        n: Number of images; default: that of each analysis.
        seed: Random seed for subsets, attacks and probe vectors.
        device: Device: cpu, cuda, cuda:1; auto: a GPU if there is one.
        deterministic: Same bits in every call on the same GPU, for some speed.
        data_root: Directory of the torchvision and ImageNet data sets.
        out: Directory of the results; default: analyses/ in the run directory; for several
            checkpoints, analyses/ in the folder that holds the runs.
        title: Heading of the report.
        interactive: Put the interactive figures into the file in the place of pictures, with plotly
            inside once: 2 MB more, and zoom and pointer without a network.
    """

    checkpoints: tuple[Path, ...] = field(metadata={"group": "report"})
    analyses: tuple[str, ...] = ()
    data: str | None = None
    ood: dict[str, str] = field(default_factory=dict)
    n: int | None = None
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False
    data_root: Path | None = None
    out: Path | None = None
    title: str = "The geometry of these checkpoints"
    interactive: bool = False

    def arguments(self, out: Path) -> list[str]:
        """The command line of one analysis."""
        argv = [
            *map(str, self.checkpoints),
            "--seed",
            str(self.seed),
            "--device",
            self.device,
            "--out",
            str(out),
        ]
        for flag, value in (
            ("--data", self.data),
            ("--n", self.n),
            ("--data-root", self.data_root),
        ):
            argv += [flag, str(value)] if value is not None else []
        argv += ["--deterministic"] * self.deterministic
        for name, spec in self.ood.items():
            argv += ["--ood", f"{name}={spec}"]
        return argv


Main = Callable[[Sequence[str]], object]
"""An analysis as a function of its command line."""


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
    """

    name: str
    purpose: str
    command: str
    text: str
    figures: Mapping[Path, str] = field(default_factory=dict)
    result: Result | None = None
    failure: str = ""


def report(options: ReportOptions, mains: Mapping[str, Main]) -> Path:
    """Run the chosen analyses and write ``report.html`` into their folder, anew after each of them:
    one that is not finished says what is missing.

    What an analysis measured before, on the same checkpoints with the same settings, it takes from
    its cache. One that fails is named in the report with its message, and the others go on.

    Args:
        options: What to run on.
        mains: Every analysis by name, as what takes its command line.

    Raises:
        UserError: For an analysis that is not here, or a checkpoint that is not there; for several
            processes.
        Interrupted: With what there is.
    """
    if asked_for() > 1:
        raise UserError(
            "report.py runs in one process: start each analysis with torchrun, then report.py "
            "without it; it takes what they measured with the same settings from their cache"
        )
    chosen = options.analyses or tuple(mains)
    for name in chosen:
        check_known("--analyses:", name, mains)
    files = [checkpoint_file(path) for path in options.checkpoints]
    out = folder_of(options.out, files)
    argv, path = options.arguments(out), out / "report.html"
    plan = ReportPlan(chosen, made_before(chosen, files, argv[len(files) :], out))
    say(plan.begun())
    sections: list[Section] = []
    bodies: list[str] = []
    watch = Progress(parts=len(chosen))
    for name in chosen:
        watch.part += 1
        watch.begin(name)
        if not watch.terminal:
            say(watch.line())
        try:
            sections.append(run_section(name, mains[name], argv, out))
        except KeyboardInterrupt:
            watch.clear()
            raise Interrupted(plan.stopped(path)) from None
        plan.seconds[name] = watch.seconds
        for why in failures(sections[-1]):
            terminal.failed(why)
        bodies.append(_section(sections[-1], options.interactive))
        write_text(path, _whole(options, labels_of(files), sections, bodies, plan.missing))
        say(plan.ended(name))
    watch.clear()
    done = sum(not section.failure for section in sections)
    size = path.stat().st_size / 1e6
    terminal.finish(
        path,
        text=f"{done} of {len(sections)} analyses are in {path} ({size:.1f} MB)",
        analyses={
            s.name: {"file": str(out / f"{s.name}.json"), "failure": s.failure} for s in sections
        },
    )
    return path


def run_section(name: str, main: Main, argv: list[str], out: Path) -> Section:
    """Run one analysis and gather what it printed and wrote."""
    printed, errors = io.StringIO(), io.StringIO()
    failure = ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            main(argv)
        except SystemExit as stop:
            if stop.code == 130:  # the user stopped the analysis, and means the report
                raise KeyboardInterrupt from None
            failure = _last_line(errors.getvalue()) if stop.code else ""
        except (
            Exception
        ) as error:  # one analysis at fault must not take the others' results with it
            failure = f"{type(error).__name__}: {error}"
    result, drawn = None, {}
    if not failure:
        try:
            result = Result.load(out / f"{name}.json")
            drawn = pictures(out, name)
        except RecordError as error:
            failure = str(error)
    command = shlex.join(["python", f"analyses/{name}.py", *argv])
    purpose = (main.__doc__ or "").strip().split("\n")[0]
    text = "\n".join(
        line for line in printed.getvalue().splitlines() if not line.startswith("written in ")
    )
    return Section(name, purpose, command, text.strip(), drawn, result, failure)


def failures(section: Section) -> list[str]:
    """A line on the analysis where it failed, else one on each checkpoint that it has not
    measured.
    """
    if section.failure:
        return [f"{section.name} failed: {section.failure}"]
    parts = section.result.parts if section.result else {}
    return [
        f"{section.name}: {label}: not measured: {part.not_measured}"
        for label, part in parts.items()
        if part.not_measured
    ]


def page(
    title: str, labels: Sequence[str], sections: Sequence[Section], interactive: bool = False
) -> str:
    """The whole report; pictures or interactive figures lie in it, nothing is fetched."""
    options = ReportOptions((), title=title, interactive=interactive)
    return _whole(options, labels, sections, [_section(s, interactive) for s in sections])


def _whole(
    options: ReportOptions,
    labels: Sequence[str],
    sections: Sequence[Section],
    bodies: Sequence[str],
    missing: Sequence[str] = (),
) -> str:
    """The page of these sections, which ``bodies`` has as HTML; it says which analyses are missing
    as yet.
    """
    title = html.escape(options.title)
    links = "\n".join(f'<a href="#{s.name}">{s.name.replace("_", " ")}</a>' for s in sections)
    code = export.plotly_once() if options.interactive and any(s.figures for s in sections) else ""
    body = code + "\n".join(bodies)
    told = f'<p class="failed">{unfinished(missing, len(sections))}</p>\n' if missing else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta '
        f'charset="utf-8">{export.PHONE}<title>{title}</title>'
        f"<style>{CSS}</style></head><body>\n<h1>{title}</h1>\n"
        "<p>Checkpoints: "
        f"{html.escape(', '.join(labels))}</p>\n{told}<nav>{links}</nav>\n{body}\n"
        "</body></html>\n"
    )


def _section(section: Section, interactive: bool) -> str:
    """A question, its figures, its numbers, and how they were made."""
    name = section.name.replace("_", " ")
    question = html.escape(QUESTIONS.get(section.name, name))
    head = f'<section id="{section.name}"><h2>{question}</h2>\n<p class="note">{name}: '
    head += f"{html.escape(section.purpose)}</p>\n"
    command = f"<pre>{html.escape(section.command)}</pre>"
    if section.failure:
        return (
            f'{head}<p class="failed">This analysis failed: '
            f"{html.escape(section.failure)}</p>\n{command}</section>"
        )
    pictures = "\n".join(
        f"<figure><figcaption>{html.escape(title)} ({_beside(file)})</figcaption>\n"
        f"{_drawn(file, title, interactive)}</figure>"
        for file, title in section.figures.items()
    )
    caption = html.escape(caption_of(section.result)) if section.result else ""
    again = f'<details class="note"><summary>Make it again</summary>{command}</details>'
    return (
        f'{head}{pictures}\n<pre tabindex="0">{html.escape(section.text)}</pre>\n'
        f'<p class="note">{caption}</p>\n{_estimators(section.result)}\n{again}</section>'
    )


def _drawn(file: Path, title: str, interactive: bool) -> str:
    """A figure of a PNG: the picture, or what its interactive page draws."""
    alt = html.escape(export.texts(file).get("Description", title), quote=True)
    page = file.with_suffix(".html")
    if not interactive or not page.is_file():
        return f'<img alt="{alt}" src="data:image/png;base64,{packed_picture(file)}">'
    try:
        figure = export.figure_of_page(page)
    except ValueError as error:  # everything else was measured: a picture says the same
        terminal.say(f"warning: {error}; the report has its picture")
        return _drawn(file, title, interactive=False)
    if figure.layout.title.text and figure.layout.margin.t:  # the caption has it
        figure.update_layout(
            title=None, margin_t=figure.layout.margin.t - TITLE, height=figure.layout.height - TITLE
        )
    id = f"figure-{file.stem}"  # the section has the name of the analysis
    drawn = export.embedded(figure, id)
    return f'<div role="img" aria-label="{alt}" tabindex="0">{drawn}</div>'


def caption_of(result: Result) -> str:
    """Sample, seed, precision, intervals, estimators, time and versions of a result, in one
    sentence.
    """
    s, levels = result.settings, {m.level for m in result.measures() if m.low is not None}
    known = [f"seed {s['seed']}"] if s.get("seed") is not None else []
    known += [str(s["dtype"])] if s.get("dtype") else []
    known += [weights(s["params"])] if s.get("params") else []
    known += [f"loss: {LOSSES.get(s['loss'], s['loss'])}"] if s.get("loss") else []
    if s.get("n") is not None:
        used = {label: part.n for label, part in result.parts.items() if not part.not_measured}
        known.insert(0, sample_size(used, s["n"]))
    data = f"data {s['data']}" if s.get("data") else "data: each checkpoint's own"
    intervals = [f"{100 * level:.0f} % intervals" for level in sorted(levels)]
    named = list(
        dict.fromkeys(m.estimator.partition(";")[0] for m in result.measures() if m.estimator)
    )
    more = f" and {len(named) - 3} more, listed below" if len(named) > 3 else ""
    estimators = [f"estimators: {'; '.join(named[:3])}{more}"] if named else []
    versions = f"grace_geom {result.versions.get('grace_geom')}"
    return (
        ", ".join([data, *known, *intervals, *estimators, f"{result.seconds:.0f} s", versions])
        + "."
    )


def _estimators(result: Result | None) -> str:
    if result is None:
        return ""
    measures = list(result.measures())
    texts = list(dict.fromkeys(m.estimator for m in measures if m.estimator))
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    summary = f"{len(measures)} numbers; their estimators"
    return f'<details class="note"><summary>{summary}</summary><ul>{items}</ul></details>'


def _beside(file: Path) -> str:
    """The name of a figure, and a link to its interactive page, which lies beside the report."""
    name, page = html.escape(file.stem), file.with_suffix(".html")
    return f'<a href="{html.escape(page.name)}">{name}</a>' if page.is_file() else name


def packed_picture(file: Path) -> str:
    """A PNG in base64. One of lines and words is cut to 256 colours, which it hardly exceeds: a
    third of its size. One that shows images keeps every pixel.
    """
    packed = io.BytesIO()
    with Image.open(file, formats=("PNG",)) as picture:
        colours = picture.convert("RGB")
    if not shows_images(file):
        colours = colours.quantize(256, dither=Image.Dither.NONE)
    colours.save(packed, "png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode("ascii")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it stopped without a message"
