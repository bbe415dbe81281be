"""Calibration on a terminal: NLL, ECE and Brier score before and after temperature scaling."""

from collections.abc import Mapping, Sequence
from typing import Any

from grace_geom.evaluation.table import TITLES, each_attack, names_of
from grace_geom.records import EvalRecord, attack_text
from grace_geom.records.calibration import BINS, NAMES
from grace_geom.tables import MISSING, Cell, Table

HEADS = {"nll": "NLL", "ece": "ECE", "brier": "Brier"}


def calibration_table(records: Sequence[EvalRecord]) -> Table | None:
    """Two rows for each data set of each checkpoint: as the model is, and scaled; ``None`` where no
    record has scores.
    """
    rows: list[list[Cell | str]] = []
    notes = [
        f"NLL in nats; ECE over {BINS} bins of equal width on the highest probability; Brier score "
        "in [0, 2]; 95 % intervals over images. Under an attack: of its adversarial images."
    ]
    for name, record in zip(names_of(records), records, strict=True):
        for a in each_attack(record.accuracies):
            if not a.scores:
                continue
            label = a.data + (f", {attack_text(a.attack)}" if a.attack else "")
            t, held_out = a.scores["temperature"], a.scores["held_out"]
            for kind, what in (("plain", "as it is"), ("scaled", f"T = {t:.3g}")):
                cells = [_cell(a.scores[kind][score]) for score in NAMES]
                rows.append([name, TITLES[a.suite], label, str(a.n), what, *cells])
            note = f"{name}: T = {t:.4g} has the lowest NLL on {held_out} clean held-out images."
            if note not in notes:
                notes.append(note)
    if not rows:
        return None
    heads = ["", "", "data", "images", "logits", *(HEADS[name] for name in NAMES)]
    return Table(heads, rows, labels=5, title="Calibration", notes=notes)


def _cell(score: Mapping[str, Any]) -> Cell:
    """``0.512 [0.480, 0.544]``; a bound that is not finite is a dash."""
    low, high = (MISSING if b is None else f"{b:.3f}" for b in (score["ci_low"], score["ci_high"]))
    return Cell(f"{score['value']:.3f} [{low}, {high}]", value=score["value"])
