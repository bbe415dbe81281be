"""Every printed figure at several numbers of runs, and what is wrong with its letters:
``python -m tests.plots.contact FOLDER OUT [--counts 1,2,5,7,12] [--only NAME]``

FOLDER holds results of analyses, such as ``gallery/analyses`` of :mod:`tests.app.gallery`. Each
figure is drawn as the analyses draw it; OUT gets a PNG each, and the faults are printed.
"""

import argparse
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from grace_geom.analyses import ANALYSES, drawing
from grace_geom.plots import static, units
from grace_geom.plots.legend import Identity, Legend
from grace_geom.plots.tradeoff import tradeoffs
from grace_geom.plots.variants import of_label, shortened
from grace_geom.records import Estimate, Finding, Result
from grace_geom.study.figure import COLUMNS

METHODS = (
    "zero-shot", "ft", "lora", "at", "grace", "tecoa", "fare", "pmg-aft", "trades", "lora-mix-at",
    "vpt-pmg-aft", "tga-zsr",
)  # fmt: skip
PAGE = 7.0


VARIANTS = tuple(
    f"grace:task={task}:adv_at={at}:adapter={adapter}:gv=on:gv_form=spread"
    for task in ("off", "on") for at in ("current", "perturbed", "both")
    for adapter in ("full", "lora")
)  # fmt: skip
RAW = re.compile(
    r"resblocks|in_proj|c_fc|c_proj|_weight\b|\w+=(on|off)\b.*:|lambda_|:\w+=|: ce\b|: visual\b"
)
"""Names of weights, of keys and of options, as records and labels have them."""


def figures(result: Result, count: int, variants: bool = False) -> Mapping[str, go.Figure]:
    """The figures of an analysis as if ``count`` runs had been measured: numbers repeat.

    Args:
        result: Of real runs.
        count: Of runs.
        variants: Of one method, whose labels hold many options, in the place of methods.
    """
    labels = [label for label, part in result.parts.items() if not part.not_measured]
    runs = VARIANTS[:count] if variants else [f"{method}-s0" for method in METHODS[:count]]
    found = [Finding(run, result, labels[i % len(labels)]) for i, run in enumerate(runs)]
    who = {run: Identity.of_label(run.removesuffix("-s0"), 0) for run in runs}
    known = {run: of_label(run) if variants else None for run in runs}
    called = shortened(known, {run: run for run in runs})
    legend = replace(Legend.of(who, called.names), said=called.said)
    return drawing(result.name)(found, legend)


def compared(count: int, spread: float = 0.3, seed: int = 0) -> go.Figure | None:
    """The trade-off of ``compare`` with made-up accuracies, some of them close together, all within
    ``spread`` of 0.6.
    """
    draws = 0.6 + np.random.default_rng(seed).uniform(-spread, spread, (count, 3))
    draws = draws.round(1) if spread == 0.3 else draws
    estimates = {
        method: {
            c: Estimate(v, 0.01, v - 0.02, v + 0.02) for c, v in zip(COLUMNS, row, strict=True)
        }
        for method, row in zip(METHODS, draws, strict=False)
    }
    names = {method: method for method in estimates}
    legend = Legend.of({method: Identity.of_label(method) for method in names}, names)
    ys = (("Adv", "Accuracy under APGD-CE (%)"), ("OOD", "OOD accuracy (%), mean over sets"))
    x = ("ID", "ID accuracy (%)")
    return tradeoffs(estimates, legend, x, ys, note="bars: 95 % intervals; n = 300")


def faults(made: Figure) -> list[str]:
    """Letters that leave the sheet, or lie over others or over a legend."""
    made.draw_without_rendering()
    boxes = [(text.get_text(), _extent(text)) for text in _texts(made)]
    keys = [("the legend", legend.get_window_extent()) for legend in made.legends]
    found = [f"{name!r} leaves the sheet" for name, box in [*boxes, *keys] if _outside(box, made)]
    for (one, a), (other, b) in itertools.combinations([*boxes, *keys], 2):
        over = Bbox.intersection(a, b)
        if over is not None and min(over.width, over.height) > 1.5:
            found.append(f"{one!r} lies over {other!r}")
    found += [f"{name!r} is a raw name" for name, _ in boxes if RAW.search(name)]
    return found


