"""How does the loss look around it?"""

import numpy as np
import pandas as pd
import streamlit as st

from app import shell, show
from app.measured import attack_of, how, measured
from app.shell import Choice, text
from grace_geom.plots import landscape
from grace_geom.records import Finding

MOST_SCENES = 6  # three-dimensional panels at a time: browsers keep few of them alive


def main() -> None:
    """1-D slices, the line through the checkpoint, contours."""
    choice = shell.page("How does the loss look around it?")
    found = measured(choice, "loss_landscape", flags="--slices random,eigen,contour,line")
    found, refused = landscape.comparable(found)
    for f in refused:
        shell.notice(
            f"{text(choice.names[f.run])} is left out: its weights have other names or shapes, so "
            "the same seed means other directions, and its slices cannot be compared."
        )
    if not found:
        return
    show.legend([f.run for f in found], choice.legend)
    straight(choice, found)
    line(choice, found)
    plane(choice, found)


def straight(choice: Choice, found: list[Finding]) -> None:
    """1-D slices, overlaid."""
    st.subheader("Straight cuts through the loss", anchor=False)
    drawn = landscape.slices(found, choice.legend)
    rows = [
        {"run": f.run, "slice": kind, "distance": float(t), "loss": float(v)}
        for f in found
        for kind in landscape.KINDS
        if (a := f.array(kind)) is not None
        for t, v in zip(*a, strict=True)
    ]
    if not drawn:
        st.info("Measured without --slices random or eigen.")
        return
    loss = found[0].result.settings.get("loss")
    which = "on clean images" if loss == "ce" else f"under {attack_of(found)}"
    show.panels(
        drawn,
        "slices",
        "Loss along a straight line through the weights, one line a run",
        how(
            found,
            f"Mean cross-entropy {which}; 0 is the checkpoint. Random direction: filter-normalised "
            "(Li et al. 2018), the same for every run. A different depth says nothing of flatness; "
            "the bend does;",
        ),
        pd.DataFrame(rows),
        width=474,
    )


def line(choice: Choice, found: list[Finding]) -> None:
    """From the pretrained weights through the checkpoint and beyond."""
    st.subheader("On the line from the pretrained weights through the checkpoint", anchor=False)
    names = list(
        dict.fromkeys(n for f in found for n in f.array_names("line") if n not in ("t", "id_loss"))
    )
    if not names:
        st.info("Measured without --slices line.")
        return
    chosen = [
        n for n in names if n != "ood" and choice.sets and choice.keeps(n.removeprefix("ood/"))
    ]
    wanted = chosen or [n for n in ("id", "ood", "adv") if n in names]
    rows = [
        {"run": f.run, "distribution": n, "t": float(t), "accuracy": float(v)}
        for f in found for n in names if (y := f.array(f"line/{n}")) is not None
        for t, v in zip(f.array("line/t"), y, strict=True)
    ]  # fmt: skip
    show.panels(
        landscape.line(found, choice.legend, wanted),
        "line",
        "Accuracy on the line from the pretrained weights through the checkpoint, one line a run",
        how(
            found,
            f"Top-1 accuracy at (1 − t) θ₀ + t θ. Under attack: {attack_of(found)}, anew at every "
            "point. The dotted line is the checkpoint; choose distributions in the sidebar to see "
            "the OOD sets one by one;",
        ),
        pd.DataFrame(rows),
    )


def plane(choice: Choice, found: list[Finding]) -> None:
    """2-D slices: contours, or surfaces for those who want them."""
    there = [f for f in found if f.array("contour") is not None]
    st.subheader("Contours in the plane of two random directions", anchor=False)
    if not there:
        st.info("Measured without --slices contour.")
        return
    solid = st.toggle(
        "As surfaces",
        key="surfaces",
        help="3-D. One height axis and one colour scale for all runs.",
    )
    shown = there
    if solid and len(there) > MOST_SCENES:
        st.caption(f"The first {MOST_SCENES} runs: choose others in the sidebar.")
        shown = there[:MOST_SCENES]
    drawn = (landscape.surfaces if solid else landscape.contours)(shown, choice.legend)
    rows = [
        {"run": f.run, "first": float(x), "second": float(y), "loss": float(z)}
        for f in shown
        for y, row in zip(f.array("contour_axis"), np.asarray(f.array("contour")), strict=True)
        for x, z in zip(f.array("contour_axis"), row, strict=True)
    ]
    show.panels(
        drawn,
        "surfaces" if solid else "contours",
        "Loss in the plane of two random directions",
        how(
            there,
            "Mean loss; both directions filter-normalised, the same for every run; shared levels, "
            "equal axes, the cross is the checkpoint. The highest 2 % share one colour;",
        ),
        pd.DataFrame(rows),
    )


main()
