"""What an evaluation looks like on a terminal: the table, paired tests."""

from collections.abc import Sequence
from typing import Any

from grace_geom.records import (
    COLUMNS,
    MARK,
    SUITES,
    Accuracy,
    DialPoint,
    DialRecord,
    EvalRecord,
    RecordError,
    attack_text,
    by_level,
    convention_notes,
    headline_attack,
    headline_whole,
    how_intervals,
    is_mean_per_class,
    mcnemar,
    mean_corruption,
    measured_on,
    over_levels,
    set_difference,
    shown,
    strongest,
    summarise,
    uneven,
)
from grace_geom.records.summary import USUAL_EPS
from grace_geom.tables import Cell, Table, percent

TITLES = dict(zip(SUITES, ("ID", "OOD", "Adv", "NatAdv", "ZS"), strict=True))


def accuracy_table(records: Sequence[EvalRecord]) -> Table:
    """Rows are data sets and the columns of the paper, columns are checkpoints."""
    rows: list[list[Cell | str]] = []
    weaker = False
    for some, found in _answers(records):
        label = some.data + (f", {attack_text(some.attack)}" if some.attack else "")
        counts = any(a in counting(r.accuracies) for a, r in zip(found, records, strict=True) if a)
        weaker |= not counts
        cells = [_shown(a) if a else percent(None) for a in found]
        rows.append([TITLES[some.suite], label, str(some.n) + ASIDE * (not counts), *cells])
    apart = uneven([(n, [r.accuracies]) for n, r in zip(names_of(records), records, strict=True)])
    summaries = [summarise(record.accuracies) for record in records]
    for name in COLUMNS:
        means = [s[name] for s in summaries]
        sets = {a.data for r in records for a in r.accuracies if TITLES[a.suite] == name}
        if name in MEANS and any(means) and len(sets) != 1:
            cells = [
                percent(e.value, e.low, e.high).marked(apart.mark(i, name)) if e else percent(None)
                for i, e in enumerate(means)
            ]
            rows.append([name, MEANS[name], "", *cells])
    notes = [*_notes(records), *apart.notes]
    if weaker:
        notes.append(
            f"{ASIDE.strip()} on record, and in no mean: the same set was measured on more images, "
            "or under the attack that Adv stands for."
        )
    return Table(["", "data", "images", *names_of(records)], rows, labels=3, notes=notes)


def _shown(a: Accuracy) -> Cell:
    """The data set's usual number, marked where that is not top-1 accuracy."""
    e = shown(a)
    return percent(e.value, e.low, e.high).marked(BY_CLASS if is_mean_per_class(a) else "")


def counting(accuracies: Sequence[Accuracy]) -> list[Accuracy]:
    """Those that a summary is made of; an attack of several parts counts by one. Adversarial images
    of other checkpoints, which are in no mean, come before the attack that is.
    """
    aside = [a for a in strongest(accuracies) if a.attack is None or a.transferred]
    return aside + headline_whole(accuracies)


def each_attack(accuracies: Sequence[Accuracy]) -> list[Accuracy]:
    """Those of :func:`counting`, and every other attack on the same images."""
    chosen = {(a.suite, a.data, a.sample) for a in headline_attack(accuracies)}
    return [
        a for a in strongest(accuracies)
        if a.attack is None or a.transferred or (a.suite, a.data, a.sample) in chosen
    ]  # fmt: skip


def _answers(records: Sequence[EvalRecord]) -> list[tuple[Accuracy, list[Accuracy | None]]]:
    """One row for each question and sample: one of its answers, and the answer of each record."""
    found: dict[Any, Accuracy] = {}
    for record in records:
        for accuracy in record.accuracies:
            found.setdefault((accuracy.question, accuracy.sample), accuracy)
    order = sorted(found.items(), key=lambda item: (SUITES.index(item[1].suite), item[1].data))
    return [
        (some, [next((a for a in r.accuracies if (a.question, a.sample) == key), None)
                for r in records])
        for key, some in order
    ]  # fmt: skip


