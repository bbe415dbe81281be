"""Several analyses of several checkpoints, run one after another, and what they found in one HTML
file; the page itself is made by :mod:`.report_page`.
"""

import contextlib
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grace_geom import terminal
from grace_geom.analysis.drawing import pictures
from grace_geom.analysis.heard import heard
from grace_geom.analysis.report_page import ReportPart, Section, assembled, part_of
from grace_geom.analysis.report_plan import ReportPlan, contents_now, made_before
from grace_geom.analysis.run import folder_of, say
from grace_geom.analysis.standing import standing
from grace_geom.analysis.subject import labels_of
from grace_geom.checkpoint import checkpoint_file
from grace_geom.distributed import asked_for
from grace_geom.errors import Interrupted, UserError, check_known
from grace_geom.files import write_text
from grace_geom.progress import Progress
from grace_geom.records import RecordError, Result


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


def report(options: ReportOptions, mains: Mapping[str, Main]) -> Path:
    """Run the chosen analyses and write ``report.html`` into their folder, anew after each of them:
    one that is not finished says what is missing.

    What an analysis measured before, on the same checkpoints with the same settings, it takes from
    its cache. One that fails is named in the report with its message, and the others go on.

    Args:
        options: What to run on.
        mains: Every analysis by name, as what takes its command line.

    Raises:
        UserError: For an analysis that is not here, or a checkpoint that is not there or cannot be
            read; for several processes.
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
    labelled = dict(zip(labels_of(files), files, strict=True))
    out, contents = folder_of(options.out, files), contents_now(labelled)
    argv = options.arguments(out)
    known = made_before(chosen, files, argv[len(files) :], out, contents)
    pages = _Pages(options, labelled, contents, ReportPlan(chosen, known), out / "report.html")
    say(pages.plan.begun())
    watch = Progress(parts=len(chosen))
    for name in chosen:
        watch.part += 1
        watch.begin(name)
        if not watch.terminal:
            say(watch.line())
        try:
            section = run_section(name, mains[name], argv, out)
        except KeyboardInterrupt:
            watch.clear()
            raise Interrupted(pages.plan.stopped(pages.path)) from None
        pages.add(section, watch.seconds)
    watch.clear()
    pages.finish()
    return pages.path


@dataclass
class _Pages:
    """A report that grows by one section after another.

    Attributes:
        options: Its options.
        files: Label -> checkpoint file.
        contents: Label -> SHA-256 of the file when the report began.
        plan: What is done, and what is not.
        path: Where the page is.
    """

    options: ReportOptions
    files: Mapping[str, Path]
    contents: Mapping[str, str]
    plan: ReportPlan
    path: Path
    sections: list[Section] = field(default_factory=list)
    parts: list[ReportPart] = field(default_factory=list)

    def add(self, section: Section, seconds: float) -> None:
        """Write the page with one more section, and tell how long that took."""
        if section.failure or section.cached:
            self.plan.others[section.name] = "failed" if section.failure else "made before"
        else:
            self.plan.seconds[section.name] = seconds
        for why in failures(section):
            terminal.failed(why)
        self.sections.append(section)
        self.parts.append(part_of(section, self.options.interactive))
        best = standing(self.files, {**self.contents, **_contents(self.sections)})
        missing = self.plan.missing
        title, interactive = self.options.title, self.options.interactive
        told = assembled(title, list(self.files), self.parts, interactive, best, missing)
        write_text(self.path, told)
        say(self.plan.ended(section.name))

    def finish(self) -> None:
        """Tell where the page is, and what is in it."""
        done = sum(not section.failure for section in self.sections)
        size, out = self.path.stat().st_size / 1e6, self.path.parent
        terminal.finish(
            self.path,
            text=f"{done} of {len(self.sections)} analyses are in {self.path} ({size:.1f} MB)",
            analyses={
                s.name: {"file": str(out / f"{s.name}.json"), "failure": s.failure}
                for s in self.sections
            },
        )


def run_section(name: str, main: Main, argv: list[str], out: Path) -> Section:
    """Run one analysis and gather what it printed and wrote."""
    printed, errors = io.StringIO(), io.StringIO()
    failure = ""
    with heard() as told, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
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
    cached = not failure and told.measured == 0
    return Section(
        name, purpose, command, text.strip(), drawn, result, failure, told.tables, cached
    )


def _contents(sections: Sequence[Section]) -> dict[str, str]:
    """SHA-256 of each checkpoint that was measured, by its label."""
    records = [r for section in sections if section.result for r in section.result.checkpoints]
    return {str(r["label"]): str(r["sha256"]) for r in records if r.get("sha256")}


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


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it stopped without a message"
