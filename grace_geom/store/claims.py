"""Who works on what: a claim that its owner renews, and that another takes over once it has
expired.

**The argument.** The claims of a name are numbered, and each is an object that is made only where
there is none (:meth:`~grace_geom.store.objects.ObjectStore.create`); none is ever removed. So of
all that want number *n* one gets it, whether they are new, or take over number *n - 1*.

Time is told by nobody's calendar. The owner writes a count, its *beat*, a few times a lease. Who
wants the name looks at the beat, and calls the claim expired when its own monotonic clock has run
for a whole lease during which the beat was the same. The owner counts from before it sent the last
beat that was written, and takes its claim for lost once its own clock has run for a lease since:
that is earlier than anybody who saw that beat is done with waiting. Clocks that show different
hours do no harm, and neither do those that run differently, up to a twentieth (:data:`MARGIN`).

A beat may be on its way when somebody takes over. The owner therefore writes its beat, then looks
whether the next number is there; who takes over makes the next number, then looks at the beat once
more, and gives the number back if it has changed. Whichever comes first, at least one sees the
other, and knows that its claim is lost. A number that was given back is watched for a lease, too:
until then the owner before it has met it.

The work under a lost claim goes on to its end: whose it is, is settled when it is put. A process
that is stopped for longer than a lease finds out the same way. A folder is put once
(:meth:`~grace_geom.store.Store.put_folder`), by whoever is first.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from grace_geom.errors import UserError
from grace_geom.store.objects import ObjectStore

FORMAT = "grace_geom.claim/1"
BEATS = 4  # in a lease
MARGIN = 1.05  # of a lease, before a claim is called expired
DONE, FAILED, STOPPED, WITHDRAWN = "done", "failed", "stopped", "withdrawn"


class ClaimRecord(msgspec.Struct, frozen=True):
    """``claims/NAME/NUMBER.json``: made once.

    Attributes:
        format: Of the file.
        owner: Who works on it.
        host: Their machine.
        process: Their process there.
        since: When, by their clock (UTC, ISO 8601); for people.
        seconds: Length of a lease.
        nonce: Nobody else writes this.
    """

    format: str
    owner: str
    host: str
    process: int
    since: str
    seconds: float
    nonce: str


class Beat(msgspec.Struct, frozen=True):
    """``claims/NAME/NUMBER.beat``: written again and again by the owner.

    Attributes:
        count: One more each time.
        note: What the owner tells of its work.
    """

    count: int = 0
    note: dict[str, Any] = {}


class End(msgspec.Struct, frozen=True):
    """``claims/NAME/NUMBER.end``: made once.

    Attributes:
        how: ``done``, ``failed``, ``stopped``, or ``withdrawn`` by one who took over from an owner
            that turned out to be alive.
        why: What went wrong.
    """

    how: str
    why: str = ""


class SeenClaim(NamedTuple):
    """A claim as it was at a look: the number, the beat, and whether it had ended."""

    number: int
    beat: int = 0
    ended: bool = True


NOBODY = SeenClaim(0)


@dataclass(frozen=True)
class ClaimState:
    """The newest claim of a name.

    Attributes:
        name: What is claimed.
        number: Of the claim, from 1.
        record: Who, and since when.
        beat: Newest sign of life.
        end: How it ended; ``None`` while it has not.
        changed: When the beat was written, by the store's clock; for people.
    """

    name: str
    number: int
    record: ClaimRecord
    beat: Beat = field(default_factory=Beat)
    end: End | None = None
    changed: float = 0.0

    @property
    def seen(self) -> SeenClaim:
        """What tells whether it lives."""
        return SeenClaim(self.number, self.beat.count, self.end is not None)


@dataclass
class Patience:
    """Which claims have expired, by this process's own monotonic clock.

    Attributes:
        clock: Seconds that never go back.
    """

    clock: Callable[[], float] = time.monotonic
    _since: dict[str, tuple[SeenClaim, float]] = field(default_factory=dict)

    def over(self, state: ClaimState) -> bool:
        """Whether a claim that was just read has ended, or has shown no beat for a whole lease of
        looking at it. The first look at a beat only starts the clock.
        """
        now, known = self.clock(), self._since.get(state.name)
        if state.end is not None and state.end.how != WITHDRAWN:
            return True
        if known is None or known[0] != state.seen:
            self._since[state.name] = (state.seen, now)
            return False
        return now - known[1] > MARGIN * state.record.seconds


class Claim:
    """A claim that is renewed by a thread until it is released or lost.

    Args:
        objects: Of the store; beats ask it once, as they come again by themselves.
        name: What is claimed.
        number: Of the claim.
        seconds: Length of a lease.
        note: Asked at each beat what to tell of the work.
        sent: When the claim was sent, on the monotonic clock.
    """

    def __init__(
        self,
        objects: ObjectStore,
        name: str,
        number: int,
        seconds: float,
        note: Callable[[], Mapping[str, Any]] = dict,
        sent: float | None = None,
    ) -> None:
        self.objects, self.name, self.number = objects, name, number
        self._brief = objects.at_most(1)
        self.seconds, self.note = seconds, note
        self.problem = ""
        self._beat, self._lost = 0, False
        self._renewed = time.monotonic() if sent is None else sent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name=f"claim {name}")
        self._thread.start()

    @property
    def held(self) -> bool:
        """Whether it is still the owner's, as far as its own clock and last look tell."""
        return not self._lost and time.monotonic() - self._renewed < self.seconds

    def release(self, how: str = DONE, why: str = "") -> None:
        """End it, so that nobody needs to wait for it to expire; nothing for one that is lost.

        A store that does not answer is asked again until the claim has expired by itself, and then
        for the last time; once only where the store is asked once.

        Raises:
            UserError: If it does not answer.
        """
        self._stop.set()
        self._thread.join()
        if not self._lost:
            objects = self.objects.at_most(self.objects.tries, self._renewed + self.seconds)
            objects.create(place(self.name, self.number, "end"), encode(End(how, why)))

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / BEATS):
            if not self.held:
                self._lost = True
                return
            try:
                self._send()
            except UserError as error:  # the store is away: the lease runs on, and may run out
                self.problem = str(error)

    def _told(self) -> dict[str, Any]:
        try:
            return dict(self.note())
        except OSError:  # its folder is being replaced by a newer state; the next beat tells
            return {}

    def _send(self) -> None:
        sent = time.monotonic()
        beat = Beat(self._beat + 1, self._told())
        self._brief.write(place(self.name, self.number, "beat"), encode(beat))
        self._beat = beat.count
        if exists(self._brief, place(self.name, self.number + 1)):
            self._lost = True
        else:
            self._renewed = sent


