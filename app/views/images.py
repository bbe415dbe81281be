"""Which images does one checkpoint get right and another wrong?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app import classes, shell, show, store, wall
from app.details import heading
from app.head import unbroken
from app.measured import attack_of, measured
from app.pair import TwoRuns, answer, chosen, of_pictures
from app.shell import Choice, text
from app.wall import Reply, Shot
from grace_geom.plots import pictures, robustness, strips
from grace_geom.plots.pictures import Picture, Seen
from grace_geom.plots.variants import cut, in_quotes
from grace_geom.records import Finding

# On a telephone two controls share a row, so that the first images are in sight.
PAIRED = ("images_right", "images_class")
NARROW = (
    f"@media(max-width:640px){{{','.join(f'.st-key-{key}' for key in PAIRED)}"
    "{flex:0 0 calc(50% - .5rem)!important}}}"
)
IN_STRIP = 8  # images of the first row
AT_FIRST = 12  # images before anybody has asked for all of them
ONLY_FIRST, ONLY_SECOND, BOTH, NEITHER = "only Against", "only Run", "both", "neither"
KINDS = ("all", "they differ", ONLY_FIRST, ONLY_SECOND, BOTH, NEITHER)


def main() -> None:
    """Answer, the images that tell the two apart, classes, all images, confusion."""
    choice = shell.page("Which images does one checkpoint get right and another wrong?")
    top, first = st.container(horizontal=True, vertical_alignment="bottom"), st.container()
    with st.container():  # what was not measured is said below the first figures
        found = {
            f.run: f for f in measured(choice, "image_gallery", ("shown", "shown_ood", "pixels"))
        }
    with top:
        place = st.container(width="content")
        pair = chosen(choice, found)
    shell.answer(answer(pair))
    known = {i: pictures.pictures(found[i]) for i in pair.ids if i in found}
    examples = {} if known else _examples(choice)
    turned = {run: examples[run] for run in pair.ids if run in examples}
    with place:
        own = _own_attack(pair, [found[i] for i in known])
        _heading(pair, len(known), bool(turned), own)
    with first:
        if known:
            _strip(pair, [found[i] for i in known], known)
        elif turned:
            _turned(pair, turned)
        classes.by_class(pair, headed=bool(known or turned))
    if known:
        _gallery(pair, [found[i] for i in known], known)
    elif examples and not turned:
        others = ", ".join(f"**{text(choice.names[run])}**" for run in examples)
        st.info(
            f"The robustness curve kept images of neither run, but of {others}: choose one above."
        )
    classes.confusions(pair)


TURNED = "Which images did the attack turn?"


def _examples(choice: Choice) -> dict[str, list[tuple[np.ndarray, str, str]]]:
    """The images that ``robustness_curve`` has kept, by run."""
    found, _ = store.findings("robustness_curve", choice.single, choice.root)
    return {f.run: triples for f in found if (triples := robustness.examples(f))}


def _own_attack(pair: TwoRuns, found: Sequence[Finding]) -> str:
    """What attack the pictures are of, where it is another one than that of the question."""
    asked = next((a.attack for a in pair.asked if a.attack), None)
    return of_pictures(asked, found[0].result.settings) if found else ""


def _heading(pair: TwoRuns, known: int, turned: bool, own: str) -> None:
    """Of the first figure, beside the controls; none where there is no such figure. The attack is
    named where the sentence above is about another one.
    """
    if known and own:
        heading(f"Pictures, under {own}")
    elif known > 1:
        heading(
            "The attack turns these at one run only"
            if pair.attacked
            else "One run gets these wrong"
        )
    elif known or turned:
        heading(TURNED)
    elif len(pair.asked) > 1:
        heading(classes.HEADING)


def _strip(
    pair: TwoRuns, found: Sequence[Finding], known: Mapping[str, Mapping[str, Picture]]
) -> None:
    """One row of images on which the two differ, in turn of those that the one and the other gets
    right; of a single run, those that the attack turned.
    """
    ids = _ids(pair, known)
    if len(known) > 1:
        sides = [
            [i for i in ids if _is(kind, pair, known, i)] for kind in (ONLY_SECOND, ONLY_FIRST)
        ]
        said = ", ".join(
            f"{shell.called(pair.name(n))} alone is right on {len(side)}"
            for n, side in zip((1, 0), sides, strict=True)
        )
    else:
        own = next(iter(known.values()))
        sides = [[i for i in ids if own[i].clean.right and not own[i].adv.right]]
        said = f"the attack turned {len(sides[0])}"
    longest = max(map(len, sides))
    mixed = [side[n] for n in range(longest) for side in sides if n < len(side)][:IN_STRIP]
    if mixed:
        wall.cards(
            {_headed(_of(known, i)): _shots(pair, known, i) for i in mixed},
            told={_headed(_of(known, i)): _told(pair, known, i) for i in mixed},
            heads=("on clean", "on attacked"), row="Images on which the two differ",
        )  # fmt: skip
    runs = "; attacked at 1, at 2: made to fool the run of that number" if len(known) > 1 else ""
    hard = (
        "; hard: wrong for the pretrained model" if any(_of(known, i).hard for i in mixed) else ""
    )
    st.caption(unbroken(
        f"Of {len(ids)} pictures {said}, attacked by {attack_of(found)}, at each run on its "
        f"own. Numbers: margin, the logit of the label less the best other; ✓ right, ✗ "
        f"wrong{runs}{hard}."
    ))  # fmt: skip


def _ids(pair: TwoRuns, known: Mapping[str, Mapping[str, Picture]]) -> list[str]:
    """The images of the asked set that all runs have, those first on which they differ."""
    first = next(iter(known.values()))
    return [i for i in pictures.shared(known) if first[i].set == pair.set]


def _gallery(
    pair: TwoRuns, found: Sequence[Finding], known: Mapping[str, Mapping[str, Picture]]
) -> None:
    """The images that both have, those first on which they differ, and one of them large."""
    st.header("All pictures, by who is right", anchor=False)
    ids = _ids(pair, known)
    if not ids:
        st.info("The gallery holds no image of this set that both runs have.")
        return
    kinds = {kind: [i for i in ids if _is(kind, pair, known, i)] for kind in KINDS}
    st.html(f"<style>{NARROW}</style>")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        there = [kind for kind in KINDS if kinds[kind] and (len(known) > 1 or kind == "all")]
        kind = st.selectbox(
            "Who is right", there, key="images_right", width=200,
            bind="query-params", filter_mode="contains",
        )  # fmt: skip
        labels = sorted({next(iter(known.values()))[i].label for i in kinds[kind]})
        only = st.selectbox(
            "Class", ["every class", *labels], key="images_class", width=200,
            bind="query-params", filter_mode="contains",
        )  # fmt: skip
        kept = [i for i in kinds[kind] if only in ("every class", _of(known, i).label)]
        every = len(kept) > AT_FIRST and st.toggle(
            f"All {len(kept)}", key="images_all", bind="query-params"
        )
    s = found[0].result.settings
    _walls(pair, known, kept if every else kept[:AT_FIRST], kept)
    st.caption(
        f"Every run has the same pictures (seed {shell.inline(s.get('seed'))}).{_hard(pair, known)}"
    )
    _large(pair, known, kept)


def _hard(pair: TwoRuns, known: Mapping[str, Mapping[str, Picture]]) -> str:
    """How many pictures were chosen because they are hard, and what follows from that."""
    ids = _ids(pair, known)
    hard = sum(_of(known, i).hard for i in ids)
    if not hard:
        return ""
    return (
        f" The pretrained model gets {hard} of these {len(ids)} wrong: hard ones are sought out, so "
        "shares of pictures are not accuracies."
    )


def _walls(
    pair: TwoRuns,
    known: Mapping[str, Mapping[str, Picture]],
    ids: Sequence[str],
    every: Sequence[str],
) -> None:
    """Cards of some images under a heading for each answer: who alone is right, neither, both; and
    of how many of ``every`` one that is so.
    """
    for kind in (ONLY_FIRST, ONLY_SECOND, NEITHER, BOTH):
        mine = [i for i in ids if _is(kind, pair, known, i)]
        if not mine:
            continue
        if len(known) > 1:
            alike = sum(_is(kind, pair, known, i) for i in every)
            st.markdown(f"**{_who(kind, pair)}**: {alike} of {len(every)} pictures")
        wall.cards(
            {_headed(_of(known, i)): _shots(pair, known, i) for i in mine},
            told={_headed(_of(known, i)): _told(pair, known, i) for i in mine},
            heads=("on clean", "on attacked"),
        )  # fmt: skip
    if len(ids) < len(every):
        st.caption(f"{len(ids)} of {len(every)} are shown, those first on which the two differ.")


def _who(kind: str, pair: TwoRuns) -> str:
    """Who is right, as a heading in Markdown."""
    names = [text(in_quotes(pair.name(i))) for i in range(len(pair.runs))]
    known = {ONLY_FIRST: f"Only {names[0]} is", ONLY_SECOND: f"Only {names[-1]} is"}
    said = known.get(kind, "Both are" if kind == BOTH else "Neither is")
    return f"{said} right {'under attack' if pair.attacked else 'without attack'}"


def _told(pair: TwoRuns, known: Mapping[str, Mapping[str, Picture]], id: str) -> list[Reply]:
    """What each run takes an image for, clean and attacked."""
    at = [(i, known[run][id]) for i, run in enumerate(pair.ids) if run in known]
    return [
        Reply(
            _numbered(n, pair.name(i), len(at)), pair.color(i),
            [(_mark(seen), seen.right) for seen in (p.clean, p.adv)],
        )
        for n, (i, p) in enumerate(at, 1)
    ]  # fmt: skip


def _numbered(n: int, name: str, of: int) -> str:
    return f"{n} {cut(name)}" if of > 1 else cut(name)


def _of(known: Mapping[str, Mapping[str, Picture]], id: str) -> Picture:
    return next(iter(known.values()))[id]


def _headed(p: Picture) -> str:
    return f"{p.label}, no. {p.index}" + (", hard" if p.hard else "")


def _is(kind: str, pair: TwoRuns, known: Mapping[str, Mapping[str, Picture]], id: str) -> bool:
    """Whether an image is of a kind, attacked or clean as the question is."""
    right = [(own[id].adv if pair.attacked else own[id].clean).right for own in known.values()]
    one, other = right[0], right[-1]
    return {
        "all": True, "they differ": one != other, ONLY_FIRST: one and not other,
        ONLY_SECOND: other and not one, BOTH: one and other, NEITHER: not one and not other,
    }[kind]  # fmt: skip


def _mark(seen: Seen) -> str:
    return f"{'✓' if seen.right else '✗'} {seen.names[0]} {_margin(seen.margin)}"


def _margin(value: float) -> str:
    return f"{value:+.{1 if abs(value) >= 0.05 else 2}f}".replace(
        "-", "−"
    )  # its sign is the answer


def _shots(pair: TwoRuns, known: Mapping[str, Mapping[str, Picture]], id: str) -> list[Shot]:
    """The clean image, then what each run's attack made of it."""
    at = [(i, known[run][id]) for i, run in enumerate(pair.ids) if run in known]
    first = at[0][1]
    shots = [Shot(first.clean.pixels, "clean", f"{first.label}, clean")]
    for n, (i, p) in enumerate(at, 1):
        alt = f"{p.label}, attacked at {pair.name(i)}, taken for {p.adv.names[0]}"
        head = f"attacked at {n}" if len(at) > 1 else "attacked"
        shots.append(Shot(p.adv.pixels, head, alt))
    return shots


