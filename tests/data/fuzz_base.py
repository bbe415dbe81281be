"""What all malformed inputs are made of."""

import json
import random

import numpy as np

from tests.data.makers import CLASSES, encoded

N = 9


def level(label: int) -> int:
    return 40 + 60 * label


def picture(label: int, kind: str = "PNG", side: int = 6) -> bytes:
    return encoded(np.full((side, side, 3), level(label), dtype=np.uint8), kind)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A file cut, padded, overwritten, emptied, or with some bytes changed."""
    at = rng.randrange(max(1, len(content)))
    how = rng.randrange(7)
    if how == 0:
        return content[:at]
    if how == 1:
        return content + rng.randbytes(rng.randrange(1, 2000))
    if how == 2:
        size = rng.randrange(1, 64)
        return content[:at] + rng.randbytes(size) + content[at + size :]
    if how == 3:
        return b""
    if how == 4:
        return rng.randbytes(rng.randrange(1, 3000))
    if how == 5:
        return content[:at] + bytes(min(300, len(content) - at)) + content[at + 300 :]
    flipped = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def class_list(rng: random.Random) -> bytes:
    """A class list beside the data: mostly right, else in another encoding or of another type."""
    names: object = list(CLASSES)
    odd = [
        {"class_names": names}, names, names, names, [*names, "more"], names[:2], [], {}, None, 3,
        "abc", [1, 2, 3], ["a", "a", "a"], ["", "b", "c"], ["a\nb", "b", "c"], {"class_names": 1},
        {"class_names": {"a": "b"}}, [["a"], "b", "c"], [None] * 3, {"apple": "x"},
    ]  # fmt: skip
    text = json.dumps(rng.choice(odd), ensure_ascii=False)
    text = rng.choice([text] * 6 + ["[" * 100_000, text[:-2], '["a" "b"]', '["\\ud800", "b", "c"]'])
    encodings = ["utf-8"] * 8 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]
    return text.encode(rng.choice(encodings))