def claim(
    objects: ObjectStore,
    name: str,
    owner: str,
    seconds: float,
    after: SeenClaim,
    note: Callable[[], Mapping[str, Any]] = dict,
) -> Claim | None:
    """The claim that follows ``after``, which nobody made yet, or that has ended or expired.

    Returns:
        ``None`` if another has it, or the one before turned out to be alive.
    """
    number, sent = after.number + 1, time.monotonic()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = ClaimRecord(
        FORMAT, owner, socket.gethostname(), os.getpid(), now, seconds, uuid4().hex
    )
    if not objects.create(place(name, number), encode(record)):
        return None
    if not after.ended and beat_of(objects, name, after.number).count != after.beat:
        objects.create(
            place(name, number, "end"), encode(End(WITHDRAWN, "the one before is alive"))
        )
        return None
    return Claim(objects, name, number, seconds, note, sent)


def beat_of(objects: ObjectStore, name: str, number: int) -> Beat:
    """The newest beat; of count 0 where none was written yet."""
    try:
        found: Beat = decode(objects, place(name, number, "beat"), Beat)
        return found
    except FileNotFoundError:
        return Beat()


def states(objects: ObjectStore, below: str, known: dict[str, Any]) -> dict[str, ClaimState]:
    """The newest claim of each name below a path, by name.

    Args:
        objects: Of the store.
        below: A name, or the start of several that ends in ``/``; empty for all.
        known: Claims and ends that were read before: they never change.
    """
    newest: dict[str, int] = {}
    listed = {o.path: o for o in objects.listing(f"claims/{below}".rstrip("/"))}
    for path in listed:
        name, _, last = path.removeprefix("claims/").rpartition("/")
        if last.endswith(".json") and last[:-5].isdecimal():
            newest[name] = max(newest.get(name, 0), int(last[:-5]))
    found = {}
    for name, number in newest.items():
        head, end = place(name, number), place(name, number, "end")
        record = _once(objects, head, ClaimRecord, known)
        ended = _once(objects, end, End, known) if end in listed else None
        told = listed.get(place(name, number, "beat"), listed[head])
        beat = Beat() if ended else beat_of(objects, name, number)
        # read after the listing: what ended since is seen to have ended at the next look
        found[name] = ClaimState(name, number, record, beat, ended, told.changed)
    return found


def _once(objects: ObjectStore, path: str, kind: type[Any], known: dict[str, Any]) -> Any:
    if path not in known:
        known[path] = decode(objects, path, kind)
    return known[path]


def exists(objects: ObjectStore, path: str) -> bool:
    """Whether there is such an object."""
    try:
        objects.read(path)
    except FileNotFoundError:
        return False
    return True


def place(name: str, number: int, kind: str = "json") -> str:
    """Where a claim, its beat or its end lies."""
    return f"claims/{name}/{number:06d}.{kind}"


def encode(record: msgspec.Struct) -> bytes:
    """A record as JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


def decode(objects: ObjectStore, path: str, kind: type[Any]) -> Any:
    """A record of the store.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is no such record.
    """
    try:
        return msgspec.json.decode(objects.read(path), type=kind)
    except msgspec.MsgspecError as error:
        raise UserError(
            f"{objects.url}: {path} is damaged, or of another version: {error}. Remove it if nobody "
            "is at work there"
        ) from None
