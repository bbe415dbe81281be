"""How does the loss look around it?"""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import answers, scale, shell, show
from app.details import details, heading
from app.kept import kept
from app.measured import attack_of, how, measured
from app.shell import Choice, text
from grace_geom.plots import cuts, landscape, zoom
from grace_geom.records import Finding

MEANINGS = {
    "Straight cuts": "Random directions are filter-normalised (Li et al. 2018) and the same for "
    "every run, so the bends compare; the depth alone says nothing of flatness. The interval of "
    "a rise is that of the images' own rises: all losses are on the same ones.",
    "The line": "Accuracy at (1 − t) θ₀ + t θ; the attack is made anew at every point. The dotted "
    "line is the checkpoint. Choose distributions in the sidebar to see the OOD sets one by one.",
    "Contours": "Both directions are filter-normalised and the same for every run; levels, axes and "
    "colours are shared, and the highest 2 % share one colour. The cross is the checkpoint.",
}
PLANES = {"contour": "Two random directions", "plane": "Through three checkpoints"}
MEANT = {
    "contour": "two random directions, the same for all runs, as levels and colours are",
    "plane": "the same levels and colours for all runs",
}
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
    shell.answer(
        answers.landscape(found, answers.bold(choice.names)) or answers.unmeasured("loss_landscape")
    )
    if not found:
        return
    show.legend([f.run for f in found], choice.legend)
    straight(choice, found)
    line(choice, found)
    plane(choice, found)
    details(MEANINGS)


def straight(choice: Choice, found: list[Finding]) -> None:
    """1-D slices, overlaid."""
    st.header("Straight cuts through the loss", anchor=False)
    drawn = kept(cuts.slices, found, choice.legend)
    if not drawn:
        st.info("Measured without --slices random or eigen.")
        return
    loss = found[0].result.settings.get("loss")
    which = "on clean images" if loss == "ce" else f"under {attack_of(found)}"
    ends = kept(cuts.rises, found, choice.legend)
    show.panels(
        drawn | ends,
        "slices",
        "Loss along a straight line through the weights, one line a run with its band",
        how(
            found,
            f"Mean cross-entropy {which}; 0 is the checkpoint; the same directions for all runs;",
            spread(found, bool(ends)),
        )
        + show.coincide(drawn),
        partial(cut_table, found),
        width=304 if len(drawn | ends) > 2 else 474,
    )


def spread(found: list[Finding], bars: bool) -> str:
    """What bands, bars and thin lines of the slices are, and what measures those that lack."""
    banded = all(
        cuts.banded(a) for f in found for kind in cuts.KINDS if (a := f.array(kind)) is not None
    )
    marks = [word for word, there in (("bands", banded and len(found) <= cuts.MOST_BANDS),
                                      ("bars", bars)) if there]  # fmt: skip
    said = f"{' and '.join(marks).capitalize()}: 95 % over images." if marks else ""
    if banded and len(found) > cuts.MOST_BANDS:
        said = f"At the pointer: 95 % over images; bands with at most {cuts.MOST_BANDS} runs."
    more = [len(a) for f in found if (a := f.array("random_more")) is not None]
    if more:
        said += f" Thin lines: {max(more)} further random directions."
    lacks = [word for word, there in (("no intervals along the curves", banded),
                                      ("one random direction", more)) if not there]  # fmt: skip
    if lacks:
        said += (
            f" These results have {' and '.join(lacks)}; what measures "
            f"{'both' if len(lacks) > 1 else 'more'}: `analyses/loss_landscape.py --directions 3`."
        )
    return said.strip()


def cut_table(found: list[Finding]) -> pd.DataFrame:
    """Each point of the 1-D slices; ``half`` of its rise's interval where that was measured."""
    return pd.DataFrame([
        {"run": f.run, "slice": kind, "distance": float(t), "loss": float(v), "half": float(half)}
        for f in found for kind in cuts.KINDS if (a := f.array(kind)) is not None
        for t, v, half in zip(*a[:2], a[2] if cuts.banded(a) else [np.nan] * len(a[0]),
                              strict=True)
    ])  # fmt: skip


