"""Colours of a setting in the place of those of the methods; markers and dashes stay."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app import compare, facts, natural, show
from app.store import Entry
from grace_geom.plots.palette import Ground, of_values

METHOD = "method and seed"


def control(entries: Sequence[Entry], ground: Ground) -> Mapping[str, str]:
    """The control with its legend; returns colours by run, none where methods have their own."""
    differ = {key for e in compare.differing(entries).values() for key in e}
    options = [METHOD, *sorted(differ - {"method"}, key=natural.key)]
    if st.session_state.get("colour", METHOD) not in options:
        del st.session_state["colour"]
    wanted = st.selectbox(
        "Colour by", options, key="colour", filter_mode="contains",
        help="A setting in which the chosen runs differ. Markers and dashes stay those of the "
        "method.",
    )  # fmt: skip
    if wanted == METHOD:
        return {}
    values = {e.id: value(e, wanted) for e in entries}
    ordered = sorted({v for v in values.values() if v is not None}, key=natural.key)
    colors = of_values(ordered, ground)
    show.swatches({f"{wanted} = {v}": color for v, color in colors.items()})
    return {run: colors[v] if v is not None else ground.muted for run, v in values.items()}


def value(entry: Entry, key: str) -> str | None:
    """A setting of a run as people write it; of a mean, what all of its runs have."""
    known = {
        compare.written(key, found) if (found := facts.facts(run).get(key)) is not None else None
        for run in entry.members or (entry,)
    }
    return known.pop() if len(known) == 1 else None
