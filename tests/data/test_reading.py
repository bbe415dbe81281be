"""What pictures, texts, shards and archives hold is read with its levels, or refused by name."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from grace_geom.data import resolve
from grace_geom.data.names import parse_class_names, parse_lines
from grace_geom.data.pictures import decode
from grace_geom.data.prompts import given_templates
from grace_geom.data.text import read_text
from grace_geom.data.transforms import as_rgb
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, encoded, pictures, turns, write_npz, write_tar

RAMP = np.tile(np.arange(256), (4, 1))  # every level of 8 bits, in each row


def stored(values: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "values, kind",
    [
        (RAMP.astype(np.uint8), "PNG"),
        ((RAMP * 257).astype(np.uint16), "PNG"),
        ((RAMP * 257).astype(np.uint16), "TIFF"),
        ((RAMP * 257).astype(np.uint16), "PPM"),
        ((RAMP * 257).astype(np.int32), "TIFF"),
        ((RAMP * ((2**31 - 1) // 255)).astype(np.int32), "TIFF"),
        (RAMP.astype(np.int32), "TIFF"),
        ((RAMP / 255).astype(np.float32), "TIFF"),
        (RAMP.astype(np.float32), "TIFF"),
    ],
)
def test_pictures_keep_their_levels(values: np.ndarray, kind: str):
    got = np.asarray(as_rgb(decode(stored(values, kind), "x")))
    assert got.shape == (4, 256, 3) and np.array_equal(got[..., 0], RAMP)
    assert (got == got[..., :1]).all()


def tiff12(values: np.ndarray) -> bytes:
    """A grey TIFF with BitsPerSample 12: two samples in three bytes, an even width."""
    a, b = values.reshape(-1, 2).T.astype(np.uint32)
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], 1).astype(np.uint8).tobytes()
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(packed))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = 8 + len(packed)
    head = struct.pack("<2sHI", b"II", 42, start)
    return head + packed + struct.pack("<H", len(tags)) + entries + bytes(4)


def with_tag(values: np.ndarray, tag: int, value: int) -> bytes:
    info, file = TiffImagePlugin.ImageFileDirectory_v2(), io.BytesIO()
    info[tag], info.tagtype[tag] = value, 3
    Image.fromarray(values).save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


def with_sbit(values: np.ndarray, bits: int) -> bytes:
    plain = stored(values.astype(np.uint16), "PNG")
    chunk = b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return plain[:33] + chunk + plain[33:]


RAMP12 = np.rint(RAMP * (4095 / 255)).astype(np.uint16)


@pytest.mark.parametrize(
    "content",
    [
        tiff12(RAMP12),
        with_tag(RAMP12, 341, 4095),
        with_tag(np.rint(RAMP * (16383 / 255)).astype(np.uint16), 341, 16383),
        with_tag(RAMP12.astype(np.int32), 341, 4095),
        with_sbit(RAMP12, 12),  # a writer that leaves the samples as they are
        with_sbit(RAMP12 << 4 | RAMP12 >> 8, 12),  # by the standard
        with_sbit(RAMP12 << 4, 12),
        with_tag((65535 - RAMP * 257).astype(np.uint16), 262, 0),  # white is zero
    ],
)
def test_declared_depths_are_the_range_of_levels(content: bytes):
    got = np.asarray(as_rgb(decode(content, "x")))
    assert np.array_equal(got[..., 0].astype(int), RAMP)


def test_a_dark_picture_of_a_standard_png_stays_dark():
    dark = np.tile(np.arange(256), (4, 1)) * 16  # 12 bits, scaled up by the standard
    assert np.asarray(decode(with_sbit(dark, 12), "x")).max() == 16


def test_a_largest_value_that_is_no_depth_is_not_taken_for_one():
    assert np.asarray(decode(with_tag(RAMP12, 341, 4000), "x")).max() == 16


def test_values_above_the_declared_depth_are_refused():
    with pytest.raises(UserError, match="values from 0 to 4095, but it declares 11 bits"):
        decode(with_tag(RAMP12, 341, 2047), "x")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("colour", [False, True])
def test_sets_of_dim_16_bit_pictures_are_told(tmp_path: Path, kind: str, colour: bool, capsys):
    rng = np.random.default_rng(0)
    for i in range(8):
        values = rng.integers(0, 3900, (8, 8)).astype(np.uint16)
        values[0, 0] = 3900
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.{kind.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rgb16(values, kind) if colour else stored(values, kind))
    spec = f"folder:{tmp_path / 'set'}"
    (told,) = resolve(spec, "eval").note["told"]
    top = 4095 if colour else 3900  # Pillow gives the upper 8 bits of colour
    assert told.startswith(
        f"{spec}: in 8 16-bit pictures that were looked at no value exceeds {top}"
    )
    assert "If 12 bits are all they hold, multiply the values by 16" in told
    bright = tmp_path / "set" / "a" / f"bright.{kind.lower()}"
    bright.write_bytes(stored(np.full((8, 8), 4096, dtype=np.uint16), kind))
    assert "told" not in resolve(spec, "eval").note


def rgb16(values: np.ndarray, kind: str) -> bytes:
    """Three equal channels of 16 bits, which Pillow does not write."""
    height, width = values.shape
    samples = np.repeat(values[..., None], 3, 2)
    if kind == "PNG":
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
        head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        )
    data = samples.astype("<u2").tobytes()
    bits = 8 + len(data)  # where the three numbers of bits stand
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 2), (273, 8), (277, 3)]
    tags += [(278, height), (279, len(data)), (284, 1)]
    entries = b"".join(
        struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
        for tag, value in tags
    )
    head = struct.pack("<2sHI", b"II", 42, bits + 6)
    return (
        head
        + data
        + struct.pack("<HHH", 16, 16, 16)
        + struct.pack("<H", len(tags))
        + (entries + bytes(4))
    )


def test_one_bit_palette_alpha_and_rotation_are_as_open_clip_converts_them():
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = Image.fromarray(rng.integers(0, 256, (6, 9, 4), dtype=np.uint8), "RGBA")
    for image, kind, more in (
        (colours.convert("1"), "PNG", {}),
        (colours.convert("P"), "PNG", {"transparency": 3}),
        (colours.convert("CMYK"), "TIFF", {}),
        (rgba, "PNG", {}),
        (rgba.convert("LA"), "PNG", {}),
        (colours, "JPEG", {"exif": exif}),
        (colours, "WEBP", {"save_all": True, "append_images": [colours.transpose(0)]}),
    ):
        file = io.BytesIO()
        image.save(file, kind, **more)
        peer = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
        assert np.array_equal(np.asarray(as_rgb(decode(file.getvalue(), "x"))), peer), kind


@pytest.mark.parametrize(
    "content, says",
    [
        (b"P6 99999 99999 255\n", "more than 150 megapixels"),
        (b"P5 1 5000 255\n" + bytes(5000), "sides that differ by more than 200 times"),
        (b"Pf 2 2 -1.0\n" + np.array([0, np.nan, 0, 1], "<f4").tobytes(), "NaN or infinite"),
        (b"Pf 2 2 -1.0\n" + np.array([0, -3, 0, 1], "<f4").tobytes(), "values from -3 to 1"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known image format"),
    ],
)
def test_pictures_that_cannot_be_are_refused(content: bytes, says: str):
    with pytest.raises(UserError, match=says):
        decode(content, "x.png")


@pytest.mark.parametrize(
    "encoding, says",
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", "is UTF-16: save it as UTF-8"),
        ("utf-16-le", "is UTF-16"),
        ("utf-32", "is UTF-32"),
        ("latin-1", r"byte 0xe9 in line 2; probably Latin-1 or Windows-1252"),
        ("cp1252", "Latin-1 or Windows-1252"),
    ],
)
def test_text_is_utf8_or_refused_by_name(tmp_path: Path, encoding: str, says: str | None):
    path = tmp_path / "t.txt"
    path.write_bytes("a {} photo\na {} in a café\n".encode(encoding))
    if says is None:
        assert given_templates(path)[1] == ("a {} photo", "a {} in a café")
    else:
        with pytest.raises(UserError, match=says):
            given_templates(path)
    path.write_bytes("犬と猫の写真".encode("shift-jis"))
    with pytest.raises(UserError, match="GBK or Shift-JIS"):
        read_text(path)
    path.write_text("caf\ufffd", encoding="utf-8")
    with pytest.raises(UserError, match="replacement character"):
        read_text(path)


def test_class_lists_that_would_shift_or_lose_a_name_are_refused():
    assert parse_class_names('[" cafe\\u0301 ", "b"]', "x") == ("café", "b")
    with pytest.raises(UserError, match="line 2 is empty"):
        parse_lines("a\n\nb\n", "x")
    with pytest.raises(UserError, match="key 'a' twice"):
        parse_class_names('{"a": "x", "a": "y"}', "x", ["a"])
    with pytest.raises(UserError, match=r"class 1 is called 'b\\nc'"):
        parse_class_names('["a", "b\\nc"]', "x")


class TestShards:
    def read(self, folder: Path, *members: tuple[str, bytes], names: str = "a\nb\nc\n"):
        (folder / "classnames.txt").write_text(names)
        return resolve(f"wds:{write_tar(folder / '0.tar', list(members))}", "eval")

    def test_the_plain_picture_is_read(self, tmp_path: Path):
        photo, depth = (encoded(pictures(1, seed=seed)[0]) for seed in (0, 1))
        others = [("0.depth.png", depth), ("0.cls", b"1"), ("0.json", b'{"label": 1, "w": [2]}')]
        for members in ([*others, ("0.png", photo)], [("0.png", photo), *others]):
            found = self.read(tmp_path, *members)
            assert np.array_equal(np.asarray(found.fetch(0)), pictures(1)[0])
            assert found.labels.tolist() == [1]
        with pytest.raises(UserError, match=r"has 2 pictures \(png, jpg"):
            self.read(tmp_path, ("0.png", photo), ("0.jpg", photo), ("0.cls", b"1"))
        with pytest.raises(UserError, match=r"no picture, only depth\.png, cls, json; name it jpg"):
            self.read(tmp_path, *others)

    @pytest.mark.parametrize(
        "more, says",
        [
            ([("1.png", b"y")], r"member 1\.png is there twice"),
            (
                [("2.png", b"x"), ("2.cls", b"0"), ("1.cls", b"0")],
                "sample 1 is there twice, or its",
            ),
            ([("1.json", b'{"label": 2}')], r"two labels, 1 in its \.cls and 2 in its \.json"),
            ([("2.png", b"x"), ("2.cls", b"1_0")], "'1_0' is not a whole number"),
            ([("2.png", b"x"), ("2.json", b'{"label": 1e999}')], "no label in it"),
            ([("2.png", b"x"), ("2.json", b'{"cls": 1, "label": 2}')], "its keys disagree"),
            ([("2.png", b"x"), ("2.json", b"[" * 100_000)], "no label in it"),
            ([("2.png", b"x"), ("2.cls", str(2**70).encode())], "is not a whole number"),
        ],
    )
    def test_samples_that_say_two_things_are_refused(self, tmp_path: Path, more, says: str):
        with pytest.raises(UserError, match=says):
            self.read(tmp_path, ("1.png", b"x"), ("1.cls", b"1"), *more)

    def test_class_lists_of_all_shards_must_agree(self, tmp_path: Path):
        for name, names in (("a", "x\ny"), ("b", "y\nx")):
            (tmp_path / name).mkdir()
            self.read(tmp_path / name, ("0.png", b"x"), ("0.cls", b"1"), names=names)
        with pytest.raises(UserError, match="different class names, or the same in another order"):
            resolve(f"wds:{tmp_path}/{{a,b}}/0.tar", "eval")

    def test_numbers_of_shards_are_bounded(self, tmp_path: Path):
        for pattern in (
            "{0..9999999999}.tar",
            "{0..9999}{0..9999}.tar",
            "{0..99999999999999999999}",
        ):
            with pytest.raises(UserError, match="more than 1,000,000 shards"):
                resolve(f"wds:{tmp_path}/{pattern}", "eval")


def test_an_archive_is_judged_by_its_header_before_it_is_unpacked(tmp_path: Path):
    path = write_npz(tmp_path / "x.npz", pictures(6), turns(6))
    shape = "(6, 100000, 100000, 3)"
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(path) as archive:
        labels = archive.read("labels.npy")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", labels)
        archive.writestr("images.npy", b"\x93NUMPY\1\0\x76\0" + header.encode() + bytes(9))
    with pytest.raises(UserError, match="declares 180000000000 bytes"):
        resolve(f"npz:{path}", "eval")
    path.with_suffix(".classes.json").write_text(json.dumps(CLASSES[:1]))
    write_npz(path, pictures(6), turns(6) * 0, CLASSES[:1])
    with pytest.raises(UserError, match="one class only"):
        resolve(f"npz:{path}", "eval")
