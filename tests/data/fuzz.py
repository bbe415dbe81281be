"""Malformed inputs by the hundred: ``python -m tests.data.fuzz KIND FIRST LAST`` counts outcomes.

Every input is made from a data set whose pictures tell their class by their level, so that whatever
is accepted can be held against the truth.
"""

import collections
import json
import os
import random
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from grace_geom.data import resolve
from grace_geom.errors import UserError
from tests.data.fuzz_base import N, class_list, damaged, level, picture
from tests.data.fuzz_folders import folders, pictures
from tests.data.makers import CLASSES, write_tar

LIMIT = 10.0  # seconds of CPU for one input: others may be busy here too


def npz(rng: random.Random, folder: Path) -> str:
    labels: object = np.arange(N) % 3
    images: object = np.stack([np.full((6, 6, 3), level(i % 3), np.uint8) for i in range(N)])
    order = np.asfortranarray(images)
    array, plain = np.asarray(images), np.asarray(labels)
    harms = rng.sample(
        ["images", "labels", "names", "file", "classes", "none"], rng.choice([1, 1, 2])
    )
    images = images if "images" not in harms else rng.choice([
        images, order, array[..., :1], array[..., 0], array[..., :2], array / 255.0,
        array.astype(">u2"),
        array.astype(object), array[:0], array[:-1], array[0], array.astype("U3"), np.array(3),
        array.view("V1"), array.view(np.int8),
        array.view([("r", "u1"), ("g", "u1"), ("b", "u1")]), np.array([None]), array[:, :0],
        np.zeros((N, 1, 5000, 3), np.uint8),
        array.astype("M8[s]"), np.array([b"\x80\x04."] * N), array.astype(bool),
        array.astype(complex),
    ])  # fmt: skip
    labels = labels if "labels" not in harms else rng.choice([
        labels, plain.astype(np.uint8), plain.astype(">i8"), plain.astype("<i2"), plain - 1,
        plain + 1, plain * 10**12,
        plain.astype(float), np.full(N, np.nan), plain[:, None], plain[:-1], np.array(0),
        plain.astype(object), plain.astype("U1"),
        plain.astype(bool), np.full(N, 2**64 - 1, np.uint64), plain.astype("m8[s]"),
        np.eye(3)[plain], np.array([]), plain[::-1][::-1],
        plain.astype([("x", "i8")]), plain.astype(complex),
    ])  # fmt: skip
    names = rng.choice(
        [("images", "labels")] * 9 + [("x", "y"), ("images", "y"), ("a/images", "b")]
    )
    path = folder / rng.choice(["set.npz"] * 9 + ["set", "set.v1.npz", "sét.npz"])
    save = rng.choice([np.savez, np.savez_compressed])
    with open(path, "wb") as file:
        save(file, **dict(zip(names, (images, labels), strict=True)))
    how = rng.randrange(4) if "file" in harms else None
    if how == 0:
        path.write_bytes(damaged(rng, path.read_bytes()))
    elif how == 1:
        rewritten(rng, path)
    elif how == 2:
        path.write_bytes(
            rng.choice([b"", b"PK\x03\x04", b"\x93NUMPY\1\0", b"\x80\x04N.", b"a,b\n"])
        )
    elif how == 3 and path.suffix:
        path.unlink()
        rng.choice(
            [os.mkfifo, os.mkdir, lambda p: os.symlink(p, p), lambda p: os.symlink("/no", p)]
        )(path)
    content = class_list(rng) if "classes" in harms else json.dumps(CLASSES).encode()
    path.with_suffix(".classes.json").write_bytes(content)
    return f"npz:{path}" if rng.randrange(9) else f"npz:{path}+{path}"


