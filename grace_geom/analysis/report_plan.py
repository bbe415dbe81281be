"""What a report has to do: which of its analyses were made before, and how long the others take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grace_geom.analysis.current import answers, stored_result
from grace_geom.analysis.named import options_of
from grace_geom.errors import UserError
from grace_geom.files import sha256
from grace_geom.known_analyses import ANALYSES
from grace_geom.progress import duration


@dataclass
class ReportPlan:
    """The analyses of a report under way.

    Attributes:
        names: All of them, in their order.
        known: Those that were made before, as far as their files tell.
        seconds: What each took that was measured in this call.
        others: What became of each other one that has ended: ``made before`` or ``failed``.
    """

    names: Sequence[str]
    known: frozenset[str] = frozenset()
    seconds: dict[str, float] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Those that have not ended."""
        return [name for name in self.names if name not in {**self.seconds, **self.others}]

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes if its analyses take as long as those that were measured in
        this call, on average; ``None`` while there is none.
        """
        times = self.seconds.values()
        waiting = [name for name in self.missing if name not in self.known]
        return sum(times) / len(times) * len(waiting) if times else None

    def begun(self) -> str:
        """What is measured, and what is here: ``to measure: sharpness, anisotropy (2 of 3); made
        before: loss_landscape``.
        """
        new = [name for name in self.names if name not in self.known]
        old = [name for name in self.names if name in self.known]
        if not new:
            return f"every analysis was made before with these settings: {', '.join(old)}"
        text = f"to measure: {', '.join(new)} ({len(new)} of {len(self.names)})"
        if old:
            text += f"; made before with these settings: {', '.join(old)}"
        return text if len(new) == 1 else f"{text}; the time is known once the first has ended"

    def ended(self, name: str) -> str:
        """What one took, and what is left: ``[1/3] sharpness: 41 s; about 1:22 min left (2 more, if
        they take as long on average)``.
        """
        count = f"[{len(self.names) - len(self.missing)}/{len(self.names)}] "
        took = self.others.get(name) or duration(self.seconds[name])
        waiting = sum(other not in self.known for other in self.missing)
        if self.left is None or not waiting:
            return f"{count}{name}: {took}"
        return (
            f"{count}{name}: {took}; about {duration(self.left)} left ({waiting} more, if they take "
            "as long on average)"
        )

    def stopped(self, path: Path) -> str:
        """What there is of a report that was interrupted, and how it goes on."""
        done = len(self.names) - len(self.missing)
        there = f"{done} of {len(self.names)} analyses are in {path}" if done else "nothing is done"
        return f"{there}; missing: {', '.join(self.missing)}. The same command goes on with them"


def unfinished(missing: Sequence[str], done: int) -> str:
    """What a page says that lacks analyses as yet."""
    names = ", ".join(name.replace("_", " ") for name in missing)
    return (
        f"This report is not finished: it has {done} of {done + len(missing)} analyses. Missing: "
        f"{names}. The command that makes it goes on with them, and takes the others from its cache."
    )


def contents_now(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each checkpoint, by its label.

    Raises:
        UserError: For one that cannot be read.
    """
    found = {}
    for label, file in files.items():
        try:
            found[label] = sha256(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from None
    return found


def made_before(
    names: Sequence[str],
    files: Sequence[Path],
    flags: Sequence[str],
    out: Path,
    contents: Mapping[str, str],
) -> frozenset[str]:
    """The analyses whose result in a folder answers for all these checkpoints; whether their images
    are still the same, the analysis itself finds out.

    Args:
        names: Of the analyses.
        files: Checkpoints.
        flags: What each analysis is called with beside them.
        out: The folder.
        contents: SHA-256 of each checkpoint, by its label.
    """

    def known(name: str) -> bool:
        """Whether the result that lies there answers for every checkpoint."""
        stored = stored_result(out / f"{name}.json") if name in ANALYSES else None
        if stored is None:
            return False
        try:
            own = options_of(name, files, flags)
            return all(answers(stored, own, label, sha) for label, sha in contents.items())
        except UserError:  # the analysis says what is wrong
            return False

    return frozenset(name for name in names if known(name))
