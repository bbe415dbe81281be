"""ImageNet as Kaggle's archive unpacks: the classes of the flat validation folder."""

from pathlib import Path

import pytest

from grace_geom.data import resolve
from grace_geom.data.check import survey
from grace_geom.data.imagenet_flat import SOLUTION, classes_by_picture
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.keys import keys_of, kind_of
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.errors import UserError
from tests.data.folders import grey

HEADER = "ImageId,PredictionString\n"


def name(label: int) -> str:
    """Numbers that run against the classes, so that an order by file would show."""
    return f"ILSVRC2012_val_{1000 - label:08d}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """The same pictures in Kaggle's layout and in class folders."""
    kaggle, usual = tmp_path_factory.mktemp("kaggle"), tmp_path_factory.mktemp("usual")
    flat = kaggle / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    flat.mkdir(parents=True)
    lines = []
    for label, wnid in enumerate(wnids()):
        content = grey(label % 256)
        (flat / f"{name(label)}.JPEG").write_bytes(content)
        (usual / "imagenet" / "val" / wnid).mkdir(parents=True)
        (usual / "imagenet" / "val" / wnid / f"{name(label)}.JPEG").write_bytes(content)
        boxes = " ".join([f"{wnid} 1 2 3 4"] * (1 + label % 3)) + " " * (label % 2)
        lines.append(f"{name(label)},{boxes}\n")
    (kaggle / SOLUTION).write_text(HEADER + "".join(lines))
    return kaggle, usual


def test_a_flat_validation_folder_is_the_usual_one(pair: tuple[Path, Path]):
    flat, usual = (resolve("imagenet", "test", data_root=root) for root in pair)
    assert flat.labels.tolist() == usual.labels.tolist() == list(range(1000))
    assert flat.class_names == usual.class_names == imagenet_class_names()
    assert kind_of(flat) == "name" and keys_of(flat).tolist() == keys_of(usual).tolist()
    assert flat.fetch(999).getpixel((0, 0)) == (999 % 256,) * 3
    assert flat.templates == usual.templates and flat.name == "imagenet"
    row = {row.name: row for row in survey(pair[0])}["imagenet"]
    assert row.parts == {"val": (1000, 1000)} and "no train folder" in row.problem


def test_lists_that_do_not_fit_the_pictures_are_refused(pair: tuple[Path, Path], tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "ILSVRC").symlink_to(pair[0] / "ILSVRC", target_is_directory=True)

    def says(text: str) -> None:
        with pytest.raises(UserError, match=text):
            resolve("imagenet", "eval", data_root=root)

    says(r"pictures without class folders.*LOC_val_solution.csv, which tells their classes, into")
    lines = (pair[0] / SOLUTION).read_text().splitlines(keepends=True)
    for content, text in (
        (
            lines[:-2],
            r"does not list 2 pictures \(ILSVRC2012_val_00000001, ILSVRC2012_val_00000002",
        ),
        ([*lines, f"x,{wnids()[0]} 1 2 3 4\n"], r"val lacks 1 pictures \(x .*unpack the archive"),
        ([*lines[:-1], f"{name(999)},{wnids()[0]} 1 2 3 4\n"], "lists no picture of n15075141"),
    ):
        (root / SOLUTION).write_text("".join(content))
        says(text)


@pytest.mark.parametrize(
    "text, says",
    [
        ("id,label\n", r"has the columns \['id', 'label'\], expected ImageId,PredictionString"),
        (HEADER + "a,n01440764 1 2 3\n", "line 2: .*is not one class of ImageNet-1k"),
        (HEADER + "a,n01440764 1 2 3 4 n01443537 1 2 3 4\n", "is not one class of ImageNet-1k"),
        (HEADER + "a,n99999999 1 2 3 4\n", "is not one class of ImageNet-1k"),
        (HEADER + "a,\n", "is not one class of ImageNet-1k"),
        (HEADER + "a,n01440764 1 2 3 4\n" * 2, "line 3: 'a' is listed twice"),
        (HEADER + "a\n", "line 2: 1 cells for 2 columns"),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path: Path, text: str, says: str):
    (tmp_path / SOLUTION).write_text(text)
    with pytest.raises(UserError, match=says):
        classes_by_picture(tmp_path / SOLUTION)
