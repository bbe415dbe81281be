"""The numbers of a study for other programs: CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from grace_geom.records import COLUMNS, Estimate, mean_corruption
from grace_geom.study.effective import effective, plain_of
from grace_geom.study.report import (
    by_design,
    corruption_levels,
    grouped,
    suite_estimates,
    uneven_rows,
)
from grace_geom.study.rows import Row, difference


def csv_text(rows: Sequence[Row]) -> str:
    """One line a method: each column with its interval, in shares of 1."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounds = [name for c in COLUMNS for name in (c, f"{c}_low", f"{c}_high")]
    every = suite_estimates(rows)
    attacks = sorted({name for suites in every for name in suites})
    whole = [name for a in attacks for name in (a, f"{a}_low", f"{a}_high")]
    cost = ["lr", "training_seconds", "step_in_forwards", "step_at_most", "steps"]
    heads = ["method", "seeds", *bounds, *cost, "error", *whole, "tables", "measured_unlike"]
    above = effective(rows).column
    er = "effective_robustness"
    writer.writerow([*heads, *([er, f"{er}_low", f"{er}_high"] if above else [])])
    tables, apart = grouped(rows), uneven_rows(rows)
    for i, row in enumerate(rows):
        numbers: list[float | None] = []
        for c in COLUMNS:
            numbers += _bounds(row.estimate(c))
        seconds = sum(row.seconds) / len(row.seconds) if row.seconds else None
        texts = ["" if x is None else f"{x:.6g}" for x in (*numbers, row.lr, seconds, row.cost)]
        texts += ["yes" if row.at_most else "", str(row.steps or "")]
        whole_of = [x for a in attacks for x in _bounds(every[i].get(a))]
        stands = ["" if x is None else f"{x:.6g}" for x in whole_of]
        shown = "; ".join(title for title, some in tables.items() if row in some)
        writer.writerow(
            [
                row.label,
                " ".join(map(str, sorted(row.seeds))),
                *texts,
                row.error,
                *stands,
                shown,
                apart.note_of(i),
                *(
                    ["" if x is None else f"{x:.6g}" for x in _bounds(above.get(row.label))]
                    if above
                    else []
                ),
            ]
        )
    return out.getvalue()


def plain_rows(rows: Sequence[Row], baseline: Row | None) -> list[dict[str, Any]]:
    """Everything the tables show, and each seed's numbers, as plain types."""
    found, apart = [], uneven_rows(rows)
    levels_of, suites_of = corruption_levels(rows), suite_estimates(rows)
    shift = effective(rows)
    for i, row in enumerate(rows):
        columns = {
            c: _plain(row.estimate(c)) | {"seeds": row.values(c)} for c in COLUMNS if row.values(c)
        }
        entry: dict[str, Any] = {
            "method": row.label,
            "columns": columns,
            "error": row.error,
            "copies": row.copies,
            "lr": row.lr,
        }
        entry["corruptions"] = {
            data: {"by_severity": levels, "mean": mean_corruption(levels)}
            for data, levels in levels_of[i].items()
        }
        entry["measured_unlike"] = apart.note_of(i)
        entry["effective_robustness"] = plain_of(shift, row.label)
        entry["whole_attacks"] = {name: _plain(e) for name, e in suites_of[i].items()}
        entry |= {
            "training_seconds": list(row.seconds),
            "step_in_forwards": row.cost,
            "step_at_most": row.at_most,
            "steps": row.steps,
        }
        if baseline is not None and row.label != baseline.label:
            gaps = {
                c: d
                for c in COLUMNS
                if not by_design(c, baseline) and (d := difference(row, baseline, c))
            }
            entry["difference"] = {c: vars(d) | {"to": baseline.label} for c, d in gaps.items()}
        entry["runs"] = {
            seed: {"run": r.run, "checkpoint": r.checkpoint} for seed, r in row.records.items()
        }
        found.append(entry)
    return found


def _bounds(estimate: Estimate | None) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high] if estimate else [None, None, None]


def _plain(estimate: Estimate | None) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high} if estimate else {}
