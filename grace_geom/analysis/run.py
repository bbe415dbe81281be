"""One analysis from its options to its files: open, measure what is not known yet, join, draw,
save.
"""

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from grace_geom import terminal
from grace_geom.analysis.alike import marked
from grace_geom.analysis.drawing import Draw, save_figures
from grace_geom.analysis.features.cache import REVISION
from grace_geom.analysis.heard import tell
from grace_geom.analysis.numbers import with_refused
from grace_geom.analysis.options import Common
from grace_geom.analysis.reporting import report
from grace_geom.analysis.subject import (
    Subject,
    contents_of,
    label_of,
    labels_of,
    open_subject,
    read_once,
)
from grace_geom.attacks import check_eps
from grace_geom.checkpoint import checkpoint_file
from grace_geom.devices import deterministic, room_for, tf32
from grace_geom.distributed import PeerLost, first, of_first, processes, world
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluation.identity import key_of
from grace_geom.files import sha256
from grace_geom.known_analyses import ANALYSES
from grace_geom.plots.interactive import BESIDE
from grace_geom.plots.sample import sample_size
from grace_geom.plots.variants import of_folder
from grace_geom.progress import Progress
from grace_geom.provenance import provenance
from grace_geom.records import Measure, Part, RecordError, Result
from grace_geom.records.schema import read_json
from grace_geom.records.used_images import UsedImages, unlike
from grace_geom.tables import Table
from grace_geom.tracking import check_installed

O = TypeVar("O", bound=Common)  # noqa: E741
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Shown:
    """What people see of a result.

    Attributes:
        tables: Printed one after another.
        joint: Numbers about all checkpoints together.
    """

    tables: Sequence[Table]
    joint: Mapping[str, Measure] = field(default_factory=dict)


def analyse(
    name: str,
    options: O,
    measure: Callable[[Subject, O, Path], Part],
    show: Callable[[dict[str, Part], O], Shown],
    draw: Draw,
    failed: Mapping[str, str] = NONE,
) -> Path:
    """Measure every checkpoint, print the tables, write ``NAME.json``, ``.npz``, ``.png``,
    ``.html``. A checkpoint that cannot be measured beside others that can has a row of dashes and
    its reason.

    What was measured before on the same model and images with the same settings is not measured
    again, and each checkpoint is read and hashed once. Returns the JSON's path. Of several
    processes (torchrun) each has its share of the images; the first one looks for what is known,
    writes, draws and speaks.

    Args:
        name: Of the analysis.
        options: Its options.
        measure: One checkpoint to its part. The path is where it may keep the state of long work.
        show: All parts, by label, to tables.
        draw: What was found on each checkpoint to figures, ``NAME-KEY.png`` and ``.html`` each.
        failed: Why some checkpoints cannot be measured, by label, where that is known already.

    Raises:
        UserError: If no checkpoint can be measured.
        Interrupted: On Ctrl-C or SIGTERM, or when another process of the job is gone.
    """
    with processes(), terminable(), tf32(False), deterministic(options.deterministic):
        try:
            return _analyse(name, options, measure, show, draw, failed)
        except PeerLost as lost:
            raise Interrupted(
                f"{lost}; checkpoints that were done before are kept, the same command goes on "
                "with the others"
            ) from None


