"""The former name of ``python -m grace_geom.interpolate``; it goes on working."""

from collections.abc import Sequence
from inspect import unwrap

from grace_geom import interpolate
from grace_geom.terminal import door, say, voice


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Say the new name on stderr, then do the same."""
    voice().command = "interpolate"
    say("note: grace_geom.dial is now grace_geom.interpolate")
    unwrap(interpolate.main)(argv)  # within this door, so that there is one document


if __name__ == "__main__":
    main()
