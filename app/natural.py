"""The order in which people count: ``s2`` before ``s10``."""

import re


def key(text: str) -> tuple[tuple[int, int, str], ...]:
    """For ``sorted``: runs of digits by their value, everything else without regard to case."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), p) if p[0].isdecimal() else (1, 0, p.casefold()) for p in parts)
