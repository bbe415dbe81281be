"""A run at a glance: how good it is, how it trained, and where."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import streamlit as st

from app import compare, logged, store
from app.head import unbroken
from app.kept import kept_of_runs
from app.logs import Lines
from app.progress import duration, progress
from app.store import Entry
from grace_geom.records import in_levels

COLUMNS = ("HM", "ID", "OOD", "Adv", "ZS")
MEANT = {
    "HM": "harmonic mean of ID, OOD and Adv",
    "ID": "test images of the training data",
    "OOD": "mean under shift",
    "Adv": "under attack",
    "ZS": "mean of zero-shot transfer",
}
LOOK = (
    "<style>dl.glance{display:grid;grid-template-columns:6rem 1fr;gap:.2rem .9rem;"
    "margin:0!important;padding:0!important;font-size:.9rem;line-height:1.45}"
    ".glance dt,.glance dd{margin:0;overflow-wrap:anywhere}"
    ".glance dt,.glance span{opacity:.8}.glance span{white-space:nowrap}"
    "p.glance{margin:.3rem 0 0!important;font-size:.8rem;opacity:.8}"
    "hr.glance{margin:.6rem 0;opacity:.35}</style>"
)
Facts = Sequence[tuple[str, str]]
"""Name and value, in HTML, in the order of reading."""


def draw(entry: Entry, other: Entry | None, name: str) -> None:
    """Accuracies with their differences to ``other``, called ``name``; then the training."""
    groups = [list(accuracies(entry, other)), list(training(entry))]
    lists = [_list(group) for group in groups if group]
    if other and any("<span>" in value for _, value in groups[0]):
        over = html.escape(store.readable(name))
        lists[0] += f'<p class="glance">\u0394: points over <b>{over}</b></p>'
    said = "; ".join(f"{name}: {MEANT[name]}" for name in COLUMNS if name in entry.estimates)
    if said:
        lists[0] += f'<p class="glance">{said}</p>'
    if lists:
        rule = '<hr class="glance">'  # within a list there may be names and values only
        st.html(LOOK + rule.join(lists))


def _list(facts: Facts) -> str:
    """As HTML; numbers stay on one line with their units, and ends of an interval together."""
    rows = "".join(f"<dt>{key}</dt><dd>{unbroken(value)}</dd>" for key, value in facts)
    return f'<dl class="glance">{rows}</dl>'


def accuracies(entry: Entry, other: Entry | None) -> Iterator[tuple[str, str]]:
    """Columns of the summary with their intervals, and paired differences in points."""
    for column in COLUMNS:
        if (e := entry.estimates.get(column)) is None:
            continue
        said = f"{100 * e.value:.1f} % [{100 * e.low:.1f}, {100 * e.high:.1f}]"
        gap = compare.difference_of(entry, other, column) if other else None
        yield column, f"{said} <span>\u0394 {gap}</span>" if gap else said


def training(entry: Entry) -> Iterator[tuple[str, str]]:
    """How long it trained, at which rate, against which attack, and on what machine; what is not on
    record is left out.
    """
    plain, log = store.settings(entry), store.lines(entry, "metrics")
    told = {
        "Trained": _steps(plain, log),
        "Held out": _held(log),
        "Learning rate": _said(plain, "{}, {}", "lr", "schedule"),
        "Attack": _attack(plain),
        "Machine": _said(plain, "{}, {}", "provenance.device_name", "precision"),
        "Software": _said(
            plain, "grace_geom {}, torch {}", "provenance.grace_geom", "provenance.packages.torch"
        ),
        "Commit": str(_at(plain, "provenance.commit") or "")[:12],
        "Tags": ", ".join(entry.notes.tags),
        "Note": entry.notes.note,
    }
    yield from ((key, html.escape(store.readable(text))) for key, text in told.items() if text)


def _at(plain: Mapping[str, Any], key: str) -> Any:
    """A setting, or with dots in its name one inside of another; ``None`` where there is none."""
    found: Any = plain
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _said(plain: Mapping[str, Any], form: str, *keys: str) -> str:
    """Several settings in one phrase; empty where one is missing."""
    values = [_at(plain, key) for key in keys]
    return "" if None in values else form.format(*values)


def _steps(plain: Mapping[str, Any], log: Lines) -> str:
    state = progress(log.rows, plain, 0.0)
    if not state.step:
        return ""
    _, seconds = kept_of_runs(logged.pace, log)
    of = f" of {state.total}" if state.total and state.total != state.step else ""
    size = f" of {plain['batch_size']} images" if "batch_size" in plain else ""
    return f"{state.step}{of} steps{size}{f' in {duration(seconds)}' if seconds else ''}"


def _held(log: Lines) -> str:
    """The last check of held-out images, and the best where that is another."""
    attacked = kept_of_runs(logged.checked, log, "val_acc_pgd")
    found = kept_of_runs(logged.held, log, "val_acc_pgd" if attacked else "val_acc")
    if found is None:
        return ""
    best = f", best {100 * found.best:.1f} % at step {found.best_step}"
    under = " under PGD" if attacked else ""
    return f"{100 * found.last:.1f} %{under}{best if found.best_step != found.last_step else ''}"


def _attack(plain: Mapping[str, Any]) -> str:
    radius, step, steps = (plain.get(key) for key in ("eps", "alpha", "attack_steps"))
    if not isinstance(radius, float) or not isinstance(step, float):
        return ""
    sizes = [in_levels(size) or f"{size:g}" for size in (radius, step)]
    return f"\u03b5 = {sizes[0]}, {steps} step{'' if steps == 1 else 's'} of {sizes[1]}"
