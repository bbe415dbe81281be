"""An analysis on a page: what was found on the chosen runs, what is missing and its command, what
is left out.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app import store
from app.head import notice
from app.shell import Choice, inline, quoted, text
from app.store import Entry, settings
from grace_geom.plots import sample
from grace_geom.records import Finding, radius_text, titles
from grace_geom.records.references import unlike_references
from grace_geom.records.used_images import unlike

SAME = ("data", "n", "params", "loss", "eps", "alpha", "attack_steps", "seed", "dtype")
"""Settings in which findings must agree, whatever the analysis."""
OWN: dict[str, tuple[str, ...]] = {
    "anisotropy": ("pool",),
    "bound_terms": ("pool", "sigma"),
    "feature_stability": ("pool",),
    "hessian_spectrum": ("operator",),
    "image_gallery": ("smooth", "noise"),
    "loss_landscape": ("span", "eigen_span", "beyond"),
    "parameter_drift": (),
    "representation_drift": ("reference", "pool", "layers"),
    "robustness_curve": ("steps", "targets", "attacks"),
    "sharpness": ("unit_logits", "ascent_steps", "samples"),
}
"""By analysis, the settings of its own in which they must agree too."""


def measured(choice: Choice, name: str, same: Sequence[str] = (), flags: str = "") -> list[Finding]:
    """What an analysis found on the chosen runs, as far as it can be compared with the baseline.

    Says which runs it was not made for, with the command that makes it, and which are left out, and
    why.

    Args:
        choice: Of this session.
        name: The analysis.
        same: Settings beside ``SAME`` and those of :data:`OWN` that must be equal.
        flags: What the command needs beside the runs.
    """
    found, broken = store.findings(name, choice.single, choice.root)
    for problem in broken:
        notice(f"Left out: {text(problem)}")
    missing = [e for e in choice.single if e.id not in {f.run for f in found}]
    what = titles.analysis(name)
    head = f"{what[:1].upper()}{what[1:]}"
    lost = [e for e in missing if not has_checkpoint(e)]
    if lost:
        notice(
            f"{head} was not measured, and there is no checkpoint to measure it on: "
            f"{', '.join(text(choice.names[e.id]) for e in lost)}"
        )
    missing = [e for e in missing if e not in lost]
    if missing:
        everyone = len(missing) == len(choice.single)
        who = "" if everyone else f" for {', '.join(text(choice.names[e.id]) for e in missing)}"
        said = f"{head} has not been measured{who}. This does it:"
        if found:
            notice(said, command(choice, name, flags))
        else:  # there is nothing else to see
            st.info(said)
            st.code(command(choice, name, flags), language="bash", wrap_lines=True)
    kept = same_settings(choice, found, (*SAME, *OWN[name], *same))
    for f in kept:
        known = choice.known[f.run].evaluation
        if known and f.checkpoint and known.checkpoint and f.checkpoint != known.checkpoint:
            notice(
                f"{text(choice.names[f.run])}: {what} was measured on another checkpoint file than "
                "the one that was evaluated. Measure or evaluate it again."
            )
    for note in unlike_ways(choice, kept):
        notice(note)
    return kept


def unlike_ways(choice: Choice, found: Sequence[Finding]) -> list[str]:
    """A sentence for each run whose numbers do not stand beside those of most: measured on other
    images, or against another reference.
    """
    return other_images(choice, found) + other_references(choice, found)


def other_images(choice: Choice, found: Sequence[Finding]) -> list[str]:
    """A sentence for each run that was not measured on the images of most; older results do not
    tell.
    """
    used = {choice.names[f.run]: f.images for f in found if f.images}
    return [text(note) for note in unlike(used).values()]


def other_references(choice: Choice, found: Sequence[Finding]) -> list[str]:
    """A sentence for each run that was compared with another checkpoint than most, such as one that
    was replaced under the same name; older results do not tell.
    """
    used = {choice.names[f.run]: one for f in found if (one := f.reference) is not None}
    return [text(note) for note in unlike_references(used).values()]


def has_checkpoint(entry: Entry) -> bool:
    """Whether there is something to measure."""
    return store.own_file(entry, "ckpt.pt") is not None


def command(choice: Choice, name: str, flags: str = "") -> str:
    """What measures it, on all chosen runs, so that they share one figure."""
    folders = " ".join(quoted(e.path) for e in choice.single if has_checkpoint(e)) or "RUN"
    return f"python analyses/{name}.py {folders}{f' {flags}' if flags else ''}"


def same_settings(choice: Choice, found: Sequence[Finding], keys: Sequence[str]) -> list[Finding]:
    """Those measured as the baseline was (or as the first); of the others it is said why they are
    left out.
    """
    kept = []
    for f, other in unlike_first(choice, found, keys):
        if other:
            notice(
                f"{text(choice.names[f.run])} is left out: measured with other "
                f"{text(', '.join(other))}"
            )
        else:
            kept.append(f)
    return kept


def unlike_first(
    choice: Choice, found: Sequence[Finding], keys: Sequence[str]
) -> list[tuple[Finding, list[str]]]:
    """Each with the settings in which it is unlike the baseline's (or the first)."""
    base = choice.base_run.id if choice.base_run else ""
    first = next((f for f in found if f.run == base), found[0] if found else None)
    return [
        (f, [k for k in keys if first and _setting(choice, f, k) != _setting(choice, first, k)])
        for f in found
    ]