def doubtful(made: Figure) -> list[str]:
    """Names beside points, such as those of :func:`compared`, that lie over another point or are
    nearer to it than to their own without a line to that; and lines through other points.
    """
    made.draw_without_rendering()
    found = []
    for ax in made.axes:
        names = [text for text in ax.texts if isinstance(text, Annotation) and text.get_text()]
        places = [(name, ax.transData.transform(name.xy)) for name in names]
        radius = 5.5 * units.POINTS / 72 * made.dpi
        for name, own in places:
            box = _extent(name)
            for other in (at for _, at in places if not np.allclose(at, own, atol=0.5)):
                away = _gap(box, other)
                if away < radius or (name.arrow_patch is None and away < _gap(box, own)):
                    found.append(f"{name.get_text()!r} stands at another point")
                middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
                along = own + np.linspace(0, 1, 50)[:, None] * (middle - own)
                apart = np.hypot(*(own - other)) > 2 * radius
                if name.arrow_patch and apart and np.hypot(*(along - other).T).min() < radius:
                    found.append(f"the line of {name.get_text()!r} runs through another point")
    return found


def _gap(box: Bbox, at: np.ndarray) -> float:
    """Pixels between a box and a point."""
    x, y = at
    return float(np.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)))


def _texts(made: Figure) -> Iterator[Text]:
    """What is written outside of legends and inside the sheet: titles, labels, ticks, notes."""
    yield from (text for text in made.texts if text.get_text())
    for ax in made.axes:
        yield from (text for text in ax.texts if text.get_text() and text.get_visible())
        which = ("xaxis", "yaxis", "zaxis") if hasattr(ax, "zaxis") else ("xaxis", "yaxis")
        for axis in (getattr(ax, name) for name in which):
            if not axis.get_visible() or not ax.axison:
                continue
            yield from (text for text in (axis.label, axis.get_offset_text()) if text.get_text())
            for tick in axis._update_ticks():
                yield from (
                    label for label in (tick.label1, tick.label2)
                    if label.get_visible() and label.get_text()
                )  # fmt: skip


def _extent(text: Text) -> Bbox:
    return Text.get_window_extent(text)  # of an annotation: its words without the arrow


def _outside(box: Bbox, made: Figure) -> bool:
    return bool(
        box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > made.bbox.x1 + 0.5 or box.y1 > made.bbox.y1 + 0.5
    )


def main() -> None:
    """Draw everything in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--counts", default="1,2,5,7,12")
    parser.add_argument("--only", default="")
    parser.add_argument("--variants", action="store_true", help="Of one method, with long labels.")
    args: Any = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = [n for n in ANALYSES if args.only in n and (args.folder / f"{n}.json").is_file()]
    for name, count in itertools.product(names, map(int, args.counts.split(","))):
        result = Result.load(args.folder / f"{name}.json")
        _sheet(name, figures(result, count, args.variants), count, args.out)
    for count in map(int, args.counts.split(",")) if args.only in "compare" else ():
        if (figure := compared(count)) is not None:
            _sheet("compare", {"tradeoff": figure}, count, args.out)


def _sheet(name: str, drawn: Mapping[str, go.Figure], count: int, out: Path) -> None:
    for key, figure in drawn.items():
        stem = "-".join([name, *([key] if key else []), str(count)])
        try:
            made = static.draw(figure, PAGE)
        except ValueError as error:
            print(f"{stem}: {error}", flush=True)
            continue
        with static.style():
            made.savefig(out / f"{stem}.png", dpi=made.dpi)
        wrong: Sequence[str] = faults(made)
        print(f"{stem}: {len(wrong)} faults {'; '.join(wrong[:6])}", flush=True)


if __name__ == "__main__":
    main()
