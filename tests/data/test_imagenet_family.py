"""ImageNet's relatives in small trees of the published layouts: labels, masks, and what earlier
code got wrong.
"""

import hashlib
import io
import json
import tarfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grace_geom.data import ImageSet, loader, resolve, suites
from grace_geom.data.check import survey, table
from grace_geom.data.imagenet_ids import objectnet, subset, wnids
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.errors import UserError
from grace_geom.evaluation.reader import choose_columns, reader_for
from tests.data.makers import encoded, pictures

PIXEL = encoded(pictures(1, side=4)[0])


def tree(root: Path, folders: list[str], content: bytes = PIXEL) -> Path:
    """One picture in each folder."""
    for folder in folders:
        path = root / folder
        path.mkdir(parents=True)
        (path / "0.png").write_bytes(content)
    return root


def test_the_index_lists_are_those_of_a_library_that_keeps_its_own():
    info = files("timm") / "data" / "_info"

    def lines(name: str) -> list[str]:
        return (info / name).read_text().split()

    assert (
        list(wnids()) == lines("imagenet_synsets.txt") == sorted(wnids())
        and len(set(wnids())) == 1000
    )
    for name in ("a", "r"):
        ids = subset(f"imagenet-{name}")
        assert [wnids()[i] for i in ids] == lines(f"imagenet_{name}_synsets.txt")
        assert len(ids) == 200 and list(ids) == sorted(ids)


def test_objectnets_folders_stand_for_the_classes_their_names_say():
    groups = objectnet()
    flat = [i for group in groups.values() for i in group]
    assert len(groups) == 113 and len(flat) == len(set(flat)) == 125
    names = imagenet_class_names()
    said = {folder: [names[i] for i in ids] for folder, ids in groups.items()}
    assert said["alarm_clock"] == ["analog clock", "digital clock"] and said["banana"] == ["banana"]
    assert said["pen"] == ["ballpoint pen", "fountain pen", "quill"]
    shared = [
        f
        for f, s in said.items()
        if set(f.split("_")) & {word for name in s for word in name.lower().split()}
    ]
    assert len(shared) > 75, "most folders share a word with a name of their class"


def test_v2s_folders_are_integers_not_text(tmp_path: Path):
    tree(tmp_path / "imagenetv2-matched-frequency-format-val", [str(k) for k in range(1000)])
    found = resolve("imagenet-v2", "test", data_root=tmp_path)
    assert {
        Path(name).parent.name: label
        for name, label in zip(found.fetch.names, found.labels, strict=True)
    } == {str(k): k for k in range(1000)}
    assert (
        found.class_ids is None
        and found.class_names == imagenet_class_names()
        and len(found.templates) == 80
    )
    assert found.note["published_images"] == 10_000


@pytest.mark.parametrize(
    "spec, place, key",
    [
        ("imagenet-a", "imagenet-adversarial/imagenet-a", "imagenet-a"),
        ("imagenet-a-plus", "imagenet-a-plus/IN-A-Plus", "imagenet-a"),
        ("imagenet-r", "imagenet-r", "imagenet-r"),
    ],
)
def test_subsets_are_masked_in_the_order_of_wordnet_ids(
    tmp_path: Path, capsys, spec: str, place: str, key: str
):
    ids = subset(key)
    root = tree(tmp_path / place, [wnids()[i] for i in reversed(ids)])
    (root / "README.txt").write_text("as in the archive")
    found = resolve(spec, "eval", data_root=tmp_path)
    assert found.class_ids == ids and len(found.class_names) == 200
    for label, name in zip(found.labels, found.fetch.names, strict=True):
        assert wnids().index(Path(name).parent.name) == ids[label]
        assert found.class_names[label] == imagenet_class_names()[ids[label]]
    warned = capsys.readouterr().err
    assert ("the published set has" in warned) == (spec != "imagenet-a-plus")
    (root / wnids()[0]).mkdir()
    with pytest.raises(
        UserError, match=f"201 class folders, not the 200 of {spec} .*unknown: n01440764"
    ):
        resolve(spec, "eval", data_root=tmp_path)


