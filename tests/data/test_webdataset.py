"""``wds:PATTERN``: shards as they are, and what is wrong with them, in clear words."""

import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import webdataset

from grace_geom.data import loader, resolve
from grace_geom.errors import UserError
from tests.data.makers import CLASSES, encoded, pictures, rgb, turns, write_shard, write_tar


class TestWebdataset:
    def test_reads_shards_in_order_with_names_beside_them(self, tmp_path: Path):
        for k in range(3):
            write_shard(tmp_path / f"part-{k:03d}.tar", pictures(4, seed=k), turns(4), first=4 * k)
        (tmp_path / "classnames.txt").write_text("apple\nbear\ncar\n")
        (tmp_path / "zeroshot_classification_templates.txt").write_text("a drawing of a {c}.\n")
        image_set = resolve(f"wds:{tmp_path}/part-{{000..002}}.tar", "eval")
        assert image_set.class_names == CLASSES and image_set.templates == ("a drawing of a {}.",)
        assert image_set.labels.tolist() == [0, 1, 2, 0] * 3
        assert all(
            np.array_equal(rgb(image_set, 4 * k + i), pictures(4, seed=k)[i])
            for k in range(3)
            for i in range(4)
        )
        assert len(image_set.note["files"]) == 3 and all(
            "sha256" in file for file in image_set.note["files"]
        )
        starred = resolve(f"wds:{tmp_path}/part-*.tar", "eval")
        assert np.array_equal(rgb(starred, 9), rgb(image_set, 9))
        assert len(resolve("wds:part-{001..002}.tar", "eval", data_root=tmp_path)) == 8

    def test_sees_what_the_webdataset_library_sees(self, tmp_path: Path):
        members = []
        for i, (image, label) in enumerate(zip(pictures(6, side=20), turns(6), strict=True)):
            members += [
                (f"deep/er/{i}.x.json", b"{}"),
                (f"deep/er/{i}.JPG", encoded(image, "JPEG")),
            ]
            members += [(f"deep/er/{i}.cls", f"{label}\n".encode())]
        write_tar(tmp_path / "a.tar", members)
        (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
        image_set = resolve(f"wds:{tmp_path}/a.tar", "eval")
        peer = list(
            webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)
            .decode("rgb8")
            .to_tuple("jpg", "cls")
        )
        assert image_set.labels.tolist() == [label for _, label in peer]
        assert all(np.array_equal(rgb(image_set, i), image) for i, (image, _) in enumerate(peer))

    def test_two_patterns_are_train_and_test(self, tmp_path: Path):
        for name, n in (("train", 10), ("test", 4)):
            write_shard(tmp_path / f"{name}.wds.tar", pictures(n), turns(n))
            (tmp_path / f"{name}.classes.json").write_text(json.dumps(CLASSES))
        spec = f"wds:{tmp_path}/train.wds.tar+{tmp_path}/test.wds.tar"
        assert [len(resolve(spec, split)) for split in ("train", "val", "test")] == [9, 1, 4]
        (tmp_path / "test.classes.json").write_text(json.dumps(CLASSES[::-1]))
        with pytest.raises(UserError, match="different class names"):
            resolve(spec, "train")

    def test_a_folder_that_counts_its_shards_is_read_as_clip_benchmarks(self, tmp_path: Path):
        for split, shards in (("train", 3), ("test", 1)):
            (tmp_path / split).mkdir()
            (tmp_path / split / "nshards.txt").write_text(f"{shards}\n")
            for k in range(shards):
                write_shard(
                    tmp_path / split / f"{k}.tar", pictures(4, seed=k), turns(4), first=4 * k
                )
        (tmp_path / "classnames.txt").write_text("apple\nbear\ncar\n")
        (tmp_path / "zeroshot_classification_templates.txt").write_text("a drawing of a {c}.\n")
        train, val, test = (resolve(f"wds:{tmp_path}", split) for split in ("train", "val", "test"))
        assert (len(train) + len(val), len(test)) == (12, 4) and test.class_names == CLASSES
        assert test.templates == ("a drawing of a {}.",) and np.array_equal(
            rgb(test, 3), pictures(4, seed=0)[3]
        )
        (tmp_path / "test" / "nshards.txt").write_text("many")
        with pytest.raises(UserError, match="'many', not a number of shards"):
            resolve(f"wds:{tmp_path}", "test")

    @pytest.mark.parametrize(
        "text, label", [('{"label": 2}', 2), ('{"cls": 1, "x": [3]}', 1), ("2", 2)]
    )
    def test_labels_may_be_json(self, tmp_path: Path, text: str, label: int):
        write_tar(
            tmp_path / "a.tar",
            [("s0.jpg", encoded(pictures(1)[0], "JPEG")), ("s0.json", text.encode())],
        )
        (tmp_path / "classnames.txt").write_text("a\nb\nc\n")
        assert resolve(f"wds:{tmp_path}/a.tar", "eval").labels.tolist() == [label]

    @pytest.mark.parametrize("cut", [20, 3000, -512 * 19, -10240, "middle of a header", "garbage"])
    def test_a_broken_shard_says_so(self, tmp_path: Path, cut):
        path = write_shard(tmp_path / "a.tar", pictures(8, side=20), turns(8))
        (tmp_path / "classnames.txt").write_text("a\nb\nc\n")
        whole = path.read_bytes()
        assert len(resolve(f"wds:{path}", "eval")) == 8
        if cut == "garbage":
            content = bytes(range(256)) * 40
        elif cut == "middle of a header":
            content = whole[:5120] + b"\xff" * 512 + whole[5632:]
        else:
            content = whole[:cut]
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tar is not a whole, uncompressed tar"):
            resolve(f"wds:{path}", "eval")

    def test_a_cut_between_two_members_is_seen_too(self, tmp_path: Path):
        path = write_tar(tmp_path / "a.tar", [("0.png", encoded(pictures(1)[0])), ("0.cls", b"0")])
        (tmp_path / "classnames.txt").write_text("a\n")
        content = path.read_bytes()
        path.write_bytes(
            content[: content.rindex(b"0" + bytes(511)) + 512]
        )  # ends with the label's own block
        with pytest.raises(UserError, match="no closing block after 2 good members"):
            resolve(f"wds:{path}", "eval")

    @pytest.mark.parametrize(
        "members, says",
        [
            ([("0.png", b"x")], "sample 0 has no label"),
            ([("0.cls", b"1")], "sample 0 has no picture, only cls"),
            ([("0.png", b"x"), ("0.cls", b"one")], "member 0.cls: no label in it"),
            ([("0.png", b"x"), ("0.json", b'{"text": "a"}')], "member 0.json: no label in it"),
            ([("0.png", b"x"), ("0.json", b'{"label": 0.5}')], "0.5 is not a whole number"),
            ([("0.png", b"x"), ("0.cls", b"3")], "0.png has label 3, but there are 3 class names"),
            ([], "no images"),
        ],
    )
    def test_samples_that_cannot_be_are_refused(self, tmp_path: Path, members, says: str):
        path = write_tar(tmp_path / "a.tar", members)
        (tmp_path / "classnames.txt").write_text("a\nb\nc\n")
        with pytest.raises(UserError, match=says):
            resolve(f"wds:{path}", "eval")

    def test_a_damaged_picture_is_named_with_its_shard(self, tmp_path: Path):
        path = write_tar(
            tmp_path / "a.tar",
            [("k/7.jpg", encoded(pictures(1, 40)[0], "JPEG")[:300]), ("k/7.cls", b"0")],
        )
        (tmp_path / "classnames.txt").write_text("a\nb\n")
        image_set = resolve(f"wds:{path}", "eval")
        with pytest.raises(
            UserError, match=r"a\.tar, member k/7\.jpg: not a readable image, 300 bytes"
        ):
            list(loader(image_set, 1, 8, train=True))

    def test_missing_things_are_named(self, tmp_path: Path):
        write_shard(tmp_path / "a.wds.tar", pictures(2), turns(2))
        with pytest.raises(
            UserError, match=r"no class names: write .*a\.classes\.json.*classnames\.txt"
        ):
            resolve(f"wds:{tmp_path}/a.wds.tar", "eval")
        with pytest.raises(UserError, match=r"did you mean 'a\.wds\.tar'"):
            resolve(f"wds:{tmp_path}/b.wds.tar", "eval")
        with pytest.raises(UserError, match="no shard fits"):
            resolve(f"wds:{tmp_path}/z*.tar", "eval")
        with pytest.raises(
            UserError, match=r"is a folder without test/nshards\.txt: name its shards"
        ):
            resolve(f"wds:{tmp_path}", "eval")
        with pytest.raises(UserError, match="local files or http"):
            resolve(f"wds:pipe:touch {tmp_path}/ran", "eval")
        assert not (tmp_path / "ran").exists()

    def test_shards_on_the_web_are_fetched_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "web").mkdir()
        for k in range(2):
            write_shard(tmp_path / "web" / f"{k}.tar", pictures(3, seed=k), turns(3), first=3 * k)
        (tmp_path / "web" / "classnames.txt").write_text("apple\nbear\ncar\n")
        monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "cache"))
        sent: list[str] = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def copyfile(self, source, outputfile):
                sent.append(self.path)
                super().copyfile(source, outputfile)

            def log_message(self, *args):
                pass

        handler = functools.partial(Handler, directory=str(tmp_path / "web"))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            root = f"http://127.0.0.1:{server.server_port}"
            image_set = resolve(f"wds:{root}/{{0..1}}.tar", "eval")
            assert image_set.class_names == CLASSES and image_set.labels.tolist() == [
                0,
                1,
                2,
                0,
                1,
                2,
            ]
            assert np.array_equal(rgb(image_set, 4), pictures(3, seed=1)[1])
            assert image_set.note["urls"] == [f"{root}/0.tar", f"{root}/1.tar"]
            kept = sorted(path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.tar"))
            resolve(f"wds:{root}/{{0..1}}.tar", "eval")
            assert (
                sorted(path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.tar"))
                == kept
            )
            with pytest.raises(UserError, match="answers 404"):
                resolve(f"wds:{root}/{{0..2}}.tar", "eval")
            server.shutdown()
        with pytest.raises(UserError, match=r"no class names|cannot be fetched"):
            resolve(f"wds:{root}/0.tar", "eval")