def line(choice: Choice, found: list[Finding]) -> None:
    """From the pretrained weights through the checkpoint and beyond."""
    st.header("On the line from the pretrained weights through the checkpoint", anchor=False)
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
    drawn = kept(landscape.line, found, choice.legend, wanted)
    show.panels(
        drawn,
        "line",
        "Accuracy on the line from the pretrained weights through the checkpoint, one line a run",
        how(
            found,
            f"Top-1 accuracy; dotted: the checkpoint. Under attack: {attack_of(found)};",
            intervals(found, wanted),
        )
        + text(zoom.said(drawn))
        + show.coincide(drawn),
        lambda: pd.DataFrame([
            {"run": f.run, "distribution": n, "t": float(t), "accuracy": float(v)}
            for f in found for n in names if (y := f.array(f"line/{n}")) is not None
            for t, v in zip(f.array("line/t"), y, strict=True)
        ]),
    )  # fmt: skip


def intervals(found: list[Finding], wanted: list[str]) -> str:
    """What the bands are, or where intervals are to be seen where they are none."""
    widest = landscape.widest(found, wanted)
    if not widest:
        return ""
    made = "95 % intervals over images (Wilson; normal for the mean over sets)"
    if len(found) > cuts.MOST_BANDS:
        few = cuts.MOST_BANDS
        return (
            f"At the pointer: {made}, up to ± {widest:.0f} points; bands with at most {few} runs."
        )
    return f"Bands: {made}, up to ± {widest:.0f} points."


@st.fragment
def plane(choice: Choice, found: list[Finding]) -> None:
    """2-D slices: contours, or surfaces for those who want them."""
    planes = [key for key in PLANES if any(f.array(key) is not None for f in found)]
    if not planes:
        st.header("Contours", anchor=False)
        st.info("Measured without --slices contour or plane.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        heading("Contours")
        key = planes[0]
        if len(planes) > 1:
            key = str(
                st.segmented_control(
                    "Plane", planes, default=planes[0], format_func=PLANES.__getitem__,
                    key="landscape_plane", bind="query-params", required=True, width="content",
                    label_visibility="collapsed",
                )
            )  # fmt: skip
        solid = st.toggle(
            "As surfaces",
            key="landscape_surfaces",
            bind="query-params",
            help="3-D. One height axis and one colour scale for all runs.",
        )
    there = [f for f in found if f.array(key) is not None]
    shown = there
    if solid and len(there) > MOST_SCENES:
        st.caption(f"The first {MOST_SCENES} runs: choose others in the sidebar.")
        shown = there[:MOST_SCENES]
    if solid:
        drawn = kept(landscape.surfaces, shown, choice.legend, key)
    else:
        drawn = kept(landscape.contours, shown, choice.legend, key, landscape.HIGH)
        scale.bar(drawn)
    show.panels(
        drawn if solid else scale.barless(drawn),
        f"{'surfaces' if solid else 'contours'}-{key}",
        f"Loss in a plane of the weights: {PLANES[key].lower()}",
        how(there, f"Mean loss; {MEANT[key]};", highest(choice, shown, key, solid)),
        partial(heights, choice, shown, key),
        whole=drawn,
    )


def highest(choice: Choice, found: list[Finding], key: str, solid: bool) -> str:
    """What losses above the scale look like; empty where there are none."""
    fields = landscape.fields(found, choice.legend, key).values()
    if not landscape.above([field.z for field in fields]):
        return ""
    shape = "are cut off at the top" if solid else "have the last colour, ≥ at the end of the bar"
    return f"The highest losses, at most 2 % of all, {shape}."


def heights(choice: Choice, found: list[Finding], key: str) -> pd.DataFrame:
    """The loss at each point of each run's plane."""
    return pd.DataFrame([
        {"run": run, "first": float(x), "second": float(y), "loss": float(z)}
        for run, field in landscape.fields(found, choice.legend, key).items()
        for y, row in zip(field.y, field.z, strict=True)
        for x, z in zip(field.x, row, strict=True)
    ])  # fmt: skip


main()
