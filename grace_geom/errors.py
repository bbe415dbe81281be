"""Errors for people: a user's mistake is one or two lines on stderr and exit code 2, never a
traceback.
"""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend.

    The message says what was wrong, in which file or flag, and what to do about it.
    """


class NotFiniteError(UserError, RuntimeError):
    """Numbers became NaN or infinite: a rate too high or a precision too low, which the user can
    mend.
    """


class PixelError(UserError, ValueError):
    """Images that are not pixels in [0, 1]: bytes, 0 to 255, normalised by mean and std, or NaN."""


class Interrupted(Exception):
    """The user stopped the run; the message says what was saved and how to go on."""


class StopReached(Interrupted):
    """A run stopped where it was told to beforehand: nobody wants the rest of the work stopped."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A sentence that offers the closest valid names, or all of them where none is close.

    Args:
        name: What the user typed.
        valid: What would have been accepted.
    """
    options = sorted(valid)
    if close := _closest(name, options):
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "valid: " + ", ".join(options)


def _closest(name: str, options: list[str]) -> list[str]:
    """At most three: those with most words of ``name`` first (``--steps``: ``--attack-steps``),
    then those whose letters are most like its own.
    """
    words = _words(name)
    shared = {option: len(words & _words(option)) for option in options}
    alike = {o: difflib.SequenceMatcher(a=o, b=name).ratio() for o in options}
    near = [o for o in options if shared[o] or alike[o] >= 0.5]
    return sorted(near, key=lambda o: (-shared[o], -alike[o], o))[:3]


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def first_line(error: BaseException) -> str:
    """What another package's exception says, short enough for a line of ours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # torch colours its advice
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (": ".join(lines[:2]) or type(error).__name__)[:200]


def check_known(flag: str, name: str, valid: Iterable[str]) -> None:
    """Refuse a name that is not among the valid ones.

    Args:
        flag: The option, with a colon where it takes several names: ``--model``, ``--methods:``.
        name: What the user typed.
        valid: What is accepted.

    Raises:
        UserError: With the nearest names.
    """
    names = list(valid)
    if name not in names:
        raise unknown(flag, name, names)


def unknown(flag: str, name: str, valid: Iterable[str]) -> UserError:
    """What :func:`check_known` raises."""
    return UserError(f"{flag} {name!r} is not known; {nearest(name, valid)}")


def exit_code(error: BaseException) -> int:
    """The exit code of a command that ends by this exception: 2 a user's mistake, 130 interrupted,
    1 a fault of ours.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, UserError):
        return 2
    return 130 if isinstance(error, (Interrupted, KeyboardInterrupt)) else 1
