"""Rows of one table that were not measured alike: other images, fewer of them, another attack."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grace_geom.records.accuracy import Accuracy
from grace_geom.records.answers import SUITE_OF, Key
from grace_geom.records.attack import attack_text
from grace_geom.records.classes import is_mean_per_class
from grace_geom.records.summary import COLUMNS, counted

MARK = "†"
BY_CLASS = ", mean per class"
TITLE_OF = {suite: column for column, suite in SUITE_OF.items()}
Basis = Mapping[Key, frozenset[str]]
"""For each suite and data set of a column what its number was measured on, in words."""


@dataclass(frozen=True)
class Uneven:
    """Which numbers of a table must not be ranked with the others of their column.

    Attributes:
        cells: Row and column of each.
        sets: Row, suite and data set of each number behind them.
        by_row: A sentence for each such row, to stand below the table.
    """

    cells: frozenset[tuple[int, str]] = frozenset()
    sets: frozenset[tuple[int, Key]] = frozenset()
    by_row: Mapping[int, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """All of them, with the sign."""
        return tuple(f"{MARK} {text}" for _, text in sorted(self.by_row.items()))

    def note_of(self, row: int) -> str:
        """What is unlike in a row; empty where nothing is."""
        return self.by_row.get(row, "")

    def mark(self, row: int, column: str) -> str:
        """What stands behind the number: :data:`MARK`, or nothing."""
        return MARK if (row, column) in self.cells else ""

    def mark_set(self, row: int, suite: str, data: str) -> str:
        """The same behind the number of one data set."""
        return MARK if (row, (suite, data)) in self.sets else ""


@dataclass
class _Row:
    name: str
    bases: dict[str, Basis] = field(default_factory=dict)


def uneven(
    rows: Sequence[tuple[str, Sequence[Sequence[Accuracy]]]], columns: Sequence[str] = COLUMNS
) -> Uneven:
    """Compare what the rows of a table were measured on, column by column, with what most of them
    were. A row whose own seeds are mean per-class accuracy here and top-1 there is never even.

    Args:
        rows: Name, and the accuracies of each record behind the row (one, or one a seed).
        columns: Those of the table.
    """
    every = [_Row(name, _bases(records, columns)) for name, records in rows]
    cells: set[tuple[int, str]] = set()
    said: dict[int, dict[Key, str]] = {}
    for column in columns:
        bases = [(i, row.bases[column]) for i, row in enumerate(every) if column in row.bases]
        usual = _usual([basis for _, basis in bases])
        for i, basis in bases:
            apart = {key: text for key in usual.keys() | basis.keys()
                     if (text := _apart(key, basis.get(key), usual.get(key)))}  # fmt: skip
            if apart:
                cells.add((i, column))
                said.setdefault(i, {}).update(apart)
    notes = {
        i: f"{every[i].name} is not measured like the others: {'; '.join(sorted(texts.values()))}."
        for i, texts in said.items()
    }
    sets = frozenset((i, key) for i, texts in said.items() for key in texts)
    return Uneven(frozenset(cells), sets, notes)


def _bases(records: Sequence[Sequence[Accuracy]], columns: Sequence[str]) -> dict[str, Basis]:
    found: dict[str, Basis] = {}
    for column in columns:
        gathered: dict[Key, set[str]] = {}
        for accuracies in records:
            for key, a in counted(accuracies, column).items():
                gathered.setdefault(key, set()).add(measured_on(a))
        if gathered:
            found[column] = {key: frozenset(texts) for key, texts in gathered.items()}
    return found


def _usual(bases: Sequence[Basis]) -> Basis:
    """What most rows share; of equals that of the first."""
    counts = Counter(tuple(sorted((k, tuple(sorted(v))) for k, v in b.items())) for b in bases)
    if not counts:
        return {}
    most = counts.most_common(1)[0][0]
    return {key: frozenset(texts) for key, texts in most}


def _apart(key: Key, mine: frozenset[str] | None, usual: frozenset[str] | None) -> str:
    name = f"{TITLE_OF[key[0]]} {key[1]}"
    if mine is not None and len({BY_CLASS in text for text in mine}) > 1:
        return f"{name} is mean per-class accuracy of some seeds, top-1 of others"
    if mine == usual:
        return ""
    if mine is None:
        return f"without {name}"
    if usual is None:
        return f"with {name}"
    return f"{name} on {_either(mine)}, not {_either(usual)}"


def _either(texts: frozenset[str]) -> str:
    return " or ".join(sorted(texts))


def measured_on(a: Accuracy) -> str:
    """``200 of 2000 images (1f0c9a), pgd 4/255, ce loss, 5 steps, ...``: digits tell samples and
    contents of one size apart.
    """
    of = int(a.subset.get("of", a.n))
    images = f"{a.n} images" if of == a.n else f"{a.n} of {of} images"
    digits = str(a.subset.get("content") or a.subset.get("ids_sha256") or "")[:6]
    text = f"{images} ({digits})" if digits else images
    text += BY_CLASS * is_mean_per_class(a)
    if a.attack is None:
        return text
    return f"{text}, {attack_text(a.attack, 'all')}"
