"""The former name of ``python -m grace_geom.interpolate``; it goes on working."""

from collections.abc import Sequence

from grace_geom import interpolate
from grace_geom.terminal import say


def main(argv: Sequence[str] | None = None) -> None:
    """Say the new name on stderr, then do the same."""
    say("note: grace_geom.dial is now grace_geom.interpolate")
    interpolate.main(argv)


if __name__ == "__main__":
    main()
