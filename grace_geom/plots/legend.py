"""Who is drawn: the name and the look of every run of a page or a file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from grace_geom.plots.palette import (
    LIGHT,
    SHADES,
    Ground,
    Look,
    as_variant,
    is_reference,
    look,
    of_strangers,
    of_variants,
    order,
    turned,
)


@dataclass(frozen=True)
class Identity:
    """What a run is, as far as its look goes.

    Attributes:
        method: As on record; empty where nobody knows.
        label: What the run is called, without its seed: tells variants of a method apart.
        seed: Of the training; ``None`` for a mean over seeds.
    """

    method: str
    label: str = ""
    seed: int | None = None

    @classmethod
    def of_label(cls, label: str, seed: int | None = None) -> "Identity":
        """A row of a study: ``grace:gv=off`` is a variant of ``grace``."""
        return cls(label.partition(":")[0], label, seed)


@dataclass(frozen=True)
class Legend:
    """Names and looks by run.

    Attributes:
        names: What is written for each run.
        looks: How each is drawn.
        ground: Light or dark.
        said: What the names leave out; empty where they are whole.
        narrow: Whether figures are for a page as narrow as a telephone: panels stand below each
            other.
    """

    names: Mapping[str, str]
    looks: Mapping[str, Look] = field(default_factory=dict)
    ground: Ground = LIGHT
    said: str = ""
    narrow: bool = False

    @classmethod
    def of(
        cls,
        runs: Mapping[str, Identity],
        names: Mapping[str, str],
        ground: Ground = LIGHT,
        same: Mapping[str, str] | None = None,
    ) -> "Legend":
        """Every run has the look of its method and seed.

        Of several that would look alike (variants, copies in other folders) the one with the
        shortest label keeps it; the others are further shades of the same colour with other dashes,
        and variants have other markers too, whatever the order in which they are given. Variants of
        the only method that is shown have hues and markers of their own. Methods that nobody knows
        share no colour as long as there are any, so their looks depend on the others that are
        shown.

        Args:
            runs: Run -> what it is.
            names: What is written for each run.
            ground: Light or dark.
            same: Run -> another run whose look it has, such as the mean that it stands for.
        """
        looks: dict[str, Look] = {}
        strange = of_strangers({who.method or who.label for who in runs.values()})
        variants = _variants(runs)
        for run in sorted(runs, key=lambda run: _rank(run, runs[run])):
            if same and run in same:
                continue
            taken = set(looks.values())
            looks[run] = _free(runs[run], ground, taken, strange, variants[run])
        looks |= _hues(runs, ground)
        looks |= {run: looks[other] for run, other in (same or {}).items()}
        return cls(names, looks, ground)


def _variants(runs: Mapping[str, Identity]) -> dict[str, int]:
    """Which variant of its method each run is, by its label: 0 is the one with the shortest label,
    and any run whose method nobody knows.
    """
    labels: dict[str, set[str]] = {}
    for who in runs.values():
        labels.setdefault(who.method, set()).add(_plain(who.label))
    turns = {m: sorted(known, key=lambda one: (len(one), one)) for m, known in labels.items()}
    return {
        run: turns[who.method].index(_plain(who.label)) if who.method else 0
        for run, who in runs.items()
    }


def _hues(runs: Mapping[str, Identity], ground: Ground) -> dict[str, Look]:
    """Looks of the variants of a method where there is no other method; seeds are shades."""
    own = {run: who for run, who in runs.items() if not is_reference(who.method or who.label)}
    methods = {who.method for who in own.values()}
    labels = {_plain(who.label) for who in own.values()}
    if len(methods) != 1 or "" in methods or len(labels) < 2:
        return {}
    looks = of_variants(_plain(methods.pop()), labels, ground)
    found = dict[str, Look]()
    for run in sorted(own, key=lambda run: _rank(run, own[run])):
        one, first = looks[_plain(own[run].label)], own[run].seed or 0
        tried = [turned(one, first % SHADES + i, ground) for i in range(8 * SHADES)]
        taken = set(found.values())  # copies in other folders are further shades
        found[run] = next((look for look in tried if look not in taken), tried[0])
    return found


def _plain(label: str) -> str:
    """As folders are called."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", label)


def _rank(run: str, who: Identity) -> tuple[object, ...]:
    plain = _plain(who.label)
    return *order(who.method), who.seed or 0, len(plain), plain, run


def _free(
    who: Identity, ground: Ground, taken: set[Look], strange: Mapping[str, int], variant: int
) -> Look:
    method = who.method or who.label
    if is_reference(method):
        return look(method, ground)
    by = strange.get(method, 0)
    turns = [
        as_variant(look(method, ground, who.seed, variant + turn, by), variant)
        for turn in range(8 * SHADES)
    ]
    return next((one for one in turns if one not in taken), turns[0])


def without_seed(name: str) -> str:
    """``grace-s2`` -> ``grace``; the name itself where it says no seed."""
    return re.sub(r"-s\d+$", "", name)


def short_names(runs: Iterable[str]) -> dict[str, str]:
    """The last part of each id where that is enough to tell the runs apart, else the whole id."""
    short = {run: run.rsplit("/", 1)[-1] for run in runs}
    seen = list(short.values())
    return {run: name if seen.count(name) == 1 else run for run, name in short.items()}
