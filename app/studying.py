"""A study in a store while it is made: what runs where, what failed and why, the time and the cost
that are left.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.mirror import Mirror
from app.progress import duration
from app.shell import text
from grace_geom.records.costs import device_hours
from grace_geom.store import FAILED, ClaimState, base_of, version_of

PATIENCE = 2.0
"""Leases without a sign of life before a run counts as abandoned."""
ORDER = ("failed", "abandoned", "running", "stopped", "waiting", "finished")
REFRESH = 10.0


@dataclass(frozen=True)
class Standing:
    """Where a run of a shared study stands.

    Attributes:
        run: Its name.
        state: One of :data:`ORDER`.
        host: The machine that has or had it.
        owner: Who started it there.
        since: When, by that machine's clock.
        step: Newest step told.
        total: Of how many; 0 where it is not known.
        left: Seconds to its end, as far as can be told.
        why: What went wrong.
    """

    run: str
    state: str
    host: str = ""
    owner: str = ""
    since: str = ""
    step: int = 0
    total: int = 0
    left: float | None = None
    why: str = ""


def standings(mirror: Mirror, now: float) -> list[Standing]:
    """Every run that is planned, claimed or whole; what needs people first.

    Args:
        mirror: Of the store.
        now: Seconds since the epoch.
    """
    newest: dict[str, tuple[int, ClaimState]] = {}
    for name, state in mirror.claims.items():
        base, version = base_of(name), version_of(name)
        if base not in newest or version > newest[base][0]:
            newest[base] = version, state
    runs = {*mirror.plan.seconds, *newest, *mirror.whole} - {"tables"}
    found = [_standing(run, newest[run][1] if run in newest else None, mirror, now) for run in runs]
    return sorted(found, key=lambda s: (ORDER.index(s.state), s.run))


def _standing(run: str, state: ClaimState | None, mirror: Mirror, now: float) -> Standing:
    planned = mirror.plan.seconds.get(run)
    if state is None:
        return Standing(run, "finished" if run in mirror.whole else "waiting", left=planned)
    since = state.record.since[:16].replace("T", " ")
    who = state.record.host, state.record.owner, since
    if state.end is not None:
        if state.end.how == FAILED:
            return Standing(run, "failed", *who, why=state.end.why)
        ended = "finished" if run in mirror.whole else "stopped"
        return Standing(run, ended, *who, left=planned)
    step, total = _whole(state.beat.note.get("step")), _whole(state.beat.note.get("total"))
    seconds = state.beat.note.get("seconds")
    left = planned
    if step and total and isinstance(seconds, (int, float)):
        left = max(0, total - step) * float(seconds) / step
    silent = now - state.changed if state.changed else 0.0
    lives = silent < PATIENCE * state.record.seconds
    why = "" if lives else f"no sign of life for {duration(silent)}: another scheduler may have it"
    return Standing(run, "running" if lives else "abandoned", *who, step, total, left, why)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and 0 <= value < 1e12 else 0


def remaining(found: Sequence[Standing]) -> float | None:
    """Seconds to the end of the study with as many machines as run now; ``None`` where nothing
    runs, or nobody knows what is left.
    """
    running, rest = sum(s.state == "running" for s in found), work(found)
    return None if not running or rest is None else rest / running


def work(found: Sequence[Standing]) -> float | None:
    """Seconds that all runs need which are not over, one after another; ``None`` where nobody knows
    what is left of one.
    """
    rest = [s.left for s in found if s.state in ("running", "waiting", "stopped", "abandoned")]
    known = [seconds for seconds in rest if seconds is not None]
    return sum(known) if len(known) == len(rest) else None


def sentence(found: Sequence[Standing], devices: float = 1.0) -> str:
    """How many runs stand where, and the time and the cost left, in Markdown.

    Args:
        found: The runs.
        devices: What each of them holds.
    """
    counts = [f"{n} {state}" for state in reversed(ORDER) if (n := _count(found, state))]
    left, rest = remaining(found), work(found)
    ends = [duration(left)] if left is not None else []
    ends += [device_hours(rest * devices)] if rest else []
    return f"Of {len(found)} runs: {', '.join(counts)}{_about(ends)}."


def _about(ends: Sequence[str]) -> str:
    return f"; about {' and '.join(ends)} left" if ends else ""


def _count(found: Sequence[Standing], state: str) -> int:
    return sum(s.state == state for s in found)


def draw(mirror: Mirror) -> None:
    """The study, again every few seconds while something runs."""
    mirror.look()
    live = any(s.state == "running" for s in standings(mirror, time.time()))
    st.fragment(_draw, run_every=REFRESH if live else None)(mirror)


def _draw(mirror: Mirror) -> None:
    mirror.look()
    found = standings(mirror, time.time())
    if not found:
        return
    st.header("The study", anchor=False)
    st.markdown(sentence(found, mirror.plan.devices))
    frame = pd.DataFrame(
        {
            "run": s.run, "state": s.state, "machine": s.host, "started by": s.owner,
            "since (its clock, UTC)": s.since,
            "step": f"{s.step} of {s.total}" if s.total and s.state == "running" else "",
            "ends in": duration(s.left) if s.state == "running" else "",
            "why": s.why,
        }
        for s in found
    )  # fmt: skip
    frame = frame[[name for name in frame if frame[name].any()]]
    st.dataframe(frame, hide_index=True, alt="Where each run of the study stands")
    st.caption(
        f"{text(mirror.store.url)}, looked at every {REFRESH:.0f} seconds, and never written to. "
        "Time left: what the running ones told of their training, and what the plan expects of the "
        "others, with as many at a time as run now; evaluations of running ones are not counted. "
        "A device hour is an hour of a GPU, or of a run without one."
    )