def _large(pair: TwoRuns, known: Mapping[str, Mapping[str, Picture]], ids: Sequence[str]) -> None:
    """One image: perturbation, saliency, attention and the likeliest classes, a run a row."""
    st.header("One image: where does each checkpoint look?", anchor=False)
    if not ids:
        return
    id = st.selectbox(
        "Image", ids, key="images_image", width=300, bind="query-params", filter_mode="contains",
        format_func=lambda i: _headed(_of(known, i)),
    )  # fmt: skip
    for i, run in enumerate(pair.ids):
        if run not in known:
            continue
        p = known[run][id]
        with st.container(horizontal=True, gap="medium"):
            with st.container(width=4 * (wall.LEAST + wall.GAP) + 2):  # rows of four
                wall.cards({pair.name(i): _looks(p)})
            with st.container(width=320):
                figure = pictures.likeliest(p, pair.color(i), pair.choice.ground)
                alt = f"Likeliest classes of the image at {pair.name(i)}, clean and attacked"
                show.chart(figure, f"likeliest-{i}", alt)
    st.caption(
        f"Perturbation × {strips.MAGNIFIED} around grey. Saliency: |∂ cross-entropy / ∂ pixel|, the "
        "largest channel, averaged over noisy copies (SmoothGrad) before the absolute value; white "
        "is the 99 % quantile of each map. Attention: cosine of each patch with the text of the "
        "label. Rollout: what the class token hears of each patch through all blocks, attention "
        "averaged over heads and half of each block passed on (Abnar and Zuidema 2020). Both are "
        "scaled to the image, and of plain ViTs only. Hollow: clean; full: attacked; bold: the label."
    )
    looks = {
        (run, side): getattr(known[run][id], side) for run in known for side in ("clean", "adv")
    }
    show.downloads(None, "image", lambda: pd.DataFrame([
        {"run": run, "image": side, "class": name, "probability": p}
        for (run, side), seen in looks.items()
        for name, p in zip(seen.names, seen.p, strict=True)
    ]))  # fmt: skip


