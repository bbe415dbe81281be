"""Results of analyses as format 1 had them: the names of values and arrays begin with ``LABEL/``
where there are several checkpoints, and do not where there is one.
"""

from collections.abc import Sequence
from pathlib import Path, PurePath

from grace_geom.records.forms import FlatForm
from grace_geom.records.schema import Plain, checked

FLAT_FORMAT = "grace_geom.result/1"
NOT_MEASURED = "not measured: "
"""How the estimator of a measure without a value begins; the reason follows."""


def from_flat(plain: Plain, path: Path | str, mend: str) -> Plain:
    """The JSON of a result of format 1 as that of format 2; the npz beside it stays as it is.

    A name is of the longest label that it begins with, so of ``a`` and ``a/b`` the second has
    ``a/b/x``. A name that begins with no label is about all checkpoints together, and
    ``LABEL/not_measured`` is a part that holds the reason.

    Args:
        plain: What the JSON holds.
        path: The file, for messages.
        mend: How it is made again, for messages.

    Raises:
        RecordError: If it is not a result of format 1.
    """
    form = checked(plain, FlatForm, path, mend)
    labels = [c.label or PurePath(c.path).parent.name or form.name for c in form.checkpoints]
    refused = {
        name.removesuffix("/not_measured"): measure.estimator.removeprefix(NOT_MEASURED)
        for name, measure in form.values.items()
        if name.endswith("/not_measured") and measure.estimator.startswith(NOT_MEASURED)
    }
    many = len(labels) + len(refused) > 1
    parts: Plain = {
        label: {"values": {}, "arrays": {}, "n": checkpoint.n}
        for label, checkpoint in zip(labels, form.checkpoints, strict=True)
    }
    joint: Plain = {"values": {}, "arrays": {}}
    arrays = {k: a | {"key": k} for k, a in plain.get("arrays", {}).items()}
    for kind, entries in (("values", plain["values"]), ("arrays", arrays)):
        for name, entry in entries.items():
            if kind == "values" and name.removesuffix("/not_measured") in refused:
                continue
            label, rest = _split(name, labels, many)
            (joint if label is None else parts[label])[kind][rest] = entry
    parts |= {
        label: {"values": {}, "arrays": {}, "n": {}, "not_measured": why}
        for label, why in refused.items()
    }
    checkpoints = [
        {key: entry for key, entry in checkpoint.items() if key != "n"} | {"label": label}
        for label, checkpoint in zip(labels, plain["checkpoints"], strict=True)
    ]
    return plain | joint | {"checkpoints": checkpoints, "parts": parts}


def _split(name: str, labels: Sequence[str], many: bool) -> tuple[str | None, str]:
    """The label of a name, ``None`` where it has none, and the name within that part."""
    if not many:
        return (labels[0] if labels else None), name
    found = max((s for s in labels if name.startswith(f"{s}/")), key=len, default=None)
    return found, name if found is None else name.removeprefix(f"{found}/")
