"""A store that does not answer: what is asked again, how long, and what is not."""

import errno
import functools
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from grace_geom.errors import UserError
from grace_geom.terminal.voice import warn

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 12
FIRST, LONGEST = 1.0, 60.0
"""Seconds of the first pause, which doubles, and of the longest one: 12 tries take six minutes."""
LASTING = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError)
"""What the next answer would say again."""
NUMBERS = (errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR, errno.EDQUOT)


class AwayError(UserError):
    """A store did not answer; the same request may be answered a little later."""


class Counted(Protocol):
    """What is asked, and counts.

    Attributes:
        tries: How often, at most.
        missed: Answers that did not come.
    """

    tries: int
    missed: int


A = TypeVar("A", bound=Counted)


def may_pass(error: Exception) -> bool:
    """Whether a failure may be over a little later: a line that is cut, a server that is busy; not
    what the store refuses, a full disk, or a name or key that nobody gave.
    """
    if isinstance(error, LASTING) or "Credential" in type(error).__name__:
        return False
    return getattr(error, "errno", None) not in NUMBERS


def tries_in(seconds: float, most: int) -> int:
    """How many tries, ``most`` at most, have pauses between them that take no longer than that; one
    has none.
    """
    tries, pause, left = 1, FIRST, seconds
    while tries < most and pause <= left:
        tries, pause, left = tries + 1, min(2 * pause, LONGEST), left - pause
    return tries


def asked_again(method: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[A, P], T]:
    """The method, called up to ``tries`` times while it raises :class:`AwayError`, with a line and
    a pause before each; what it does twice must be as if it was done once.
    """

    @functools.wraps(method)
    def asked(store: A, *args: P.args, **kwargs: P.kwargs) -> T:
        """The method's answer, as soon as the store gives one."""
        missed = 0
        while True:
            try:
                return method(store, *args, **kwargs)
            except AwayError as error:
                missed, store.missed = missed + 1, store.missed + 1
                if store.tries == 1:
                    raise
                if missed == store.tries:
                    raise AwayError(f"{error} (asked {missed} times)") from error
                pause = min(FIRST * 2 ** (missed - 1), LONGEST)
                warn(f"{error}; asked again in {pause:g} s, {missed + 1} of {store.tries} times")
            time.sleep(pause)

    return asked