def corruption_table(records: Sequence[EvalRecord]) -> Table | None:
    """Sets that have parts (ImageNet-C), by corruption and severity; ``None`` where there is
    none."""
    rows: list[list[Cell | str]] = []
    found = [
        (name, a.data, by_level([a]))
        for name, record in zip(names_of(records), records, strict=True)
        for a in strongest(record.accuracies)
        if a.groups and a.attack is None
    ]
    levels = sorted({level for _, _, some in found for one in some.values() for level in one})
    for name, data, some in found:
        for corruption, one in some.items():
            cells = [percent(one.get(level)) for level in levels]
            rows.append([name, data, corruption, *cells, percent(over_levels(some)[corruption])])
        means = [[one[level] for one in some.values() if level in one] for level in levels]
        cells = [percent(sum(m) / len(m)) if m else percent(None) for m in means]
        rows.append([name, data, "mean", *cells, percent(mean_corruption(some))])
    if not rows:
        return None
    notes = [
        "Top-1 accuracy in %; intervals are in eval.json. Last of all stands the mean corruption "
        "accuracy: every corruption counts the same, and every severity within it; a part that --n "
        "drew no image from does not count."
    ]
    return Table(
        ["", "data", "corruption", *levels, "mean"], rows, 3, "By corruption and severity", notes
    )


ASIDE = " ‡"
BY_CLASS = "§"
MEANS = {
    "OOD": "mean",
    "NatAdv": "mean",
    "ZS": "mean",
    "HM": "of ID, OOD, Adv",
    "OOD'": "(OOD + ZS) / 2",
    "Adv'": "(Adv + NatAdv) / 2",
    "HM'": "of ID, OOD', Adv'",
}


def paired_table(records: Sequence[EvalRecord]) -> Table | None:
    """Every other checkpoint against the first on the same images; ``None`` where nothing can be
    paired.
    """
    rows: list[list[Cell | str]] = []
    for some, (first, *others) in _answers(records):
        cells = [_paired(other, first) for other in others]
        if any(cell.value is not None for cell in cells):
            rows.append([TITLES[some.suite], some.data, *cells])
    if not rows:
        return None
    first_name, *names = names_of(records)
    title = f"Difference to {first_name} on the same images, points (p of McNemar's exact test)"
    marked = any(BY_CLASS in cell.full for row in rows for cell in row if isinstance(cell, Cell))
    note = (
        f"{BY_CLASS} of mean per-class accuracies: an image weighs 1 / (classes x images of its "
        "class), and p is that of the interval over images, class by class."
    )
    return Table(["", "data", *names], rows, labels=2, title=title, notes=[note] * marked)


def _paired(a: Accuracy | None, b: Accuracy | None) -> Cell:
    if a is None or b is None or not a.paired_with(b):
        return percent(None)
    if is_mean_per_class(a) or is_mean_per_class(b):
        found = set_difference(a, b)
        if found is None:
            return percent(None)
        text = f"{100 * found.value:+.1f} (p {found.p:.2g})"
        return Cell(text, value=found.value).marked(BY_CLASS)
    try:
        test = mcnemar(a.right(), b.right())
    except RecordError:  # a record without outcomes for each image has only its totals
        return percent(None)
    return Cell(f"{100 * test.difference:+.1f} (p {test.p:.2g})", value=test.difference)


def names_of(records: Sequence[EvalRecord]) -> list[str]:
    """The runs' names, with six digits of the checkpoint where two are called the same."""
    names = [record.run for record in records]
    unique = [f"{record.run} {record.checkpoint[:6]}" for record in records]
    return [
        name if names.count(name) == 1 else other for name, other in zip(names, unique, strict=True)
    ]


def _notes(records: Sequence[EvalRecord]) -> list[str]:
    every = [a for record in records for a in record.accuracies]
    columns = [e for r in records for e in summarise(r.accuracies).values()]
    notes = [f"Top-1 accuracy in %, {how_intervals(columns)}."]
    sizes = {
        (s["image_size"], s["model_image_size"])
        for r in records
        if "model_image_size" in (s := r.settings)
    }
    notes += [
        f"Images of {shown} x {shown} pixels, in which ε is measured; the model resizes them to "
        f"{own} x {own} inside."
        for shown, own in sorted(sizes)
        if shown != own
    ]
    notes += convention_notes(every, BY_CLASS)
    attacks = sorted(
        {attack_text(a.attack) for record in records for a in headline_attack(record.accuracies)}
    )
    if attacks:
        notes.append(f"Adv in HM: {'; '.join(attacks)}.")
    notes += _radii(records)
    drawn = [a for a in every if a.subset.get("of", a.n) > a.n]
    if drawn:
        sets = sorted({f"{a.n} of {a.subset['of']} ({TITLES[a.suite]})" for a in drawn})
        notes.append(
            f"Subsets of images: {', '.join(sets)}; seeded, ids in eval.json; --n and --n-attack "
            "change them."
        )
    texts = sorted({a.data for a in every if a.suite != "zeroshot" and a.head.startswith("text")})
    if texts:
        notes.append(
            f"{', '.join(texts)}: read with a text head of its own, the checkpoint's head lacks "
            "its classes."
        )
    return notes + sorted({note for a in every for note in a.notes})


