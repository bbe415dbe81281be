"""Short names for variants of a method, whose labels hold every option: what differs between those
that are shown stands in the name, what they share is said once.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grace_geom.files import folder_name
from grace_geom.records import in_levels, titles

LONG = 22
"""Characters of a name that fits into a row, a table or beside a point; of longer ones :func:`cut`
leaves begin and end.
"""
MOST = 40
"""Characters of a name that no setting explains."""
AND = " · "
ON, OFF = ("on", "true"), ("off", "false")


@dataclass(frozen=True)
class Variant:
    """A run by what its label says.

    Attributes:
        method: As on record.
        options: Field and value, in the order of the label.
        seed: Of the training; ``None`` for a mean over seeds.
    """

    method: str
    options: tuple[tuple[str, str], ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Shortened:
    """Names to write, and what they leave out.

    Attributes:
        names: By run, no two alike.
        said: One sentence that belongs beside them; empty where nothing was shortened.
    """

    names: Mapping[str, str]
    said: str = ""


def of_label(label: str) -> Variant:
    """``grace:gv=off`` of a study."""
    method, *options = label.split(":")
    parts = [option.partition("=") for option in options]
    return Variant(method, tuple((key, value) for key, _, value in parts))


def of_folder(name: str, method: str, settings: Mapping[str, Any]) -> Variant | None:
    """``grace-gv-off-s0``, the folder of a run of a study, read with the run's settings.

    Args:
        name: Of the folder; ``-s0`` may be missing.
        method: As on record.
        settings: All of the run, of which the name holds some.

    Returns:
        ``None`` where the name says something else than the method and settings of the run.
    """
    bare, seed = re.fullmatch(r"(.*?)(?:-s(\d+))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
    rest, found = bare.removeprefix(folder_name(method)), []
    if not method or rest == bare:
        return None
    spelled = {
        f"-{folder_name(f'{key}={value}')}": (key, value)
        for key, known in settings.items() for value in _spellings(known)
    }  # fmt: skip
    while rest:
        ends = [s for s in spelled if rest == s or rest.startswith(f"{s}-")]
        if not ends:
            return None
        longest = max(ends, key=len)
        found.append(spelled[longest])
        rest = rest.removeprefix(longest)
    return Variant(method, tuple(found), int(seed) if seed else None)


def _spellings(value: Any) -> tuple[str, ...]:
    """How a setting may be written in a label."""
    if isinstance(value, bool):
        return ON if value else OFF
    if isinstance(value, float):
        return tuple(dict.fromkeys([str(value), f"{value:g}", in_levels(value) or str(value)]))
    return (str(value),) if isinstance(value, int | str) else ()


def shortened(variants: Mapping[str, Variant | None], names: Mapping[str, str]) -> Shortened:
    """Names of runs that are shown together.

    Variants of a method whose names are longer than :data:`LONG` are called by the options in which
    they differ: ``no task · lora · spread``. Options that always come with another of the name are
    left out of names that are still too long. The method and the seed are left out where all share
    them. Any other name longer than :data:`MOST` loses its middle.

    Args:
        variants: Run -> what its label says; ``None`` for a run that is called by its name.
        names: Run -> its whole name.
    """
    known = {run: v for run, v in variants.items() if v is not None}
    methods = list(dict.fromkeys(v.method for v in known.values()))
    groups = {m: {run: v for run, v in known.items() if v.method == m} for m in methods}
    groups = {
        m: group for m, group in groups.items()
        if any(v.options for v in group.values()) and max(len(names[run]) for run in group) > LONG
    }  # fmt: skip
    seeds = {v.seed for group in groups.values() for v in group.values() if v.seed is not None}
    many = len(seeds) > 1
    alone = len(methods) == 1 and len(known) == len(variants)
    short, said = fitted(names), []
    for method, group in groups.items():
        keys = {key: list[str]() for key in _apart(group)}
        if any(len(AND.join([method, *_words(v, [*keys], group)])) > LONG for v in group.values()):
            keys = _leading(group, [*keys])
        for run, v in group.items():
            words = ([] if alone else [method]) + _words(v, [*keys], group)
            words = words or [method]
            short[run] = AND.join(
                [*words, *([f"s{v.seed}"] if many and v.seed is not None else [])]
            )
        said.append(_sentence(method, group, keys, seeds))
    taken, whole = list(short.values()), fitted(names)
    return Shortened(
        {run: n if taken.count(n) == 1 else whole[run] for run, n in short.items()}, " ".join(said)
    )


def _apart(group: Mapping[str, Variant]) -> list[str]:
    """Options in which variants differ; all of them where there is one variant."""
    keys = list(dict.fromkeys(key for v in group.values() for key, _ in v.options))
    each = [dict(v.options) for v in group.values()]
    if len({v.options for v in group.values()}) == 1:
        return keys
    return [key for key in keys if len({own.get(key) for own in each}) > 1]


def _leading(group: Mapping[str, Variant], keys: Sequence[str]) -> dict[str, list[str]]:
    """These options but for those that say nothing more, which stand with the one that says it: of
    one value, in the same variants as one of one value before it.
    """
    kept: dict[tuple[object, ...], list[str]] = {}
    for key in keys:
        known = tuple(dict(v.options).get(key) is not None for v in group.values())
        values = {value for v in group.values() for k, value in v.options if k == key}
        kept.setdefault(known if len(values) == 1 else (key,), []).append(key)
    return {first: rest for first, *rest in kept.values()}


def _words(v: Variant, keys: Sequence[str], group: Mapping[str, Variant]) -> list[str]:
    """What a variant says of these options: ``no task``, ``lora``, ``lr 0.006``."""
    own = {key: value for key, value in v.options if key in keys}
    there = {(key, value) for other in group.values() for key, value in other.options}
    words = []
    for key, value in own.items():
        plain = key.replace("_", " ")
        if value in ON:
            implied = any(other.startswith(f"{key}_") for other in own)
            words += [] if implied else [plain]
        elif value in OFF:
            words.append(f"no {plain}")
        else:
            clear = re.fullmatch(r"[A-Za-z][\w-]*", value) and not any(
                value == w and k != key for k, w in there
            )
            words.append(value if clear else f"{plain} {value}")
    return words


def _sentence(
    method: str, group: Mapping[str, Variant], keys: Mapping[str, Sequence[str]], seeds: set[int]
) -> str:
    """What the names of a method stand for.

    Args:
        method: As on record.
        group: Its variants.
        keys: Options that the names hold -> those that come with it.
        seeds: Of the variants.
    """
    values = {
        key: list(dict.fromkeys(x for v in group.values() for k, x in v.options if k == key))
        for key in dict.fromkeys(key for v in group.values() for key, _ in v.options)
    }
    each = {k: f"{titles.setting(k)} = {', '.join(sorted(known))}" for k, known in values.items()}
    told = "; ".join(
        each[key] + (f" (and with it {', '.join(each[k] for k in rest)})" if rest else "")
        for key, rest in keys.items()
    )
    said = {*keys, *(k for rest in keys.values() for k in rest)}
    same = [each[key] for key in values if key not in said]
    same += [f"seed {s}" for s in seeds if len(seeds) == 1 and s is not None]
    rest = f"; the same for all: {', '.join(same)}" if same else ""
    return f"Names give options of {in_quotes(method)}: {told}{rest}."


def fitted(names: Mapping[str, str], most: int = MOST) -> dict[str, str]:
    """Names of at most ``most`` characters or a few more, no two alike: long ones lose their middle
    (:func:`cut`); where that leaves two alike, it is what these share that is lost.
    """
    found = {run: cut(name, most) for run, name in names.items()}
    seen = list(found.values())
    alike = {run: n for run, n in names.items() if len(n) > most and seen.count(found[run]) > 1}
    before = _shared(list(alike.values())) if len(alike) > 1 else ""
    after = _shared([n[len(before) :][::-1] for n in alike.values()])[::-1] if before else ""
    taken = {name for run, name in found.items() if run not in alike}
    for run, name in alike.items():
        core = name[len(before) : len(name) - len(after)]
        end = f"…{core}{'…' if after else ''}"
        begin = before[: max(most - len(end), 0)].rstrip(_ENDS)
        short = cut(f"{begin}{end}" if before else name, most)
        found[run] = short if short not in taken else _numbered(short, taken)
        taken.add(found[run])
    return found


def cut(name: str, most: int = LONG) -> str:
    """A name as rows, tables and points have it: of one longer than ``most`` the begin and the end,
    where the seed stands, to the end of a word where one is near.
    """
    if len(name) <= most:
        return name
    head, tail = name[: most // 2], name[most // 2 + 1 - most :]
    if name[len(head)] not in _ENDS and (at := max(map(head.rfind, _ENDS))) >= len(head) - _NEAR:
        head = head[:at]
    if name[-len(tail) - 1] not in _ENDS:
        ends = [at for end in _ENDS if 0 <= (at := tail.find(end)) < _NEAR]
        tail = tail[min(ends) :] if ends else tail
    return f"{head.rstrip(_ENDS)}…{tail.lstrip(_ENDS)}"


_ENDS, _NEAR = " ·-_/:", 5
"""What stands between words, and how many letters of a word are given up for a whole one."""


def in_quotes(name: str) -> str:
    """A name in a title, where nothing can be set apart by its weight: ``Gain of “at”``."""
    return f"\u201c{name}\u201d"


def too_long(names: Iterable[str]) -> bool:
    """Whether names cannot stand beside points and rows; numbers or a legend do."""
    return any(len(name) > LONG for name in names)


def _numbered(name: str, taken: set[str]) -> str:
    return next(n for i in itertools.count(2) if (n := f"{name} ({i})") not in taken)


def _shared(names: Sequence[str]) -> str:
    """What all begin with, to the end of a word."""
    first, last = min(names), max(names)  # what these two share, all between them do
    same = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    return first[: max(first[:same].rfind(c) for c in "-_/: ") + 1]
