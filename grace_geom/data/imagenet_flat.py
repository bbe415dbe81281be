"""ImageNet's validation images as Kaggle's archive has them: 50,000 files in one folder, and their
classes in ``LOC_val_solution.csv``.
"""

import csv
import io
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grace_geom.data.base import ImageSet, digest_text
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.listing import is_picture, visible
from grace_geom.data.names import content_digest
from grace_geom.data.pictures import Files
from grace_geom.data.text import read_text, shown
from grace_geom.errors import UserError

SOLUTION = "LOC_val_solution.csv"
COLUMNS = ["ImageId", "PredictionString"]


@dataclass(frozen=True)
class FlatFiles(Files):
    """Reads pictures of one folder, which are known as if they lay in class folders.

    Attributes:
        classes: The WordNet id of each.
    """

    classes: Sequence[str] = ()

    def published(self, i: int) -> str | None:
        """The name that the picture has in the usual layout: ``imagenet/WNID/FILE``."""
        return f"{self.collection}/{self.classes[i]}/{self.names[i]}" if self.collection else None


def is_flat(folder: Path) -> bool:
    """Whether a folder holds pictures and no class folders."""
    folders, files = visible(folder)
    return not folders and any(map(is_picture, files))


def read_flat(folder: Path, spec: str) -> ImageSet:
    """Every picture of the folder, by class, then by name, labelled 0 to 999 as their WordNet ids
    rank.

    Args:
        folder: ``ILSVRC/Data/CLS-LOC/val``.
        spec: For the record.

    Raises:
        UserError: If there is no list of the classes beside the folder or up to three above it; if
            it lists other pictures than those in the folder, or not all 1,000 classes.
    """
    homes = folder.absolute().parents[:4]  # CLS-LOC, Data, ILSVRC, and the archive's own folder
    solution = next((path for home in homes if (path := home / SOLUTION).is_file()), None)
    if solution is None:
        raise UserError(
            f"{shown(folder)} holds pictures without class folders: put them into <wnid>/ folders, "
            f"or put Kaggle's {SOLUTION}, which tells their classes, into {shown(homes[-1])}"
        )
    said = classes_by_picture(solution)
    here = {Path(name).stem: name for name in visible(folder)[1] if is_picture(name)}
    if extra := here.keys() - said.keys():
        raise UserError(f"{shown(solution)} does not list {_some(extra)} of {shown(folder)}")
    if lacking := said.keys() - here.keys():
        raise UserError(
            f"{shown(folder)} lacks {_some(lacking)} that {shown(solution)} lists: unpack the "
            "archive again"
        )
    rank = {wnid: label for label, wnid in enumerate(wnids())}
    if missing := sorted(rank.keys() - said.values()):
        raise UserError(
            f"{shown(solution)} lists no picture of {', '.join(missing[:3])} "
            f"({len(missing)} of ImageNet's 1,000 classes)"
        )
    rows = sorted((rank[said[stem]], name) for stem, name in here.items())
    files = [name for _, name in rows]
    note = {
        "folder": str(folder),
        "files": len(files),
        "names_sha256": digest_text("\n".join(files)),
        "content": content_digest((name, folder / name) for name in files),
        "table": str(solution),
    }
    labels = np.array([label for label, _ in rows])
    reader = FlatFiles(str(folder), tuple(files), classes=tuple(wnids()[k] for k in labels))
    return ImageSet("imagenet", spec, "all", labels, wnids(), (), reader, note)


def _some(names: Set[str]) -> str:
    """How many pictures, and the first of them."""
    return f"{len(names):,} pictures ({', '.join(map(shown, sorted(names)[:3]))} ...)"


def classes_by_picture(solution: Path) -> dict[str, str]:
    """Picture's name without its ending -> WordNet id. A prediction string is a class and four
    numbers for each box; all boxes of a picture are of one class.

    Raises:
        UserError: If the table has other columns, a picture twice or with several classes, or a
            class that ImageNet-1k does not have.
    """
    where, known = shown(solution), set(wnids())
    rows = csv.reader(io.StringIO(read_text(solution), newline=""))
    if (header := next(rows, [])) != COLUMNS:
        raise UserError(f"{where} has the columns {header}, expected {','.join(COLUMNS)}")
    found: dict[str, str] = {}
    for row in rows:
        line = f"{where}, line {rows.line_num}"
        if len(row) != len(COLUMNS):
            raise UserError(f"{line}: {len(row)} cells for {len(COLUMNS)} columns")
        picture, boxes = row[0], row[1].split()
        classes = set(boxes[::5])
        if len(classes) != 1 or len(boxes) % 5 or not classes <= known:
            raise UserError(
                f"{line}: {row[1][:60]!r} is not one class of ImageNet-1k and four numbers a box"
            )
        if picture in found:
            raise UserError(f"{line}: {picture!r} is listed twice")
        found[picture] = classes.pop()
    return found