def _radii(records: Sequence[EvalRecord]) -> list[str]:
    """Which of several radii ``Adv`` counts, in another norm than the maximum norm."""
    norms = {
        str(attack.get("norm", "linf"))
        for r in records
        for a in headline_attack(r.accuracies)
        if (attack := a.attack) is not None
    }
    return [
        f"Of several radii in {norm}, Adv counts {USUAL_EPS[norm]:g}, or else the largest."
        for norm in sorted(norms & USUAL_EPS.keys())
    ]


def dial_table(record: DialRecord, ts: Sequence[float]) -> Table:
    """Rows are these values of t, columns the held-out scores and those of the paper; the chosen t
    has a star.
    """
    points = [point for point in record.points if point.t in ts]
    summaries = [summarise(point.accuracies) for point in points]
    shown = [name for name in COLUMNS if any(summary[name] for summary in summaries)]
    scores = next((tuple(strongest(p.held_out)) for p in points if p.held_out), ())
    heads = [f"held-out {attack_text(a.attack, 'name')}".strip() for a in scores]
    rows: list[list[Cell | str]] = []
    apart = uneven([(f"t = {p.t:g}", [p.accuracies]) for p in points], shown)
    for i, (point, summary) in enumerate(zip(points, summaries, strict=True)):
        held_out = {a.question: a for a in strongest(point.held_out)}
        cells = [
            percent(a.accuracy, a.ci_low, a.ci_high).marked("" if a.sample == s.sample else MARK)
            if (a := held_out.get(s.question))
            else percent(None)
            for s in scores
        ]
        cells += [
            percent(e.value, e.low, e.high).marked(apart.mark(i, name))
            if (e := summary[name])
            else percent(None)
            for name in shown
        ]
        rows.append([f"{point.t:g}" + " *" * (point.t == record.chosen), *cells])
    notes = ["t = 0: the pretrained model; t = 1: this run. 95 % intervals from image counts."]
    if record.chosen is not None:
        before = "" if record.chosen in ts else " (measured before)"
        notes.append(f"* t = {record.chosen:g}{before} has the highest {record.chosen_by}.")
    notes += convention_notes(a for p in points for a in p.accuracies)
    if any(is_mean_per_class(a) for p in points for a in p.held_out):
        notes.append("Held-out numbers, by which t is chosen, are top-1 accuracies.")
    attacks = {attack_text(a.attack) for p in points for a in headline_attack(p.accuracies)}
    notes += [*(f"Adv: {attack}." for attack in sorted(attacks)), *_stronger(points), *apart.notes]
    if any(MARK in cell.full for row in rows for cell in row if isinstance(cell, Cell)):
        notes.append(f"{MARK} on other images than the rest of its column.")
    return Table(["t", *heads, *shown], rows, title=f"{record.run} ({record.method})", notes=notes)


def _stronger(points: Sequence[DialPoint]) -> list[str]:
    """Which of several measurements of one set the numbers are of, in a line; none where each set
    was measured once.
    """
    found: dict[str, None] = {}
    for p in points:
        used = {(a.suite, a.data): a for a in counting(p.accuracies)}
        for a in p.accuracies:
            if (best := used.get((a.suite, a.data))) is not None and best != a:
                name = f"{TITLES[a.suite]} {a.data}"
                found[f"{name} on {measured_on(best)}, not {measured_on(a)}"] = None
    if not found:
        return []
    rule = "Of one set, what was measured on more images, or under the attack that Adv stands for, counts"
    return [f"{rule}: {'; '.join(found)}."]
