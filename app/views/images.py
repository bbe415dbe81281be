"""Which images does one checkpoint get right and another wrong?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app import shell, show, store, wall
from app.measured import attack_of, measured
from app.pair import TwoRuns, answer, chosen, lacking, title
from app.shell import text
from app.wall import Reply, Shot
from grace_geom.plots import confusion, pictures, robustness, strips
from grace_geom.plots.pictures import Picture, Seen
from grace_geom.records import Finding, RecordError

# On a telephone two controls share a row, so that the first images are in sight.
PAIRED = ("images_run", "images_other", "images_right", "images_class")
NARROW = (
    f"@media(max-width:640px){{{','.join(f'.st-key-{key}' for key in PAIRED)}"
    "{flex:0 0 calc(50% - .5rem)!important}}"
)
WALL = 128  # pixels of a picture on the wall, where the screen has room
AT_FIRST = 12  # images before anybody has asked for all of them
ONLY_FIRST, ONLY_SECOND, BOTH, NEITHER = "only Against", "only Run", "both", "neither"
KINDS = ("all", "they differ", ONLY_FIRST, ONLY_SECOND, BOTH, NEITHER)


def main() -> None:
    """Answer, images, classes, confusion."""
    choice = shell.page("Which images does one checkpoint get right and another wrong?")
    place = st.container()
    pair = chosen(choice)
    with place:
        shell.answer(answer(pair))
    found = {f.run: f for f in measured(choice, "image_gallery", ("shown", "shown_ood", "pixels"))}
    known = {i: pictures.pictures(found[i]) for i in pair.ids if i in found}
    if known:
        _gallery(pair, [found[i] for i in known], known)
    _by_class(pair)
    if not known:
        _turned(pair)
    _confusion(pair)


def _gallery(
    pair: TwoRuns, found: Sequence[Finding], known: Mapping[str, Mapping[str, Picture]]
) -> None:
    """The images that both have, those first on which they differ, and one of them large."""
    ids = [i for i in pictures.shared(known) if next(iter(known.values()))[i].set == pair.set]
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
        classes = sorted({next(iter(known.values()))[i].label for i in kinds[kind]})
        only = st.selectbox(
            "Class",
            ["every class", *classes],
            key="images_class",
            width=200,
            bind="query-params",
            filter_mode="contains",
        )
        kept = [i for i in kinds[kind] if only in ("every class", _of(known, i).label)]
        every = len(kept) > AT_FIRST and st.toggle(
            f"All {len(kept)}", key="images_all", bind="query-params"
        )
    s = found[0].result.settings
    _walls(pair, known, kept if every else kept[:AT_FIRST], kept)
    st.caption(
        "Behind each prediction stands its margin: the logit of the label less the best other; ✓ "
        f"right, ✗ wrong. Attacked by {attack_of(found)}, at each run on its own. The same pictures "
        f"for every run, chosen by their digest (seed {shell.inline(s.get('seed'))}), half "
        "of them hard, that is wrong for the pretrained model, where there are so many: their shares "
        "are no accuracies."
    )
    _large(pair, known, kept)


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
            {_headed(_of(known, i)): _shots(pair, known, i) for i in mine}, WALL,
            {_headed(_of(known, i)): _told(pair, known, i) for i in mine}, ("clean", "attacked"),
        )  # fmt: skip
    if len(ids) < len(every):
        st.caption(f"{len(ids)} of {len(every)} are shown, those first on which the two differ.")


def _who(kind: str, pair: TwoRuns) -> str:
    """Who is right, as a heading in Markdown."""
    names = [text(pair.name(i)) for i in range(len(pair.runs))]
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
    return f"{n} {name}" if of > 1 else name


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
    return f"{value:+.1f}".replace("-", "−")


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


def _turned(pair: TwoRuns) -> None:
    """Where no gallery was measured: the images that ``robustness_curve`` has kept of the two."""
    choice = pair.choice
    found, _ = store.findings("robustness_curve", choice.single, choice.root)
    known = {f.run: triples for f in found if (triples := robustness.examples(f))}
    if not known:
        return
    st.header("Which images did the attack turn?", anchor=False)
    own = [run for run in pair.ids if run in known]
    if not own:
        others = ", ".join(f"**{text(choice.names[run])}**" for run in known)
        st.info(
            f"The robustness curve kept images of neither run, but of {others}: choose one above."
        )
        return
    for run in own:
        st.markdown(f"Images that the attack turned at **{text(choice.names[run])}**")
        shots = {
            f"{i}. {before} → {after}": [Shot(x, "", f"{before}, attacked: taken for {after}")]
            for i, (x, before, after) in enumerate(known[run], 1)
        }
        wall.cards(shots, least=200)
    st.caption(
        "Kept with the robustness curve, at each run other ones: clean, the perturbation × "
        f"{strips.MAGNIFIED} on grey, attacked."
    )


def _by_class(pair: TwoRuns) -> None:
    """Classes on which one of two gains."""
    if len(pair.asked) < 2:
        return
    st.header("Class by class: who is right alone?", anchor=False)
    try:
        found = confusion.split(*pair.asked)
    except RecordError:
        st.info(lacking(pair.asked[0], "of which class each is, or who is right"))
        return
    first, second = pair.ids
    fewer = len(found.shown()) < int((found.n > 0).sum())
    many = " The classes on which the two differ most." if fewer else ""
    show.figure(
        confusion.by_class(found, (first, second), pair.choice.legend),
        "classes-apart",
        "Bars to either side of zero: images of each class that only one of two runs gets right",
        f"{text(title(pair.asked[0]))}, {pair.asked[0].n} images, of each class "
        f"{_few(found.n)}: with so few, single classes differ by chance; the sentence above has the "
        f"interval over all of them.{many}",
        lambda: pd.DataFrame(
            {"class": found.names, "images": found.n, f"only {pair.name(0)}": found.only_a,
             f"only {pair.name(1)}": found.only_b, "both": found.both}
        ),
        "The two are right on the same images.",
    )  # fmt: skip


def _few(n: np.ndarray) -> str:
    there = n[n > 0]
    return f"{there.min()}" if there.min() == there.max() else f"{there.min()} to {there.max()}"


def _confusion(pair: TwoRuns) -> None:
    """What classes are taken for."""
    if not pair.asked:
        return
    st.header("What is taken for what?", anchor=False)
    named = list(zip(pair.ids, pair.asked, strict=True))
    try:
        drawn = confusion.matrices(named, pair.choice.legend)
        rows = confusion.mistakes(pair.asked)
    except RecordError:
        st.info(lacking(pair.asked[0], "what each is taken for"))
        return
    frame = pd.DataFrame(
        [
            {"label": label, "taken for": other, "images": n}
            | {pair.name(i): count for i, count in enumerate(counts)}
            for label, other, n, counts in rows
        ]
    )
    show.panels(
        drawn,
        "confusion",
        "Heat map of the share of each class (row) that is taken for each class (column)",
        f"{text(title(pair.asked[0]))}; in percent of the class. Under attack: predictions for the "
        "attacked images. In the difference blue is more, red less.",
        lambda: frame,
        width=400,
    )
    if len(frame):
        st.dataframe(frame, hide_index=True, height="content", alt="The commonest mistakes")
        st.caption("The commonest mistakes, in images.")


main()
