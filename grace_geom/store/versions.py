"""Names of what is put again because more is known of it: ``ft-s0``, then ``ft-s0@2``, ...

Nothing in a store is replaced, so the newest version is the one with the highest number.
"""

import re
from collections.abc import Sequence

from grace_geom.store.folders import PARTS


def versioned(base: str, version: int) -> str:
    """A run is put again where more was measured of it: ``ft-s0``, ``ft-s0@2``, ..."""
    return base if version == 1 else f"{base}@{version}"


def version_of(name: str) -> int:
    """1 for ``ft-s0``, 2 for ``ft-s0@2``."""
    found = re.fullmatch(r".*@([1-9][0-9]{0,8})", name)
    return int(found[1]) if found else 1


def base_of(name: str) -> str:
    """``ft-s0`` for both of them."""
    return name.rpartition("@")[0] if version_of(name) > 1 else name


def newest_versions(names: Sequence[str]) -> dict[str, int]:
    """The newest version of each whole folder, parts of runs left out."""
    found: dict[str, int] = {}
    for name in names:
        if not name.startswith(PARTS):
            base = base_of(name)
            found[base] = max(found.get(base, 0), version_of(name))
    return found