def _analyse(
    name: str,
    options: O,
    measure: Callable[[Subject, O, Path], Part],
    show: Callable[[dict[str, Part], O], Shown],
    draw: Draw,
    failed: Mapping[str, str],
) -> Path:
    began = time.perf_counter()
    if warning := check_eps(options.eps):
        say(f"warning: --eps: {warning}")
    check_installed(options.report_to)
    files = [checkpoint_file(path) for path in options.checkpoints]
    labels, out = labels_of(files), folder_of(options.out, files)
    ours = {x: file for x, file in zip(labels, files, strict=True) if x not in failed}
    found = _every(name, ours, options, measure, out)
    parts, records, refused = found.parts, found.records, {**failed, **found.refused}
    if not first():
        return out / f"{name}.json"
    shown = show(parts, options)
    apart = unlike(
        {r["label"]: {k: UsedImages(*v) for k, v in r["images"].items()} for r in records}
    )
    tables = [with_refused(marked(table, apart), refused) for table in shown.tables]
    unmeasured = {label: Part(not_measured=why) for label, why in refused.items()}
    seconds = sum(record.pop("seconds", 0.0) for record in records)
    for record in records:
        record.pop("deterministic", None)
    result = Result(
        name,
        tuple(records),
        options.settings(),
        {label: (parts | unmeasured)[label] for label in labels},
        shown.joint,
        seconds=round(seconds, 3),
        versions={k: str(v) for k, v in provenance(records[0].pop("device", "cpu")).items()},
    )
    if news := _replaced(out / f"{name}.json", result):
        say(news)
    path = result.save(out)
    tell(tables, len(parts) - found.known)
    width = shutil.get_terminal_size((100, 24)).columns
    terminal.show("\n\n".join(table.text(width, sys.stdout.isatty()) for table in tables))
    if found.known:
        terminal.show(
            f"\n{found.known} of {len(parts)} were measured before with these settings (--fresh measures "
            "again)"
        )
    drawn = save_figures(out, result, draw, apart, options.plotlyjs)
    report(result, out, drawn, options.report_to, say)
    figures = f"; {', '.join(drawn)} as .png and .html beside it" if drawn else ""
    nothing = "" if drawn else "; no figure, for no number can be drawn"
    seconds = time.perf_counter() - began
    text = f"\nwritten in {seconds:.1f} s: {path}{figures}{nothing}"
    code = [out / BESIDE] if drawn and options.plotlyjs == "beside" else []
    terminal.finish(path, beside=_beside(path, drawn) + code, text=text, **read_json(path))
    return path


def _beside(path: Path, drawn: Sequence[str]) -> list[Path]:
    """Arrays and figures of a result."""
    arrays = [path.with_suffix(".npz")] if read_json(path)["npz_sha256"] else []
    return arrays + [path.parent / f"{stem}.{kind}" for stem in drawn for kind in ("png", "html")]


@dataclass
class _Measured:
    """Parts and records of the checkpoints that were measured, by label; why others were not; how
    many were known before.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    known: int = 0


def _every(
    name: str,
    files: Mapping[str, Path],
    options: O,
    measure: Callable[[Subject, O, Path], Part],
    out: Path,
) -> _Measured:
    """Measure every checkpoint that can be measured.

    Raises:
        UserError: If none can, or one cannot in a job of several processes.
    """
    every = _Measured()
    with read_once(options.others()):
        for label, file in files.items():
            try:
                found = found_part(name, file, label, options, measure, out)
            except UserError as why:
                nothing_left = len(every.refused) == len(files) - 1
                if world().size > 1 or nothing_left:
                    raise
                every.refused[label] = str(why)
                terminal.failed(f"{label}: not measured: {why}")
                continue
            if found is None:
                continue
            (every.parts[label], record), was_known = found
            every.known += was_known
            every.records.append(record | {"label": label, "path": str(file)})
    return every


def sample_text(parts: Mapping[str, Part], options: Common) -> str:
    """How many images were used, in words."""
    return sample_size({label: part.n for label, part in parts.items()}, options.n)


def folder_of(out: Path | None, files: Sequence[Path]) -> Path:
    """``--out``, else ``analyses/`` beside a single checkpoint, else in the nearest folder that
    holds all.
    """
    if out is not None:
        return out
    if len(files) == 1:
        return files[0].parent / "analyses"
    parents = {
        file.resolve().parent.parent if file.name == "ckpt.pt" else file.resolve().parent
        for file in files
    }
    return Path(os.path.commonpath(parents)) / "analyses"


def read_part(path: Path) -> tuple[Part, dict[str, Any]] | None:
    """A part that was measured before; ``None`` where there is none, or (which is said) none that
    can be read.
    """
    if not path.is_file():
        return None
    try:
        stored = Result.load(path)
        record = stored.checkpoints[0]
        part = stored.parts[record["label"]]
    except (RecordError, LookupError) as error:
        say(f"{path} is damaged and is measured anew ({error})")
        return None
    return part, record | {"seconds": stored.seconds}


def say(text: str) -> None:
    """Tell the user how things go, in the first process: on stderr, so that tables can be piped."""
    if first():
        terminal.say(text)


def progress(total: int) -> Progress:
    """How far an analysis is, in the first process."""
    return Progress(total, quiet=not first())


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM as Ctrl-C, so that a job that is ended (scancel, torchrun after a process died) keeps
    its state.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    usual = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def found_part(
    name: str,
    file: Path,
    label: str,
    options: O,
    measure: Callable[[Subject, O, Path], Part],
    out: Path,
) -> tuple[tuple[Part, dict[str, Any]], bool] | None:
    """A checkpoint's part and whether it was known; ``None`` in a process that need not have it."""
    subject = open_subject(file, label, options)
    others = _others(options)
    cache = _cache(out, name, subject, options, others)
    samples = subject.samples()  # of all that was just read for the name of the cache
    # The first one alone looks, so that all go the same way; what it found is needed there only.
    found = None if options.fresh or not first() else read_part(cache)
    if found is not None and options.deterministic and not found[1].get("deterministic"):
        found = None  # measured in whatever order, which the flag promises not to be
    known = of_first(found is not None)
    if known and found is None:
        return None
    part, record = found or _measured(subject, options, measure, cache)
    record |= subject.identity()  # an older one lacks what is new there
    record["images"] = {k: (x.n, x.which) for k, x in samples.items() if k in part.n}
    record["base"] = str(subject.checkpoint.base.get("sha256", ""))
    if said := of_folder(
        subject.label.rpartition("/")[2], str(record.get("method", "")), subject.checkpoint.config
    ):
        record["options"] = dict(said.options)
    record["others"] = {other: str(content["file"]) for other, content in others.items()}
    return (part, record), known


