"""Where the loss is curved, in one sentence of a report; :mod:`.answers` has those of the pages."""

from collections.abc import Sequence

from grace_geom.plots.answers import apart
from grace_geom.plots.columns import is_matrix
from grace_geom.plots.panels import point
from grace_geom.plots.weight_names import in_order, weight_name
from grace_geom.records import Finding

MOST_NAMED = 3
"""Matrices that a sentence names."""


def where_curved(found: Sequence[Finding]) -> str:
    """Of ``hessian_spectrum``: the matrices whose mean curvature is the highest of a run, or not
    clearly below that, over all runs; empty where they are many or none was measured.
    """
    tops = set[str]()
    for f in found:
        known = {
            name: p
            for name in f.names("kappa")
            if is_matrix(name) and (p := point(f.value(f"kappa/{name}"))) is not None
        }
        if not known:
            return ""
        best = max(known.values(), key=lambda p: p.value)
        tops |= {name for name, p in known.items() if not apart(p, best)}
    if not tops or len(tops) > MOST_NAMED:
        return ""
    words = [f"**{weight_name(name)}**" for name in in_order(tops)]
    listed = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    runs = {1: "", 2: " in both runs"}.get(len(found), " in every run")
    return f"A weight is most curved in {listed}{runs}."
