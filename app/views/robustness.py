"""How does accuracy fall with ε?"""

from collections.abc import Iterable
from functools import partial

import pandas as pd
import streamlit as st

from app import answers, link, shell, show, tables
from app.details import details, heading
from app.kept import kept
from app.measured import command, how, measured, values_table
from app.shell import Choice, inline, text
from grace_geom.plots import panels, robustness
from grace_geom.plots.style import from_zero
from grace_geom.records import Finding, Measure, radius_text
from grace_geom.records.masked_gradients import masked, unconverged
from grace_geom.records.printed import Cell, Figure, Printed

CHECKS = {  # those that decide first
    "apgd": "APGD", "square (black box)": "Square", "pgd, eps = 64/255": "ε\u00a0=\u00a064/255",
    "square beyond apgd": "Square alone", "pgd": "PGD", "pgd, 2x steps": "twice the steps",
    "pgd, 3 starts": "three starts", "pgd, no random start": "no random start",
}  # fmt: skip
HELP = {
    "APGD": "APGD on the cross-entropy, then on the targeted loss.",
    "Square": "Square, a black-box attack: it uses no gradients.",
    "ε\u00a0=\u00a064/255": "PGD within ε = 64/255, which must leave no image.",
    "Square alone": "Images that withstand APGD and fall to Square.",
}


MEANINGS = {
    "Accuracy against the radius": "An image counts as right where it is right without attack and "
    "at every smaller radius too. The radius at which accuracy is halved lies on a straight line "
    "between two measured radii; its interval is where the bands cross the same level.",
    "Margins": "Left of the dotted line images are wrong without any attack; a steep rise there "
    "means that small changes flip many.",
    "Class by class": "Right without attack and wrong under it, of all images of the class.",
    "Transfer": "Images found by PGD at the run of the row, seen by the run of the column. Off the "
    "diagonal, low numbers mean that attacks carry over.",
    "Masked gradients": "A model can hide its gradients and look robust. Then an attack without "
    "gradients (Square) does better than one with them, or even huge perturbations do not reach "
    "every image. That more steps or starts find more means that PGD is too short.",
}
MOST_CLASSES = 20
# From so many runs on the map of transfer fills the page; pixels of its labels and of a cell.
MOST_SMALL, CELLS, CELL = 7, 300, 90
LEAST_CELLS, LEAST_CELL = 230, 38  # the same where the map would rather scroll than be smaller
BY_CLASS = "Class by class: what the attack takes"


def main() -> None:
    """Curves, classes, transfer, checks."""
    choice = shell.page("How does accuracy fall with ε?")
    found = measured(choice, "robustness_curve")
    shell.answer(
        answers.robustness(found, answers.bold(choice.names))
        or answers.unmeasured("robustness_curve")
    )
    if not found:
        return
    show.legend([f.run for f in found], choice.legend)
    curves(choice, found)
    classes(choice, found)
    transfer(choice, found)
    checks(choice, found)
    details(MEANINGS)


def curves(choice: Choice, found: list[Finding]) -> None:
    """Accuracy against the radius, and margins."""
    st.header("Accuracy against the radius", anchor=False)
    s = found[0].result.settings
    base, worst = choice.base_run.id if choice.base_run else "", robustness.strongest(found)
    if said := answers.without_gap(found, base, answers.bold(choice.names)):
        st.caption(said)
    apart = kept(robustness.gaps, found, choice.legend, base, worst)
    each = kept(robustness.curves, found, choice.legend)
    first = robustness.attack_name(worst)  # the sentence is about it
    drawn = {first: each[first]} | apart | each if first in each else each
    keys = [
        "clean",
        *(f"{a}/{name}" for a in robustness.attacks(found) for name in found[0].names(a)),
    ]
    show.panels(
        drawn,
        "radius",
        "Accuracy against the radius of the attack, one line a run with its band",
        how(
            found,
            f"ℓ∞, {s.get('steps')} steps; rings: half of the clean accuracy;",
            "Bands: Wilson 95 % intervals"
            + (", of the gap those of paired differences (Agresti and Min)." if apart else "."),
        ),
        partial(values_table, found, keys),
        width=474 if len(drawn) < 3 else 304,
    )
    st.header("Margins on clean images", anchor=False)
    show.legend([f.run for f in found], choice.legend)  # the first is out of sight
    show.figure(
        kept(robustness.margins, found, choice.legend),
        "margins",
        "Cumulative share of images below a clean logit margin, one line a run",
        how(
            found,
            "Dotted: where an answer turns wrong;",
            "Bands hold the whole line at 95 % (Dvoretzky-Kiefer-Wolfowitz).",
        ),
        lambda: pd.DataFrame([
            {"run": f.run, "image": i, "margin": float(v)} for f in found
            if (a := f.array("margin")) is not None for i, v in enumerate(a)
        ]),
        "No margins on record.",
    )  # fmt: skip


