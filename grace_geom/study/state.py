"""What a study remembers when it is started again: ``study.json``."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from grace_geom.files import write_text
from grace_geom.records import NewerRecordError, RecordError
from grace_geom.records.schema import checked, dumps, read_record
from grace_geom.study.estimate import Timing
from grace_geom.study.halving import Halving, Ladder, RateTrial
from grace_geom.study.sampler import RateRange
from grace_geom.study.search import RateSearch

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
    of: str = ""


Score = Annotated[float, Meta(ge=0, le=1)]


class _Trial(Struct):
    lr: Annotated[float, Meta(gt=0)]
    rung: Annotated[int, Meta(ge=0)]
    scores: list[Score]
    error: str


class _Search(Struct):
    low: Annotated[float, Meta(gt=0)]
    high: Annotated[float, Meta(gt=0)]
    seed: int
    rungs: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1)]
    places: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1)]
    trials: list[_Trial]


class _Known(Struct):
    """``study.json``."""

    probes: dict[str, _Probe]
    trials: dict[str, dict[Rate, Score | None]]
    search: dict[str, _Search] = {}


@dataclass
class StudyState:
    """What a study remembers when it is started again, in ``study.json``.

    Attributes:
        path: The file.
        probes: What each method costs here, by label.
        probed: What that depends on (:func:`grace_geom.study.estimate.conditions`), by label.
        trials: Held-out score of each learning rate that was tried, by label; ``None`` where the
            trial failed.
        searches: The search for each method's learning rate, by label.
    """

    path: Path
    probes: dict[str, Timing] = field(default_factory=dict)
    probed: dict[str, str] = field(default_factory=dict)
    trials: dict[str, dict[str, float | None]] = field(default_factory=dict)
    searches: dict[str, RateSearch] = field(default_factory=dict)

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
            searches = {label: _search(path, label, known.search[label]) for label in known.search}
        except NewerRecordError:
            raise
        except RecordError as error:
            say(str(error))
            return cls(path)
        probed = {label: timed.of for label, timed in known.probes.items()}
        probes = {
            label: Timing(timed.steps, timed.setup, timed.step, timed.forward, timed.image)
            for label, timed in known.probes.items()
        }
        return cls(path, probes, probed, known.trials, searches)

    def save(self) -> None:
        """Write the file, whole."""
        probes = {
            label: asdict(timed) | {"of": self.probed.get(label, "")}
            for label, timed in self.probes.items()
        }
        content: dict[str, Any] = {"format": FORMAT, "probes": probes, "trials": self.trials}
        if self.searches:
            content["search"] = {label: one.plain() for label, one in self.searches.items()}
        write_text(self.path, dumps(content))


def _search(path: Path, label: str, known: _Search) -> RateSearch:
    """A search as it was left.

    Raises:
        RecordError: If its parts contradict each other.
    """
    where = RateRange(known.low, known.high, known.places[0], known.seed)
    rungs = Ladder(tuple(known.rungs), tuple(known.places))
    sound = len(rungs.steps) == len(rungs.places) >= 1 and known.low <= known.high
    for trial in known.trials:
        sound &= len(trial.scores) <= trial.rung + 1 <= len(rungs.steps)
    if not sound or len(known.trials) > rungs.places[0]:
        raise RecordError(f"{path} is damaged: $.search[{label!r}] is no search; remove the file")
    trials = [RateTrial(**structs.asdict(trial)) for trial in known.trials]
    return RateSearch(where, Halving(rungs, trials))
