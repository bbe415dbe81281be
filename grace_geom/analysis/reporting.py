"""What experiment trackers get of an analysis: numbers, and figures as they were written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from grace_geom.files import write_text
from grace_geom.plots.interactive import alone
from grace_geom.records import Result
from grace_geom.tracking import Trackers


def numbers(result: Result) -> dict[str, float]:
    """Every value of the parts as ``LABEL/NAME`` and its images as ``LABEL/n/SET``; values about
    all checkpoints by their name. ``NAME`` beside ``NAME/MORE`` is ``NAME/value``: some trackers
    keep names as files and folders.
    """
    every = {name: measure.value for name, measure in result.values.items()}
    for label, part in result.parts.items():
        every |= {f"{label}/{name}": measure.value for name, measure in part.values.items()}
        every |= {f"{label}/n/{name}": float(n) for name, n in part.n.items()}
    folders = {name[:i] for name in every for i, c in enumerate(name) if c == "/"}
    return {f"{name}/value" if name in folders else name: x for name, x in every.items()}


def report(
    result: Result,
    folder: Path,
    figures: Sequence[str],
    names: Sequence[str],
    say: Callable[[str], object],
) -> None:
    """Give a result to trackers. The same analysis in the same folder is the same tracker run.

    Args:
        result: As it was saved.
        folder: Where it and its figures lie.
        figures: Stems of the figures' files.
        names: Of the trackers.
        say: Shows a line to the user.
    """
    trackers = Trackers(names, folder, result.name, say=say)
    about = {"checkpoints": [str(record["path"]) for record in result.checkpoints]}
    trackers.start(dict(result.settings) | about, result.name)
    trackers.log(0, numbers(result))
    with TemporaryDirectory() as there:  # a page in a tracker has no file beside it
        for stem in figures:
            trackers.figure(stem, folder / f"{stem}.png")
            page = Path(there, f"{stem}.html")
            write_text(page, alone((folder / page.name).read_text(encoding="utf-8")))
            trackers.figure(stem, page)
        trackers.finish("finished")