def _looks(p: Picture) -> list[Shot]:
    what = f"{p.label}, no. {p.index}"
    shots = [
        Shot(p.magnified, f"perturbation × {strips.MAGNIFIED}", f"perturbation of {what}"),
        Shot(p.adv.pixels, "attacked", f"{what}, attacked", [(_mark(p.adv), "")]),
    ]
    sides = (("clean", p.clean), ("attacked", p.adv))
    for word, seen in sides:
        head = "saliency" if word == "clean" else "… attacked"
        shots.append(Shot(pictures.coloured(seen.saliency), head, f"saliency of {what}, {word}"))
    for name in ("attention", "rollout"):
        for word, seen in sides:
            if (map := getattr(seen, name)) is not None:
                head = name if word == "clean" else "… attacked"
                over = pictures.over(seen.pixels, map)
                shots.append(Shot(over, head, f"{name} of {what}, {word}"))
    return shots


def _turned(pair: TwoRuns, known: Mapping[str, Sequence[tuple[np.ndarray, str, str]]]) -> None:
    """Where no gallery was measured: the images that ``robustness_curve`` has kept of the two."""
    for run, triples in known.items():
        st.markdown(f"Images that the attack turned at **{text(pair.choice.names[run])}**")
        shots = {
            f"{i}. {before} → {after}": [Shot(x, "", f"{before}, attacked: taken for {after}")]
            for i, (x, before, after) in enumerate(triples, 1)
        }
        wall.cards(shots, least=200)
    st.caption(
        "Kept with the robustness curve, at each run other ones: clean, the perturbation × "
        f"{strips.MAGNIFIED} on grey, attacked."
    )


main()
