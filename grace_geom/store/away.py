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
        until: Or else until when, by the monotonic clock; ``None``: the number counts.
        missed: Answers that did not come.
    """

    tries: int
    until: float | None
    missed: int


A = TypeVar("A", bound=Counted)


def may_pass(error: Exception) -> bool:
    """Whether a failure may be over a little later: a line that is cut, a server that is busy; not
    what the store refuses, a full disk, or a name or key that nobody gave.
    """
    if isinstance(error, LASTING) or "Credential" in type(error).__name__:
        return False
    return getattr(error, "errno", None) not in NUMBERS


def asked_again(method: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[A, P], T]:
    """The method, called again while it raises :class:`AwayError`, with a line and a pause before
    each call: up to ``tries`` times, or for the last time at ``until``. What it does twice must be
    as if it was done once.
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
                pause = min(FIRST * 2 ** (missed - 1), LONGEST)
                how, over = f"{missed + 1} of {store.tries} times", missed == store.tries
                if store.until is not None:
                    left = store.until - time.monotonic()  # the requests took their time, too
                    how, over, pause = f"for {left:.0f} s more", left <= 0, min(pause, left)
                if over:
                    raise AwayError(f"{error} (asked {missed} times)") from error
                warn(f"{error}; asked again in {pause:.3g} s, {how}")
            time.sleep(pause)

    return asked
