"""How does accuracy fall with ε, and on which images?"""

import pandas as pd
import streamlit as st

from app import link, shell, show
from app.measured import command, how, measured, values_table
from app.shell import Choice
from grace_geom.plots import panels, robustness
from grace_geom.records import Finding, radius_text

CHECKS = {
    "pgd": "PGD", "pgd, 2x steps": "twice the steps", "pgd, 3 starts": "three starts",
    "pgd, no random start": "no random start", "apgd": "APGD (CE and targeted)",
    "square (black box)": "Square (black box)", "pgd, eps = 64/255": "PGD at ε = 64/255",
    "square beyond apgd": "fall to Square alone",
}  # fmt: skip


def main() -> None:
    """Curves, classes, transfer, checks."""
    choice = shell.page("How does accuracy fall with ε, and on which images?")
    found = measured(choice, "robustness_curve")
    if not found:
        return
    show.legend([f.run for f in found], choice.legend)
    curves(choice, found)
    st.page_link(
        "views/images.py", label="The images that the attack turned", query_params=link.shared()
    )
    classes(choice, found)
    transfer(choice, found)
    checks(choice, found)


def curves(choice: Choice, found: list[Finding]) -> None:
    """Accuracy against the radius, and margins."""
    st.subheader("Accuracy against the radius", anchor=False)
    s = found[0].result.settings
    drawn = robustness.curves(found, choice.legend)
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
            f"Right without attack and at every smaller radius too; ℓ∞, {s.get('steps')} steps;",
            "Bands: Wilson 95 % intervals.",
        ),
        values_table(found, keys),
    )
    st.subheader("Margins on clean images", anchor=False)
    rows = [{"run": f.run, "image": i, "margin": float(v)} for f in found
            if (a := f.array("margin")) is not None for i, v in enumerate(a)]  # fmt: skip
    show.figure(
        robustness.margins(found, choice.legend),
        "margins",
        "Cumulative share of images below a clean logit margin, one line a run",
        how(
            found,
            "Left of the dotted line images are wrong without any attack; a steep rise there means "
            "that small changes flip many;",
            "Bands hold the whole line at 95 % (Dvoretzky-Kiefer-Wolfowitz).",
        ),
        pd.DataFrame(rows),
        "No margins on record.",
    )


def classes(choice: Choice, found: list[Finding]) -> None:
    """Which classes lose most."""
    st.subheader("Class by class: what the attack takes", anchor=False)
    there = [
        a
        for a in robustness.attacks(found)
        if any(f.array(f"falls/{a}") is not None for f in found)
    ]
    if not there:
        st.info("Not on record for single images. This measures it:")
        st.code(command(choice, "robustness_curve", "--fresh"), language="bash", wrap_lines=True)
        return
    radii = sorted(float(r) for r in found[0].result.settings.get("radii", []))
    with st.container(horizontal=True):
        attack = st.selectbox("Attack", there, format_func=str.upper, key="class-attack", width=200)
        eps = st.select_slider(
            "Radius",
            radii,
            value=min(radii, key=lambda r: abs(r - 4 / 255)),
            key="class-radius",
            width=260,
            format_func=radius_text,
        )
    drops = {f.run: robustness.drops(f, attack, eps) for f in found}
    heads = list(dict.fromkeys(name for known in drops.values() for name in known))
    rows = [{"run": run, "class": name, "lost": p.value, "low": p.low, "high": p.high}
            for run, known in drops.items() for name, p in known.items()]  # fmt: skip
    axis = {"title": "Images of the class lost (%)", "rangemode": "tozero"}
    show.figure(
        panels.rows(drops, heads, choice.legend, axis),
        "classes",
        "Dot plot of the share of each class lost under attack, one marker a run",
        how(
            found,
            f"Right without attack, wrong under {attack.upper()} within ε = {radius_text(eps)}, "
            "of all images of the class;",
            "Wilson 95 % intervals: classes have few images here.",
        ),
        pd.DataFrame(rows),
    )


def transfer(choice: Choice, found: list[Finding]) -> None:
    """Who is fooled by whose images."""
    st.subheader("Transfer: who is fooled by whose images", anchor=False)
    keys = [f"transfer/{name}" for name in found[0].names("transfer")]
    show.figure(
        robustness.transfer(found, choice.legend),
        "transfer",
        "Heat map of the accuracy of every run on the attacked images of every run",
        how(
            found,
            "Accuracy in percent; images found by PGD at the run of the row, seen by the run of "
            "the column. Off the diagonal, low numbers mean that attacks carry over;",
        ),
        values_table(found, keys),
        "No transfer on record.",
    )


def checks(choice: Choice, found: list[Finding]) -> None:
    """Whether gradients are masked."""
    st.subheader(
        "Are gradients masked?",
        anchor=False,
        help="A model can hide its gradients and look robust. Then an attack without gradients "
        "(Square) does better than one with them, more steps or starts find much more, or even "
        "huge perturbations do not reach every image.",
    )
    names = dict.fromkeys(name for f in found for name in f.names("check"))
    titles = {
        name: CHECKS.get(name, name) for name in sorted(names, key=lambda n: [*CHECKS, n].index(n))
    }
    rows = [
        {"run": choice.names[f.run]}
        | {
            title: 100 * m.value
            for name, title in titles.items()
            if (m := f.value(f"check/{name}")) is not None
        }
        for f in found
    ]
    frame = pd.DataFrame(rows)
    if len(frame.columns) < 2:
        st.info("Measured without --checks.")
        return
    form = {title: st.column_config.NumberColumn(title, format="%.1f") for title in titles.values()}
    st.dataframe(
        frame,
        hide_index=True,
        column_config=form,
        height="content",
        alt="Accuracy under stronger attacks",
    )
    st.caption(
        how(
            found,
            "Accuracy in percent under each attack. APGD must be at least as low as Square, and "
            "PGD at ε = 64/255 must leave none;",
        )
    )
    show.downloads(None, "checks", values_table(found, [f"check/{name}" for name in titles]))


main()
