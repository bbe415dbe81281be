"""What a query, a colour or a mean over a setting may ask of a run."""

from functools import lru_cache
from typing import Any

from app import store
from app.columns import Columns
from app.store import Entry


@lru_cache(maxsize=4096)
def facts(entry: Entry) -> dict[str, Any]:
    """What a query may ask of a run: its settings, nested ones with dots in their names, what it is
    called, tags, and the columns of its summary in percent.
    """
    flat: dict[str, Any] = {}
    plain = [(key, value) for key, value in store.settings(entry).items() if key != "provenance"]
    while plain:
        key, value = plain.pop()
        flat[key] = value
        if isinstance(value, dict):
            plain += [(f"{key}.{inner}", each) for inner, each in value.items()]
    points = entry.estimates.points if isinstance(entry.estimates, Columns) else {}
    columns = {name: 100 * value for name, value in points.items()}
    return flat | columns | {
        "id": entry.id,
        "name": entry.notes.name or entry.id.rpartition("/")[2],
        "folder": entry.folder,
        "method": entry.method,
        "seed": entry.recorded_seed,
        "tag": list(entry.notes.tags),
        "note": entry.notes.note,
    }  # fmt: skip
