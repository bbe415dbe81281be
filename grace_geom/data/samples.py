"""The samples of a shard: neighbouring members of one name, a photograph, its label, its
captions.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grace_geom.data.captions import ALONE, Captions, caption_in, caption_key, captions_of
from grace_geom.data.listing import is_picture
from grace_geom.data.pictures import EXTENSIONS
from grace_geom.data.tarball import Member, Place, content, members
from grace_geom.data.text import MAX_TEXT, decode_text, shown
from grace_geom.errors import UserError

LABEL_KEYS = ("cls", "label", "class_id", "target")


@dataclass(frozen=True)
class Sample:
    """A picture, its label and its captions in one shard; no label where it has captions alone."""

    image: Member
    label: int | None
    captions: Captions = ()


def samples_of(path: Place, captions: bool = False) -> Iterator[Sample]:
    """Pictures with their labels: neighbouring members that share the name before the first dot are
    one sample.

    Args:
        path: The shard.
        captions: Also read the captions in ``.txt`` and ``.json``. A sample that has some may lack
            a label.

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
            yield _sample(path, current or "", group, captions)
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
        yield _sample(path, current or "", group, captions)


def _sample(path: Place, key: str, group: dict[str, Member], captions: bool) -> Sample:
    where = f"{shown(path)}: sample {shown(key)}"
    image = _picture(where, group)
    said = _captions(path, group) if captions else ()
    if "cls" not in group and "json" not in group and not said:
        raise UserError(
            f"{where} has no label: it needs {shown(key)}.cls or {shown(key)}.json beside "
            f"{shown(image.name)}" + (f"; {ALONE}" if "txt" in group else "")
        )
    return Sample(image, _label(path, where, group, needed=not said), said)


def _label(path: Place, where: str, group: dict[str, Member], *, needed: bool) -> int | None:
    """The label of a sample in ``.cls`` or ``.json``; ``None`` only where none is needed."""
    label = _cls_label(path, group["cls"]) if "cls" in group else None
    if "json" not in group:
        return label
    said = _json_label(path, group["json"], needed=needed, beside=label is not None)
    if label is not None and said is not None and label != said:
        raise UserError(f"{where} has two labels, {label} in its .cls and {said} in its .json")
    return said if label is None else label


def _captions(path: Place, group: dict[str, Member]) -> Captions:
    """The lines of ``.txt``; without one, what ``.json`` holds as caption."""
    if "txt" in group:
        member = group["txt"]
        where = f"{shown(path)}, member {shown(member.name)}"
        return captions_of(decode_text(content(path, member, MAX_TEXT), where), where)
    if "json" not in group:
        return ()
    member = group["json"]
    where = f"{shown(path)}, member {shown(member.name)}"
    try:
        record = json.loads(content(path, member, MAX_TEXT))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({shown(str(error))[:200]})") from None
    return caption_in(record, where) if isinstance(record, dict) else ()


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


def _cls_label(path: Place, member: Member) -> int:
    text = content(path, member, MAX_TEXT)
    try:
        return _whole(text.decode("utf-8-sig").strip())
    except ValueError as error:
        raise _no_label(path, member, error) from None


def _json_label(path: Place, member: Member, *, needed: bool, beside: bool) -> int | None:
    """The label in a ``.json``, which may be a number or an object with one of ``LABEL_KEYS``.

    Args:
        path: The shard.
        member: The file in it.
        needed: Refuse one without a label; else ``None``, as it may describe anything.
        beside: There is a ``.cls``, so that keys of this file may hold other things, such as the
            name of the class. Without one, what stands under ``LABEL_KEYS`` is the label or a
            mistake, whether it is needed or not.
    """
    text = content(path, member, MAX_TEXT)
    stated = False
    try:
        record = json.loads(text)
        named = record if isinstance(record, dict) else {LABEL_KEYS[0]: record}
        given = {key: named[key] for key in LABEL_KEYS if named.get(key) is not None}
        stated = named is record and bool(given)
        found = {key: _whole(value) for key, value in given.items()}
        if not found:
            told = f"; {ALONE}" if caption_key(list(named)) else ""
            raise ValueError(f"none of the keys {', '.join(LABEL_KEYS)}{told}")
        if len(set(found.values())) > 1:
            raise ValueError(f"its keys disagree: {found}")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if beside or not (needed or stated):
            return None
        raise _no_label(path, member, error) from None
    return next(iter(found.values()))


def _no_label(path: Place, member: Member, error: Exception) -> UserError:
    why = shown(str(error))[:300]
    return UserError(f"{shown(path)}, member {shown(member.name)}: no label in it ({why})")


def _whole(value: Any) -> int:
    """A whole number of 64 bits, from JSON or in ASCII digits; ``1_0`` and ``true`` are none."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool | str) or int(value) != value or abs(value) >= 2**63:
        raise ValueError(f"{repr(value)[:40]} is not a whole number")
    return int(value)
