"""The command lines of the analyses.

Importing this module imports no torch: ``--help`` and refusals answer at once.
"""

from collections.abc import Callable, Sequence

from grace_geom import starts
from grace_geom.cli import quick
from grace_geom.known_analyses import ANALYSES, drawing
from grace_geom.refusals import check_checkpoints, check_leading
from grace_geom.terminal import door

__all__ = ["ANALYSES", "drawing", "script"]


def script(name: str) -> Callable[..., None]:
    """``main(argv)`` of ``python analyses/NAME.py``."""
    prog = f"python analyses/{name}.py"

    def main(argv: Sequence[str] | None = None) -> None:
        """Parse, measure, print, draw, save."""
        quick.answer(
            prog, argv, check=check_checkpoints, begin=starts.analysis(name), leading=check_leading
        )
        from grace_geom.analysis.named import analyse_named, options_class
        from grace_geom.cli import parse

        options = parse(
            options_class(name),
            argv,
            positionals=("checkpoints",),
            prog=prog,
            description=ANALYSES[name].text,
        )
        quick.begun(starts.analysis(name)(vars(options)))
        analyse_named(name, options)

    main.__name__, main.__doc__ = name, ANALYSES[name].purpose
    return door(main)
