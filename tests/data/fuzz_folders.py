"""Malformed folders and pictures."""

import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.fuzz_base import N, class_list, damaged, picture
from tests.data.makers import CLASSES

Harms = list[Callable[[], object]]
Write = Callable[..., None]
"""Of a path below the class folders' parent, and its content."""


def folders(rng: random.Random, folder: Path) -> str:
    """Class folders with up to three things in them that do not belong there."""
    top = folder / rng.choice(["set", "set", "tiny set"])
    above = rng.choice(["", "", "", "deep/", "train/", "Train/", "a/b/"])
    for i in range(N):
        path = top / above / CLASSES[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i % 3))
    home = top / above / CLASSES[0]

    def write(place: str, content: bytes = b"x") -> None:
        path = os.fsencode(top / above) + b"/" + place.encode("utf-8", "surrogateescape")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    harms: Harms = [
        *odd_entries(home, top, above),
        *odd_files(rng, write),
        *label_files(rng, write),
        lambda: write("../test/apple/x.png", picture(0)),
        lambda: write("../Test/kiwi/x.png", picture(0)),
        lambda: write("apple/a/b/c/d.png", picture(0)),
        lambda: [os.unlink(path) for path in home.iterdir() if path.is_file()],
        lambda: write("x" * 200 + ".csv", b'a,b\n"'),
        lambda: write("apple/sub.gif", b"GIF89a"),
    ]
    for harm in rng.sample(harms, rng.choice([0, 1, 1, 1, 2, 3])):
        try:
            harm()
        except OSError:
            continue  # two harms at one place
    ends = ["", "", "", "", "", "/", "/nothing", "/" + "x" * 300, f"+{top}", "/\udce9"]
    return (
        f"folder:{top}{rng.choice(ends)}"
        if rng.randrange(20)
        else rng.choice(["folder:", "folder:+"])
    )


def odd_entries(home: Path, top: Path, above: str) -> Harms:
    """Links, a pipe, and a folder called like a picture."""
    return [
        lambda: (home / "loop").symlink_to(home),
        lambda: (home / "up").symlink_to(top),
        lambda: (home / "gone.png").symlink_to("/nowhere"),
        lambda: (home / "self").symlink_to(home / "self"),
        lambda: (top / above / "twin").symlink_to(home),
        lambda: (home / "other.png").symlink_to(top / above / "bear" / "1.png"),
        lambda: os.mkfifo(home / "pipe.png"),
        lambda: (home / "folder.png").mkdir(),
    ]


def odd_files(rng: random.Random, write: Write) -> Harms:
    """Odd names, files of other programs, and a damaged picture."""
    return [
        lambda: write("apple/caf\udce9.png", picture(0)),
        lambda: write("caf\udce9/x.png", picture(0)),
        lambda: write("apple/new\nline.png", picture(0)),
        lambda: write("apple/._0.png"),
        lambda: write("apple/.ipynb_checkpoints/0.png", picture(0)),
        lambda: write(".ipynb_checkpoints/0.png", picture(0)),
        lambda: write("__MACOSX/apple/0.png"),
        lambda: write("Thumbs.db"),
        lambda: write("empty/README.txt"),
        lambda: write("loose.png", picture(0)),
        lambda: write("apple/0.png", damaged(rng, picture(0))),
    ]


def label_files(rng: random.Random, write: Write) -> Harms:
    """Class lists and label tables, most of them damaged."""
    rows = "".join(f"{CLASSES[i % 3]}/{i}.png,{CLASSES[i % 3]}\n" for i in range(N))
    return [
        lambda: write("classes.json", class_list(rng)),
        lambda: write(
            "classnames.txt",
            rng.choice(["", "a\nb\nc", "é\nb", "a\n\nb"]).encode(
                rng.choice(["utf-8", "latin-1", "utf-16"])
            ),
        ),
        lambda: write(
            "metadata.csv",
            ("file_name,label\n" + rows).encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"])),
        ),
        lambda: write("metadata.csv", damaged(rng, ("file_name,label\n" + rows).encode())),
        lambda: write("labels.tsv", ("id\tx\n" + rows.replace(",", "\t")).encode()),
        lambda: write(
            "metadata.jsonl",
            rng.choice(
                [
                    b"{",
                    b'{"file_name": 1, "label": []}',
                    b"[" * 100_000,
                    b"1\n2",
                    b'{"file_name": "\\u0000", "label": 1}',
                ]
            ),
        ),
    ]


MODES = [
    "1",
    "L",
    "P",
    "LA",
    "RGBA",
    "RGB",
    "CMYK",
    "YCbCr",
    "I",
    "F",
    "I;16",
    "LAB",
    "HSV",
    "PA",
    "RGBX",
]


def pictures(rng: random.Random, folder: Path) -> str:
    """Class folders of which some pictures have other modes and formats, or are damaged."""
    for i in range(N):
        path = (
            folder
            / "set"
            / CLASSES[i % 3]
            / f"{i}.{rng.choice(['png', 'jpg', 'tif', 'webp', 'bmp', 'ppm'])}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i % 3))
    content = odd_picture(rng)
    if rng.randrange(2):
        content = damaged(rng, content)
    (folder / "set" / "apple" / f"odd.{rng.choice(['png', 'jpg', 'tif'])}").write_bytes(content)
    return f"folder:{folder}/set"


def odd_picture(rng: random.Random) -> bytes:
    fixed = [
        b"P6 0 0 255\n", b"P5 60000 60000 255\n", b"P6 99999999 99999999 255\n",
        b"P5 1 5000 255\n" + bytes(5000), b"BM" + bytes(60), b"%!PS-Adobe-3.0\n",
        b"II*\0" + bytes(60), b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(20),
        b"RIFF\0\0\0\0WEBPVP8 ", b"Pf 2 2 -1.0\n" + bytes(16),
        b"P5 4 4 65535\n" + bytes(32), b"P1 2 2\n0 1 1 0", b"<svg/>", b"%PDF-1.4",
    ]  # fmt: skip
    if not rng.randrange(3):
        return rng.choice(fixed)
    mode, size = (
        rng.choice(MODES),
        rng.choice([(6, 6), (6, 6), (1, 1), (1, 900), (900, 1), (3, 7), (4000, 3)]),
    )
    file = io.BytesIO()
    try:
        image = Image.new(
            mode, size, rng.choice([0, 1]) if mode in ("1", "F", "I", "I;16") else None
        )
        if mode == "F" and not rng.randrange(3):
            image = Image.fromarray(
                np.full((6, 6), rng.choice([np.nan, np.inf, -1, 300, 0.5]), np.float32)
            )
        more = {"save_all": True, "append_images": [image] * 3} if not rng.randrange(4) else {}
        image.save(file, rng.choice(["PNG", "TIFF", "WEBP", "GIF", "JPEG", "BMP", "PPM"]), **more)
    except (OSError, ValueError, KeyError):
        return picture(0)
    return file.getvalue()