def alike(choice: Choice, analysis: str, arrays: bool = True) -> dict[str, Finding]:
    """Findings on the chosen runs with the settings of the baseline (or of the first), as far as
    they are of the checkpoints that were evaluated. Those left out are named on the page of the
    analysis, if it has one.

    Args:
        choice: Of this session.
        analysis: Its name.
        arrays: Whether arrays are wanted beside the numbers.
    """
    found, _ = store.findings(analysis, choice.runs, choice.root, arrays)
    return {
        f.run: f
        for f, other in unlike_first(choice, found, (*SAME, *OWN[analysis]))
        if not other
        and f.is_of(known.checkpoint if (known := choice.known[f.run].evaluation) else "")
    }


def _setting(choice: Choice, f: Finding, key: str) -> object:
    """A setting of an analysis; data that it did not name are those of the run."""
    value = f.result.settings.get(key)
    return settings(choice.known[f.run]).get("data") if key == "data" and value is None else value


def how(found: Sequence[Finding], estimator: str, interval: str = "") -> str:
    """A caption: estimator, loss and weights, n, seed, precision, interval."""
    if not found:
        return estimator
    parts = [sample.sample(found), str(found[0].result.settings.get("dtype", "")).strip()]
    parts = [inline(part) for part in parts]
    return f"{estimator} {', '.join(p for p in parts if p)}.{f' {interval}' if interval else ''}"


def intervals(found: Sequence[Finding], *keys: str) -> str:
    """What the intervals of numbers whose names begin with ``keys`` are made from: a sentence."""
    said = sample.intervals(found, *keys)
    return f"{inline(said)}." if said else ""


def attack_of(found: Sequence[Finding]) -> str:
    """The attack behind adversarial features or losses."""
    s = found[0].result.settings if found else {}
    return f"PGD, ε = {radius_text(float(s.get('eps', 0)))}, {inline(s.get('attack_steps'))} steps"


def values_table(found: Sequence[Finding], keys: Sequence[str]) -> pd.DataFrame:
    """Values of an analysis with their intervals, a row each."""
    rows = [
        {
            "run": f.run,
            "name": key,
            "value": m.value,
            "low": m.low,
            "high": m.high,
            "error": m.error,
            "estimator": m.estimator,
        }
        for f in found
        for key in keys
        if (m := f.value(key)) is not None
    ]
    return pd.DataFrame(rows, columns=["run", "name", "value", "low", "high", "error", "estimator"])
