"""What ``train --json`` tells of a run, from the files that it left."""

import json
from pathlib import Path
from typing import Any

from grace_geom.records.statistics import wilson


def result_of(out: Path) -> dict[str, Any]:
    """``run``, ``checkpoint``, ``step``, the last line of ``metrics.jsonl`` as ``metrics``, and
    the newest accuracies on held-out images as ``held_out`` (``clean``, ``pgd``): value, 95 %
    interval and number of images each.

    Args:
        out: The run directory of a finished training.
    """
    file = out / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    last = records[-1] if records else {}
    measured: dict[str, Any] = next(
        (record for record in reversed(records) if "val_acc" in record), {}
    )
    held_out = {
        name: _accuracy(measured[key], int(measured[n]))
        for name, key, n in (("clean", "val_acc", "val_n"), ("pgd", "val_acc_pgd", "val_pgd_n"))
        if key in measured
    }
    return {
        "run": str(out),
        "checkpoint": str(out / "ckpt.pt"),
        "step": last.get("step", 0),
        "metrics": last,
        "held_out": held_out,
    }


def files_of(out: Path) -> list[Path]:
    """What training wrote into a run directory, its checkpoint first; without the folders of
    trackers.
    """
    records = ["config.yaml", "*.jsonl", "checkpoints/*.pt"]
    return [out / "ckpt.pt", *(file for names in records for file in sorted(out.glob(names)))]


def _accuracy(value: float, n: int) -> dict[str, float]:
    low, high = wilson(round(value * n), n)
    return {"value": value, "low": low, "high": high, "n": n}
