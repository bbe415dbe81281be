"""ImageNet and its relatives in miniature: the published folder layouts, one small synthetic
picture a class.

``python -m tests.data.mini_imagenet DIR`` makes them, for a rehearsal of everything that ImageNet
goes through.
"""

import sys
from pathlib import Path

import numpy as np

from grace_geom.data.corruptions import CORRUPTIONS, SEVERITIES
from grace_geom.data.imagenet_ids import objectnet, subset, wnids
from tests.data.makers import encoded
from tests.data.test_zeroshot_sets import dtd, pets, reviews

GROUPS = {"noise": 3, "blur": 4, "weather": 4, "digital": 4}
"""The four archives of ImageNet-C and how many of the 15 corruptions, in order, lie in each."""

OOD = {
    "v2": "imagenet-v2",
    "sketch": "imagenet-sketch",
    "r": "imagenet-r",
    "c": "imagenet-c",
    "objectnet": "objectnet",
}
ZEROSHOT = {
    "textures": "torchvision:DTD",
    "pets": "torchvision:OxfordIIITPet",
    "reviews": "torchvision:RenderedSST2",
}


def picture(label: int, side: int = 20, seed: int = 0) -> bytes:
    """A PNG whose mean colour tells the class a little."""
    rng = np.random.default_rng([label, seed])
    base = np.array([label % 10, label // 10 % 10, label // 100]) * 20 + 40
    return encoded((base + rng.integers(-20, 20, (side, side, 3))).clip(0, 255).astype(np.uint8))


def tree(root: Path, folders: list[str], labels: list[int], seed: int, suffix: str = "png") -> None:
    """One picture in each class folder."""
    for folder, label in zip(folders, labels, strict=True):
        (root / folder).mkdir(parents=True)
        (root / folder / f"{folder}_{seed}.{suffix}").write_bytes(picture(label, seed=seed))


def build(root: Path) -> Path:
    """``root`` as ``--data-root``: ILSVRC2012, V2, A, A-Plus, R, Sketch, C, ObjectNet and three of
    torchvision's sets.

    The 75 folders of ImageNet-C are links to five, one a severity: what is tested is which picture
    counts where.
    """
    ids, every = list(wnids()), list(range(1000))
    tree(root / "ILSVRC2012" / "train", ids, every, 1)
    tree(root / "ILSVRC2012" / "val", ids, every, 2)
    tree(root / "imagenetv2-matched-frequency-format-val", [str(k) for k in every], every, 3)
    tree(root / "sketch", ids, every, 4)
    for place, name, seed in (
        ("imagenet-a", "imagenet-a", 5),
        ("imagenet-a-plus/IN-A-Plus", "imagenet-a", 6),
        ("imagenet-r", "imagenet-r", 7),
    ):
        chosen = [int(i) for i in subset(name)]
        tree(root / place, [ids[i] for i in chosen], chosen, seed)
    for severity in SEVERITIES:
        tree(root / "pictures of C" / severity, ids, every, 10 + int(severity))
    left = list(CORRUPTIONS)
    for group, count in GROUPS.items():
        for corruption in [left.pop(0) for _ in range(count)]:
            home = root / "imagenet-c" / group / corruption
            home.mkdir(parents=True)
            for severity in SEVERITIES:
                (home / severity).symlink_to(
                    root / "pictures of C" / severity, target_is_directory=True
                )
    folders = [*objectnet(), "air_freshener"]
    tree(root / "objectnet-1.0" / "images", folders, list(range(len(folders))), 8)
    for make in (dtd, pets, reviews):
        make(root)
    return root


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).resolve()))