@st.fragment
def classes(choice: Choice, found: list[Finding]) -> None:
    """Which classes lose most, first those that do."""
    there = [
        a
        for a in robustness.attacks(found)
        if any(f.array(f"falls/{a}") is not None for f in found)
    ]
    if not there:
        st.header(BY_CLASS, anchor=False)
        st.info("Not on record for single images. This measures it:")
        st.code(command(choice, "robustness_curve", "--fresh"), language="bash", wrap_lines=True)
        return
    radii = sorted(float(r) for r in found[0].result.settings.get("radii", []))
    worst = robustness.strongest(found)  # the sentence is about it
    with st.container(horizontal=True, vertical_alignment="center"):
        heading(BY_CLASS)
        attack = st.selectbox(
            "Attack", there, index=there.index(worst) if worst in there else 0,
            format_func=robustness.attack_name, key="robustness_attack", bind="query-params",
            filter_mode="contains", width=160, label_visibility="collapsed",
        )  # fmt: skip
        st.markdown("ε", width="content")  # its values are written without it, as in links
        eps = st.select_slider(
            "Radius",
            radii,
            value=min(radii, key=lambda r: abs(r - 4 / 255)),
            key="robustness_radius",
            bind="query-params",
            width=190,
            label_visibility="collapsed",
            format_func=radius_text,
        )
        pictured()
    drops = {f.run: robustness.drops(f, attack, eps) for f in found}
    heads = robustness.hit_most(drops)
    lost = [p for known in drops.values() for p in known.values()]
    ends = from_zero(e for p in lost for e in (p.value, p.low, p.high))
    axis = {"title": "Images of the class lost (%)", "range": ends}
    show.legend([run for run, known in drops.items() if known], choice.legend, lines=False)
    show.figure(
        kept(panels.rows, drops, heads[:MOST_CLASSES], choice.legend, axis),
        "classes",
        "Dot plot of the share of each class lost under attack, one marker a run",
        how(
            found,
            f"{robustness.attack_name(attack)} within ε = {radius_text(eps)}"
            + (
                f"; the {MOST_CLASSES} of {len(heads)} classes that lose most"
                if len(heads) > MOST_CLASSES
                else ""
            )
            + ";",
            "Wilson 95 % intervals.",
        ),
        lambda: pd.DataFrame([
            {"run": run, "class": name, "lost": p.value, "low": p.low, "high": p.high}
            for run, known in drops.items() for name, p in known.items()
        ]),
    )  # fmt: skip


def pictured() -> None:
    """The way to the page of images."""
    st.page_link(
        "views/images.py", label="See the images", query_params=link.shared(), width="content",
        icon=":material/arrow_forward:", icon_position="right",
    )  # fmt: skip


def transfer(choice: Choice, found: list[Finding]) -> None:
    """Who is fooled by whose images."""
    st.header("Transfer: who is fooled by whose images", anchor=False)
    keys = [f"transfer/{name}" for name in found[0].names("transfer")]
    few = len(found) < MOST_SMALL  # cells of a few runs would be as wide as a hand
    with st.container(width=CELLS + CELL * len(found) if few else "stretch"):
        show.figure(
            kept(robustness.transfer, found, choice.legend),
            "transfer",
            "Heat map of the accuracy of every run on the attacked images of every run",
            how(
                found,
                "Accuracy in percent, ± half of Wilson's 95 % interval (lopsided ones in full); "
                "images found by PGD at the run of the row;",
            ),
            partial(values_table, found, keys),
            "No transfer on record.",
            least=LEAST_CELLS + LEAST_CELL * len(found),
        )


def checks(choice: Choice, found: list[Finding]) -> None:
    """Whether gradients are masked."""
    st.header("Are gradients masked?", anchor=False)
    names = dict.fromkeys(name for f in found for name in f.names("check"))
    titles = {
        name: CHECKS.get(name, name) for name in sorted(names, key=lambda n: [*CHECKS, n].index(n))
    }
    if not titles:
        st.info("Measured without --checks.")
        return
    table = Printed(
        ["run", "verdict", *titles.values()],
        [
            [choice.names[f.run], verdict(f), *cells]
            for f, cells in zip(found, shares(found, titles), strict=True)
        ],
    )
    colors = {choice.names[f.run]: choice.legend.looks[f.run].color for f in found}
    tables.draw(table, "Accuracy under stronger attacks", colors, HELP)
    st.caption(
        how(
            found,
            "Accuracy in percent, ± half of Wilson's 95 % interval (lopsided ones in full). APGD "
            "must be at least as low as Square, and PGD at ε\u00a0=\u00a064/255 must leave none;",
        )
    )
    signs = {f.run: [*masked(f.part.values), *unconverged(f.part.values)] for f in found}
    for run, said in signs.items():
        if said:
            st.caption(f"**{text(choice.names[run])}**: {inline('; '.join(said))}.")
    keys = [f"check/{name}" for name in titles]
    show.downloads(None, "checks", partial(values_table, found, keys))


def verdict(f: Finding) -> str:
    """What the checks say of a run, in a word or two."""
    if masked(f.part.values):
        return "masked"
    return "PGD too short" if unconverged(f.part.values) else "no sign"


def shares(found: list[Finding], names: Iterable[str]) -> list[list[Cell]]:
    """A row for each run of what the checks leave, in percent; without digits behind the point
    where no interval is narrower than two points.
    """
    rows = [[f.value(f"check/{name}") for name in names] for f in found]
    half = [100 * (m.high - m.low) / 2 for row in rows for m in row
            if m is not None and m.low is not None and m.high is not None]  # fmt: skip
    digits = 0 if half and min(half) >= 1 else 1
    return [[_percent(m, digits) for m in row] for row in rows]


def _percent(m: Measure | None, digits: int) -> Cell:
    if m is None:
        return None
    low, high = (None if end is None else 100 * end for end in (m.low, m.high))
    return Figure(100 * m.value, low, high, digits=digits)


main()