def _measured(
    subject: Subject, options: O, measure: Callable[[Subject, O, Path], Part], cache: Path
) -> tuple[Part, dict[str, Any]]:
    say(
        f"{subject.label}: {subject.data}, up to {options.n} images a set, {options.params}, "
        f"{options.dtype} on "
        f"{subject.model.device}"
    )
    began = time.perf_counter()
    subject.used.clear()  # those that the identity was made of; now those that are measured
    instead = (
        "a smaller --batch (for curvature, --graph-gib or --basis-device cpu), or another --device"
    )
    with room_for("this analysis", instead):
        part = measure(subject, options, cache.with_suffix(".state"))
    seconds = time.perf_counter() - began
    part = replace(part, n={name: sample.n for name, sample in subject.samples().items()})
    record = subject.identity() | {"device": str(subject.model.device)}
    if options.deterministic:
        record["deterministic"] = True
    if first():
        parts = {subject.label: part}
        Result(cache.stem, (record,), options.settings(), parts, seconds=seconds).save(cache.parent)
        cache.with_suffix(".state").unlink(missing_ok=True)
    return part, record | {"seconds": seconds}


def _cache(
    out: Path, name: str, subject: Subject, options: Common, others: Mapping[str, Mapping[str, Any]]
) -> Path:
    """Where the part of a checkpoint is kept: a name of all that it depends on."""
    contents: dict[str, Any] = {
        "name": name,
        "revision": REVISION,
        "of": contents_of(subject),
        "with": list(others.values()),
        # What is kept names the others: by other names it is another result.
        "called": [subject.label, *others] if others else [],
        "settings": options.settings(),
    }
    if name in ANALYSES and (own := ANALYSES[name].revision):
        contents["own_revision"] = own
    return out / ".parts" / f"{name}-{key_of(contents)}.json"


def _others(options: Common) -> dict[str, dict[str, Any]]:
    """The contents of the other checkpoints that the analysis reads, by label."""
    files = [checkpoint_file(path) for path in options.others()]
    contents = [_contents_of_other(file, options) for file in files]
    return dict(zip(labels_of(files), contents, strict=True))


def _contents_of_other(file: Path, options: Common) -> dict[str, Any]:
    """The content of another checkpoint that the analysis reads; of one that cannot be opened, its
    bytes, for the part then says that it could not.
    """
    try:
        return contents_of(open_subject(file, label_of(file), options))
    except UserError:
        return {"file": sha256(file), "unreadable": True}


def _replaced(path: Path, result: Result) -> str:
    """What to say where another result lies at this place; nothing of it is lost but the view."""
    try:
        old = Result.load(path)
    except RecordError:
        return ""
    before, now = (
        r.settings | {"checkpoints": ", ".join(c.get("label", "") for c in r.checkpoints)}
        for r in (old, result)
    )
    changed = [
        f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]
    ]
    if not changed:
        return ""
    return f"replaces {path} ({'; '.join(changed)}): what was measured is kept, the earlier call brings it back at once"
