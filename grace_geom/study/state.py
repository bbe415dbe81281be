"""What a study remembers when it is started again: ``study.json``."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, structs

from grace_geom.files import write_text
from grace_geom.records import NewerRecordError, RecordError
from grace_geom.records.schema import checked, dumps, read_record
from grace_geom.study.estimate import Timing

FORMAT = "grace_geom.study/1"
Say = Callable[[str], None]

Rate = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(e[-+]?[0-9]{1,3})?$")]
Seconds = Annotated[float, Meta(ge=0)]


class _Probe(Struct):
    steps: Annotated[int, Meta(ge=0)]
    setup: Seconds
    step: Seconds
    forward: Annotated[float, Meta(gt=0)]
    image: Seconds


class _Known(Struct):
    """``study.json``."""

    probes: dict[str, _Probe]
    trials: dict[str, dict[Rate, Annotated[float, Meta(ge=0, le=1)] | None]]


@dataclass
class StudyState:
    """What a study remembers when it is started again, in ``study.json``.

    Attributes:
        path: The file.
        probes: What each method costs here, by label.
        trials: Held-out score of each learning rate that was tried, by label; ``None`` where the
            trial failed.
    """

    path: Path
    probes: dict[str, Timing] = field(default_factory=dict)
    trials: dict[str, dict[str, float | None]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, say: Say = print) -> "StudyState":
        """What was known when it stopped; nothing where there is no such file, or it cannot be
        read, which is said: all of it can be measured again.

        Raises:
            UserError: If a newer version wrote it: going on would lose what that found.
        """
        if not path.exists():
            return cls(path)
        try:
            known = checked(read_record(path, FORMAT), _Known, path, "it is measured again")
        except NewerRecordError:
            raise
        except RecordError as error:
            say(str(error))
            return cls(path)
        probes = {label: Timing(**structs.asdict(timed)) for label, timed in known.probes.items()}
        return cls(path, probes, known.trials)

    def save(self) -> None:
        """Write the file, whole."""
        probes = {label: asdict(p) for label, p in self.probes.items()}
        write_text(self.path, dumps({"format": FORMAT, "probes": probes, "trials": self.trials}))
