"""Figures that are made without plotly's checks, looked at by these."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

Make = Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], go.Figure]


def checked(make: Make) -> Make:
    """:func:`grace_geom.plots.style.made`, which fails where plotly refuses a setting or would send
    another figure to a browser.
    """

    def both(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> go.Figure:
        found = make(traces, layout)
        wanted = go.Figure([dict(trace) for trace in traces], dict(layout))
        quick, slow = (dict(_parts(json.loads(figure.to_json()))) for figure in (found, wanted))
        unlike = [key for key in {**quick, **slow} if quick.get(key) != slow.get(key)]
        assert not unlike, [(key, quick.get(key), slow.get(key)) for key in unlike[:3]]
        return found

    return both


def _parts(plain: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting of a figure with its place."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if _holds(plain) else ()
    for key, value in inner:
        yield from _parts(value, f"{name}.{key}")
    if not inner:
        yield name, plain


def _holds(plain: Any) -> bool:
    return isinstance(plain, list) and bool(plain) and isinstance(plain[0], dict)
