"""The samples of a shard: neighbouring members of one name, a photograph and its label."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grace_geom.data.listing import is_picture
from grace_geom.data.pictures import EXTENSIONS
from grace_geom.data.tarball import Member, content, members
from grace_geom.data.text import MAX_TEXT, shown
from grace_geom.errors import UserError

LABEL_KEYS = ("cls", "label", "class_id", "target")


@dataclass(frozen=True)
class Sample:
    """A picture and its label in one shard."""

    image: Member
    label: int


def samples_of(path: Path) -> Iterator[Sample]:
    """Pictures with their labels: neighbouring members that share the name before the first dot are
    one sample.

    Raises:
        UserError: If a sample or one of its members is there twice, or it has no picture or no
            label.
    """
    from webdataset.tariterators import base_plus_ext

    group: dict[str, Member] = {}
    seen: set[str] = set()
    current: str | None = None
    for member in members(path):
        key, extension = base_plus_ext(member.name)
        if key is None:
            continue
        if key != current and group:
            yield _sample(path, current or "", group)
            group = {}
        if key != current and key in seen:
            raise UserError(
                f"{shown(path)}: the sample {shown(key)} is there twice, or its members are not "
                "side by side. Write the shard again in the order of names (tar --sort=name)."
            )
        current = key
        seen.add(key)
        if extension.lower() in group:
            raise UserError(f"{shown(path)}: member {shown(member.name)} is there twice")
        group[extension.lower()] = member
    if group:
        yield _sample(path, current or "", group)


def _sample(path: Path, key: str, group: dict[str, Member]) -> Sample:
    where = f"{shown(path)}: sample {shown(key)}"
    image = _picture(where, group)
    if "cls" not in group and "json" not in group:
        raise UserError(
            f"{where} has no label: it needs {shown(key)}.cls or {shown(key)}.json beside "
            f"{shown(image.name)}"
        )
    label = _cls_label(path, group["cls"]) if "cls" in group else None
    said = _json_label(path, group["json"], label is None) if "json" in group else None
    if label is not None and said is not None and label != said:
        raise UserError(f"{where} has two labels, {label} in its .cls and {said} in its .json")
    found = said if label is None else label
    assert found is not None  # one of the two readers has refused otherwise
    return Sample(image, found)


def _picture(where: str, group: dict[str, Member]) -> Member:
    """The photograph of a sample: the member whose name is the sample's and a picture's ending, not
    ``x.depth.png``.

    Raises:
        UserError: If there is none, or more than one.
    """
    plain = [ext for ext in group if f".{ext}" in EXTENSIONS]
    if len(plain) == 1:
        return group[plain[0]]
    held = ", ".join(map(shown, group))
    if plain:
        raise UserError(f"{where} has {len(plain)} pictures ({held}): which one is meant?")
    others = [ext for ext in group if is_picture(f"x.{ext}")]
    more = " or another single ending: dots in names end the sample's name" if others else ""
    raise UserError(
        f"{where} has no picture, only {held}" + (f"; name it jpg, png{more}" if others else "")
    )


def _cls_label(path: Path, member: Member) -> int:
    text = content(path, member, MAX_TEXT)
    try:
        return _whole(text.decode("utf-8-sig").strip())
    except ValueError as error:
        raise _no_label(path, member, error) from None


def _json_label(path: Path, member: Member, needed: bool) -> int | None:
    """The label in a ``.json``, which may be a number or an object with one of ``LABEL_KEYS``.

    Args:
        path: The shard.
        member: The file in it.
        needed: Refuse one without a label; else ``None``, as it may describe anything.
    """
    text = content(path, member, MAX_TEXT)
    try:
        record = json.loads(text)
        if not isinstance(record, dict):
            record = {LABEL_KEYS[0]: record}
        found = {key: _whole(record[key]) for key in LABEL_KEYS if key in record}
        if not found:
            raise ValueError(f"none of the keys {', '.join(LABEL_KEYS)}")
        if len(set(found.values())) > 1:
            raise ValueError(f"its keys disagree: {found}")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if not needed:
            return None
        raise _no_label(path, member, error) from None
    return next(iter(found.values()))


def _no_label(path: Path, member: Member, error: Exception) -> UserError:
    why = shown(str(error))[:200]
    return UserError(f"{shown(path)}, member {shown(member.name)}: no label in it ({why})")


def _whole(value: Any) -> int:
    """A whole number of 64 bits, from JSON or in ASCII digits; ``1_0`` and ``true`` are none."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool | str) or int(value) != value or abs(value) >= 2**63:
        raise ValueError(f"{repr(value)[:40]} is not a whole number")
    return int(value)