class Scores(torch.nn.Module):
    """Fixed logits, with the face of a ClipClassifier."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.class_names = logits, tuple(str(k) for k in range(logits.shape[1]))

    def forward(self, x, weights=None):
        return self.logits[: len(x)]


def image_set(labels: list[int], class_ids) -> ImageSet:
    names = tuple(f"c{k}" for k in range(len(class_ids)))
    return ImageSet(
        "x",
        "x",
        "test",
        np.array(labels),
        names,
        ("a {}",),
        lambda i: pictures(1)[0],
        class_ids=class_ids,
    )


def test_a_class_that_stands_for_several_scores_the_largest_of_them():
    logits = torch.tensor([[0.0, 5.0, 1.0, 4.0, 2.0], [9.0, 0.0, 8.0, 0.0, 3.0]])
    columns = (2, (1, 4), (0, 3))
    expected = torch.tensor([[1.0, 5.0, 4.0], [8.0, 3.0, 9.0]])
    assert torch.equal(choose_columns(logits, columns), expected)
    assert torch.equal(choose_columns(logits, (4, 0)), logits[:, [4, 0]])
    reader = reader_for(Scores(logits), image_set([1, 2], columns))  # type: ignore[arg-type]
    assert torch.equal(reader(torch.zeros(2, 3, 4, 4)), expected)
    with pytest.raises(UserError, match=r"more than 7 classes, this checkpoint has 5: .*zeroshot"):
        reader_for(Scores(logits), image_set([0], ((7, 1),)))  # type: ignore[arg-type]


def test_masking_a_head_of_a_thousand_equals_a_head_of_the_200():
    g = torch.Generator().manual_seed(0)
    features, head = torch.randn(6, 8, generator=g), torch.randn(1000, 8, generator=g)
    ids = subset("imagenet-r")
    assert torch.allclose(choose_columns(features @ head.T, ids), features @ head[list(ids)].T)


def test_objectnet_loses_its_frame_and_its_foreign_classes(tmp_path: Path):
    framed = np.zeros((12, 10, 3), dtype=np.uint8)
    framed[..., 0] = 255
    framed[2:-2, 2:-2] = 7
    root = tree(
        tmp_path / "objectnet-1.0" / "images",
        [*objectnet(), "air_freshener", "scissors"],
        encoded(framed),
    )
    found = resolve("objectnet", "eval", data_root=tmp_path)
    assert len(found) == len(found.class_names) == 113 and "air freshener" not in found.class_names
    picture = np.asarray(found.fetch(5))
    assert picture.shape == (8, 6, 3) and (picture == 7).all()
    place = found.class_names.index("pen")
    assert found.class_ids is not None and found.class_ids[place] == objectnet()["pen"]
    (root / "wok" / "0.png").unlink()
    (root / "wok").rmdir()
    with pytest.raises(UserError, match="lacks wok of ObjectNet's 113"):
        resolve("objectnet", "eval", data_root=tmp_path)


def test_corrupted_images_are_not_resized_again(tmp_path: Path):
    noisy = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    for severity in "12345":
        tree(tmp_path / "imagenet-c" / "noise" / "shot_noise" / severity, list(wnids()))
    (tmp_path / "imagenet-c/noise/shot_noise/3" / wnids()[17] / "0.png").write_bytes(encoded(noisy))
    one = resolve("imagenet-c:shot_noise:3", "eval", data_root=tmp_path)
    assert one.labels.tolist() == list(range(1000)) and one.class_names == imagenet_class_names()
    batch = next(iter(loader(one.take([17]), 1, 224, train=False)))
    assert np.array_equal((batch.images[0] * 255).round().byte().permute(1, 2, 0).numpy(), noisy)
    whole = resolve("imagenet-c:shot_noise", "eval", data_root=tmp_path)
    assert len(whole) == 5000 and whole.labels.tolist() == list(range(1000)) * 5
    assert np.array_equal(np.asarray(whole.fetch(2017)), noisy) and len(whole.note["parts"]) == 5
    for spec, says in (
        ("imagenet-c", "no folder .*gaussian_noise"),
        ("imagenet-c:shot_nose", "did you mean 'shot_noise'"),
        ("imagenet-c:shot_noise:6", "it must be 1 to 5"),
        ("imagenet-r:x", "only imagenet-c takes"),
    ):
        with pytest.raises(UserError, match=says):
            resolve(spec, "eval", data_root=tmp_path)


def test_sketch_and_imagenet_in_other_repositories_folders(tmp_path: Path):
    tree(tmp_path / "imagenet-sketch" / "images", list(wnids()))
    tree(tmp_path / "imagenet" / "images" / "val", list(wnids()))
    sketch = resolve("imagenet-sketch", "eval", data_root=tmp_path)
    assert (
        sketch.labels.tolist() == list(range(1000))
        and sketch.class_names[134] == imagenet_class_names()[134]
    )
    assert len(resolve("imagenet", "test", data_root=tmp_path)) == 1000
    found = {row.name: row for row in survey(tmp_path)}
    assert found["imagenet-sketch"].parts == {"test": (1000, 1000)}
    assert found["imagenet-sketch"].problem == "the set has 1,000 images, the published one 50,889"
    assert (
        found["imagenet"].problem
        == "val has 1,000 images, the published one 50,000; no train folder"
    )
    assert "missing    objectnet" in table(list(found.values()))


def test_imagenet_brings_the_papers_suites():
    found = suites("imagenet")
    assert list(found["ood"].values()) == ["imagenet-v2", "imagenet-sketch", "imagenet-r"]
    assert (
        list(found["natural_adv"].values()) == ["imagenet-a", "imagenet-a-plus"]
        and len(found["zeroshot"]) >= 12
    )


def test_real_images_get_their_wordnet_ids_labels(packs: Path, tmp_path: Path):
    names = json.loads((packs / "imagenet_samples.classes.json").read_text())
    assert tuple(names["wnids"]) == wnids()
    with tarfile.open(packs / "imagenet_samples.wds.tar") as tar:
        members = {m.name: m for m in tar.getmembers()}
        content = {}
        for name in [n for n in members if n.endswith(".cls")]:
            label, picture = tar.extractfile(name), tar.extractfile(name[:-3] + "jpg")
            assert label is not None and picture is not None
            content[int(label.read())] = picture.read()
    for label, jpeg in content.items():
        path = tmp_path / "ILSVRC2012" / "val" / wnids()[label] / f"ILSVRC2012_val_{label:08d}.JPEG"
        path.parent.mkdir(parents=True)
        path.write_bytes(jpeg)
    found = resolve("imagenet", "eval", data_root=tmp_path)
    assert found.labels.tolist() == list(range(1000))
    for label in (0, 217, 999):
        real = Image.open(io.BytesIO(content[label])).convert("RGB")
        seen = hashlib.sha256(np.asarray(found.fetch(label)).tobytes()).hexdigest()
        assert seen == hashlib.sha256(np.asarray(real).tobytes()).hexdigest()
    batch = next(iter(loader(found.subset(4, 0), 4, 224, train=False)))
    assert batch.images.shape == (4, 3, 224, 224)
