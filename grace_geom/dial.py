"""The former name of ``python -m grace_geom.interpolate``; it goes on working."""

import sys
from collections.abc import Sequence

from grace_geom import interpolate


def main(argv: Sequence[str] | None = None) -> None:
    """Say the new name on stderr, then do the same."""
    print("note: grace_geom.dial is now grace_geom.interpolate", file=sys.stderr)
    interpolate.main(argv)


if __name__ == "__main__":
    main()
