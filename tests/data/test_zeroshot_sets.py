"""Zero-shot transfer sets in small copies of the layouts that torchvision reads: labels, names,
templates.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from PIL import Image

from grace_geom.data import resolve
from grace_geom.data.prompts import templates_for
from grace_geom.data.transforms import as_rgb
from grace_geom.data.tv import KNOWN

Maker = Callable[[Path], None]


def picture(path: Path, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 8), (level, 0, 0)).save(path)


def text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    for name in ("banded", "polka-dotted"):
        picture(base / "images" / name / f"{name}_0001.jpg")
    for split in ("train", "val", "test"):
        text(
            base / "labels" / f"{split}1.txt",
            ["banded/banded_0001.jpg", "polka-dotted/polka-dotted_0001.jpg"],
        )


def pets(root: Path) -> None:
    base = root / "pets" / "oxford-iiit-pet"  # a folder of its own, as CLIP_benchmark has it
    lines = ["Abyssinian_1 1 1 1", "german_shorthaired_2 2 2 1"]
    for line in lines:
        picture(base / "images" / f"{line.split()[0]}.jpg")
    for split in ("trainval", "test"):
        text(base / "annotations" / f"{split}.txt", lines)


def aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b" / "data"
    text(data / "variants.txt", ["707-320", "F/A-18"])
    for split in ("train", "val", "test"):
        text(data / f"images_variant_{split}.txt", ["1 F/A-18", "0 707-320"])
    for i in range(2):
        picture(data / "images" / f"{i}.jpg")


def flowers(root: Path) -> None:
    base = root / "flowers-102"
    for i in (1, 2, 3):
        picture(base / "jpg" / f"image_{i:05d}.jpg")
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.array([[102, 1, 7]])})
    scipy.io.savemat(base / "setid.mat", {"trnid": [[1, 2]], "valid": [[2, 3]], "tstid": [[3, 1]]})


def caltech(root: Path) -> None:
    for name, n in (("BACKGROUND_Google", 2), ("Faces_easy", 3), ("cougar_body", 4)):
        for i in range(n):
            picture(
                root / "caltech101" / "101_ObjectCategories" / name / f"image_{i + 1:04d}.jpg",
                20 * i,
            )


def sun(root: Path) -> None:
    text(root / "SUN397" / "ClassName.txt", ["/a/abbey", "/a/apse/indoor"])
    for name in ("abbey", "apse/indoor"):
        for i in range(5):
            picture(root / "SUN397" / "a" / name / f"sun_{i}.jpg", 20 * i)


def signs(root: Path) -> None:
    base = root / "gtsrb"
    for label in (0, 14):
        picture(base / "GTSRB" / "Training" / f"{label:05d}" / "0.ppm")
    rows = [
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId",
        "0.ppm;9;8;0;0;9;8;14",
        "1.ppm;9;8;0;0;9;8;0",
    ]
    text(base / "GT-final_test.csv", rows)
    for i in range(2):
        picture(base / "GTSRB" / "Final_Test" / "Images" / f"{i}.ppm")


def reviews(root: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in ("negative", "positive"):
            picture(root / "rendered-sst2" / split / name / "0.png")


def stl10(root: Path) -> None:
    base = root / "stl10_binary"
    base.mkdir(parents=True)
    for split in ("train", "test"):
        np.random.default_rng(0).integers(0, 256, 3 * 3 * 96 * 96, dtype=np.uint8).tofile(
            base / f"{split}_X.bin"
        )
        np.array([1, 2, 10], dtype=np.uint8).tofile(base / f"{split}_y.bin")
    names = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    text(base / "class_names.txt", names)


# name -> tree, some class names by label, first template
SETS: dict[str, tuple[Maker, dict[int, str], str]] = {
    "DTD": (dtd, {0: "banded", 1: "polka-dotted"}, "a photo of a {} texture."),
    "OxfordIIITPet": (
        pets,
        {0: "Abyssinian", 1: "German Shorthaired"},
        "a photo of a {}, a type of pet.",
    ),
    "FGVCAircraft": (aircraft, {0: "707-320", 1: "F/A-18"}, "a photo of a {}, a type of aircraft."),
    "Flowers102": (
        flowers,
        {0: "pink primrose", 101: "blackberry lily"},
        "a photo of a {}, a type of flower.",
    ),
    "Caltech101": (caltech, {0: "Faces easy", 1: "cougar body"}, "a photo of a {}."),
    "SUN397": (sun, {0: "abbey", 1: "apse indoor"}, "a photo of a {}."),
    "GTSRB": (
        signs,
        {14: "stop", 0: "20 km/h speed limit"},
        'a zoomed in photo of a "{}" traffic sign.',
    ),
    "RenderedSST2": (reviews, {0: "negative", 1: "positive"}, "a {} review of a movie."),
    "STL10": (stl10, {0: "airplane", 9: "truck"}, "a photo of a {}."),
}


@pytest.mark.parametrize("name", SETS)
def test_labels_names_and_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    make, names, template = SETS[name]
    make(tmp_path)
    kind = getattr(torchvision.datasets, name)
    if name in ("Flowers102", "STL10"):  # they compare file hashes
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    test = resolve(f"torchvision:{name}", "test", data_root=tmp_path)
    assert {label: test.class_names[label] for label in names} == names
    assert test.templates[0] == template and all(
        sentence.count("{}") == 1 for sentence in test.templates
    )
    root = tmp_path / "pets" if name == "OxfordIIITPet" else tmp_path
    known = KNOWN[name]
    peer = kind(root=str(root), **known.splits.get("test", {}), **known.extra)
    if "test" not in known.splits:  # a seeded fifth of all, on record
        assert test.note["how"].startswith("test: seeded") and 0 < len(test) < len(peer)
        return
    assert test.labels.tolist() == [peer[i][1] for i in range(len(peer))]
    for i in range(len(peer)):
        assert np.array_equal(
            np.asarray(as_rgb(test.fetch(i))), np.asarray(peer[i][0].convert("RGB"))
        )


def test_every_set_has_templates_of_its_own_kind():
    kinds = {name: templates_for(name)[0] for name in KNOWN}
    assert {n for n, kind in kinds.items() if kind == "generic"} == {
        "STL10",
        "Caltech101",
        "KMNIST",
    }


@pytest.mark.parametrize("name", ["Caltech101", "RenderedSST2", "EuroSAT"])
def test_hidden_copies_are_neither_classes_nor_pictures(tmp_path: Path, name: str):
    def tree(root: Path) -> None:
        if name in SETS:
            SETS[name][0](root)
            return
        for kind in ("AnnualCrop", "Forest", "River"):
            picture(root / "eurosat" / "2750" / kind / f"{kind}_1.jpg")

    tree(tmp_path / "plain")
    tree(tmp_path / "copied")
    folders = [path for path in (tmp_path / "copied").rglob("*") if path.is_dir()]
    holders = [path for path in folders if any(path.glob("*.jpg")) or any(path.glob("*.png"))]
    for folder in holders:
        for file in [path for path in folder.iterdir() if path.suffix in (".jpg", ".png")]:
            for copies in (folder, folder.parent):
                picture(copies / ".ipynb_checkpoints" / f"{file.stem}-checkpoint{file.suffix}")
    plain, copied = (
        resolve(f"torchvision:{name}", "eval", data_root=tmp_path / kind)
        for kind in ("plain", "copied")
    )
    assert copied.class_names == plain.class_names
    assert copied.labels.tolist() == plain.labels.tolist()
    assert np.array_equal(np.asarray(copied.fetch(0)), np.asarray(plain.fetch(0)))