def rewritten(rng: random.Random, path: Path) -> None:
    """The archive with an array's header changed: other shapes, types, versions, or twice there."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    name, content = rng.choice(members)
    headers = [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 6, 6, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-9, 6, 6, 3), }",
        "{'descr': '|u1', 'fortran_order': 1, 'shape': (9, 6, 6), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (9,), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': '<i8', 'shape': (9,), }",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (9,)}",
        "(" * 3000,
        "",
    ]
    text = rng.choice(headers).encode().ljust(117) + b"\n"
    version = rng.choice([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"])
    size = len(text).to_bytes(2 if version == b"\1\0" else 4, "little")
    new = b"\x93NUMPY" + version + size + text + content[128:]
    more = rng.choice([[], [], [(name, content)], [("../../x.npy", content)]])
    with zipfile.ZipFile(path, "w", rng.choice([0, 8, 12, 14])) as archive:
        for old, kept in [*members, *more]:
            archive.writestr(old, new if old == name else kept)


def shards(rng: random.Random, folder: Path) -> str:
    """A shard with damaged samples, headers, class names or patterns."""
    members: list[tuple[str, bytes]] = []
    harmed = rng.sample(range(N), rng.choice([0, 0, 0, 1, 1, 2]))
    for i in range(N):
        members += odd_sample(rng, i) if i in harmed else sample(i)
    harm_archive(rng, write_tar(folder / "0.tar", members))
    write_names(rng, folder)
    if not rng.randrange(9):
        (folder / "test").mkdir()
        counts = ["1", "0", "", "²", "-1", "1e9", "9" * 30, "999999999", "one", "\ufeff1"]
        (folder / "test" / "nshards.txt").write_text(rng.choice(counts), encoding="utf-8")
        return f"wds:{folder}"
    patterns = [f"{folder}/0.tar"] * 12 + [
        f"{folder}/*.tar", f"{folder}/{{0..0}}.tar", f"{folder}/{{0..99999999999}}.tar",
        f"{folder}/{{0..0}}{{1..1000}}{{1..100000}}.tar",
        f"{folder}/{{0.tar", f"{folder}", "", "{", "*", "..", "-",
        f"{folder}/0.tar+{folder}/0.tar", f"{folder}/" + "x" * 300, "pipe:ls", "http://",
    ]  # fmt: skip
    return f"wds:{rng.choice(patterns)}"


def sample(i: int) -> list[tuple[str, bytes]]:
    """A picture and its label."""
    return [(f"{i}.png", picture(i % 3)), (f"{i}.cls", str(i % 3).encode())]


def odd_sample(rng: random.Random, i: int) -> list[tuple[str, bytes]]:
    """The same with a label, name or member that is wrong, missing or one too many."""
    image, label = sample(i)
    json_label = (f"{i}.json", json.dumps({rng.choice(["label", "cls", "x"]): i % 3}).encode())
    cls = rng.choice([
        b"", b"1.0", b"NaN", b"\xff", b"9" * 5000, b"1_0", b"-1", str(2**70).encode(), b" 1\n",
        b"cat", "١".encode(), b"\xef\xbb\xbf1", bytes(9000),
    ])  # fmt: skip
    record = rng.choice([
        b"{", b"[1]", b'{"label": [1]}', b'{"label": null}', b'{"label": true}',
        b'{"label": 1e999}', b'{"label": NaN}', b'{"label": "1"}',
        b'{"label": 1.5}', b"[" * 100_000, b'{"label": 1, "cls": 2}', b'{"label": 1e30}',
        b'{"label": {"a": 1}}', b"", b'"\\ud800"',
    ])  # fmt: skip
    return rng.choice([
        [image, label, json_label], [image, json_label], [image, json_label], [label, image],
        [image, (f"{i}.cls", cls)],
        [image, (f"{i}.json", record)], [image, label, (f"{i}.json", record)], [image],
        [label], [], [image, label, image],
        [(f"{i}.depth.png", picture(2 - i % 3)), image, label],
        [(f"{i}.depth.png", b"x"), label], [image, (f"{i}.jpg", picture(0)), label],
        [(f"../{i}.png", image[1]), (f"../{i}.cls", label[1])],
        [(f"/{i}.PNG", image[1]), (f"/{i}.CLS", label[1])],
        [(f"._{i}.png", b"x"), image, label], [("__MACOSX/x.png", b"x"), image, label],
        [(f"{i}.png", b""), label], [("README", b"x"), image, label],
        [(f"d/{i}.x.png", image[1]), (f"d/{i}.x.cls", label[1])],
        [(f"\udcff{i}.png", image[1]), (f"\udcff{i}.cls", label[1])],
    ])  # fmt: skip


def harm_archive(rng: random.Random, path: Path) -> None:
    """Damage, compress or empty a tar, or change a header; leave six of ten alone."""
    content = path.read_bytes()
    how = rng.randrange(10)
    if how == 0:
        path.write_bytes(damaged(rng, content))
    elif how == 1:
        import bz2
        import gzip
        import lzma

        pack: Callable[[bytes], bytes] = rng.choice([gzip.compress, bz2.compress, lzma.compress])
        path.write_bytes(pack(content))
    elif how == 2:
        path.write_bytes(header_changed(rng, content))
    elif how == 3:
        path.write_bytes(rng.choice([b"", bytes(512), bytes(1024), bytes(10240)]))


def write_names(rng: random.Random, folder: Path) -> None:
    """``classnames.txt``, right or not, or a class list beside the shard."""
    names = "\n".join(CLASSES)
    texts = [names] * 8 + [
        "",
        names + "\n",
        "apple\n\nbear\ncar",
        "apple\nbear",
        "a\na\na",
        "é\nb\nc",
    ]
    encoding = rng.choice(["utf-8"] * 8 + ["utf-8-sig", "utf-16", "latin-1"])
    if rng.randrange(9):
        (folder / "classnames.txt").write_bytes(rng.choice(texts).encode(encoding))
    else:
        (folder / "0.classes.json").write_bytes(class_list(rng))


def header_changed(rng: random.Random, content: bytes) -> bytes:
    """A tar with a field of one header changed, and its checksum made right again."""
    at = 512 * rng.randrange(len(content) // 1024)
    block = bytearray(content[at : at + 512])
    fields = [
        (124, b"\xff" * 12), (124, b"\x80" + bytes(3) + b"\x7f" * 8), (124, b"77777777777\0"),
        (124, b"abcdefghijkl"), (124, bytes(12)),
        (156, b"1"), (156, b"2"), (156, b"3"), (156, b"S"), (156, b"L"), (156, b"x"), (156, b"g"),
        (156, b"5"), (156, b"Z"), (0, b"\xff" * 100),
        (257, b"ustar\0" + b"99"), (345, b"p" * 155), (136, b"\xff" * 12), (100, b"\xff" * 8),
    ]  # fmt: skip
    place, value = rng.choice(fields)
    block[place : place + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return content[:at] + bytes(block) + content[at + 512 :]


KINDS: dict[str, Callable[[random.Random, Path], str]] = {
    "npz": npz,
    "shards": shards,
    "folders": folders,
    "pictures": pictures,
}


def outcome(kind: str, seed: int, folder: Path) -> str:
    """``clear`` or ``right``; anything else is a fault: ``wrong``, ``slow`` or a traceback."""
    start = time.process_time()
    spec = KINDS[kind](random.Random(f"{kind} {seed}"), folder)
    try:
        image_set = resolve(spec, "eval")
        read = [(image_set.fetch(i), int(image_set.labels[i])) for i in range(len(image_set))]
    except UserError as error:
        text = str(error)
        text.encode()  # can be printed
        found = "clear" if 10 < len(text) < 2000 and text.count("\n") < 2 else f"unclear: {text}"
    except Exception:
        found = traceback.format_exc()
    else:
        by_label = collections.defaultdict(set)
        for image, label in read:
            mean = int(np.rint(np.asarray(image, dtype=float).mean()))
            by_label[label].add(mean if mean in map(level, range(3)) else None)
        truth = [{level(k)} for k in range(3)]
        told = [levels - {None} for levels in by_label.values()]
        found = (
            "right" if all(not levels or levels in truth for levels in told) else f"wrong {told}"
        )
    return found if time.process_time() - start < LIMIT else f"slow: {spec}"


def count(kind: str, first: int, last: int) -> collections.Counter[str]:
    """Outcomes over seeds; faults are printed."""
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(first, last):
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(kind, seed, Path(folder))
        counts[found if found in ("clear", "right") else "fault"] += 1
        if found not in ("clear", "right"):
            print(kind, seed, found)
    return counts


if __name__ == "__main__":
    print(sys.argv[1], dict(count(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
