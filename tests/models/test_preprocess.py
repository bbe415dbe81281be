"""What enters the tower is bit for bit what open_clip's own transform makes of a picture."""

import json
import warnings
from dataclasses import asdict

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image

from grace_geom.checkpoint import checkpoint_of, load, open_base, open_checkpoint, save_checkpoint
from grace_geom.checkpoint.export import export_weights
from grace_geom.data import from_arrays, loader, resolve
from grace_geom.data.base import ImageSet
from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, build, open_clip_model, preprocess_of
from grace_geom.models.loading import preprocess_as_file
from grace_geom.models.preprocessing import of_tag
from grace_geom.preprocess import Preprocess, parsed
from tests.data.makers import write_tar
from tests.toys import CLASSES, TEMPLATES, register_toy, toy_clip

SIZES = ((48, 96), (97, 41), (64, 64), (33, 500), (16, 16), (15, 17), (224, 224), (640, 427))
MODES = ("RGB", "L", "RGBA", "LA", "P", "CMYK")


MODEL = toy_clip()
MODEL.shape = None  # so that the module itself is called
MODEL.clip.visual.forward = lambda x: torch.zeros(len(x), 4)


def listed() -> list[Preprocess]:
    """Every preprocessing that a tag of open_clip has, at its network's size."""
    found = set()
    for model, tag in open_clip.list_pretrained():
        size = open_clip.get_model_config(model)["vision_cfg"].get("image_size", 224)
        found.add(of_tag(model, tag, Preprocess((size, size))))
    return sorted(found, key=str)


def oracle(cfg: dict, size) -> object:
    merged = merge_preprocess_dict(PreprocessCfg(), cfg)
    return image_transform_v2(PreprocessCfg(**{**merged, "size": size}), is_train=False)


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    rgb = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    image = rgb.convert(mode)
    if mode in ("RGBA", "LA"):
        alpha = rng.integers(0, 256, (height, width), dtype=np.uint8)
        image.putalpha(Image.fromarray(alpha))
    return image


def entering(preprocess: Preprocess, pictures: list[Image.Image]) -> torch.Tensor:
    """What the tower of a toy with this preprocessing is handed."""
    model, kept = MODEL, []
    model.read_as(preprocess)
    hook = model.clip.visual.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    images = ImageSet(
        "pictures", "pictures", "test", np.zeros(len(pictures)), CLASSES, TEMPLATES,
        pictures.__getitem__,
    )  # fmt: skip
    for batch in loader(images, 3, preprocess, train=False):
        model.encode(batch.images)
    hook.remove()
    return torch.cat(kept)


def test_every_tag_of_open_clip_is_read_from_its_configuration():
    for model, tag in open_clip.list_pretrained():
        cfg = open_clip.get_pretrained_cfg(model, tag)
        found = of_tag(model, tag, Preprocess())
        assert (found.resize_mode, found.interpolation) == (
            cfg["resize_mode"],
            cfg["interpolation"],
        )
        assert (found.mean, found.std) == (cfg["mean"], cfg["std"])


@pytest.mark.parametrize("preprocess", sorted(listed(), key=repr), ids=lambda p: f"{p.size[0]} {p}")
def test_what_enters_the_tower_is_what_open_clip_would_hand_it(preprocess):
    peer = oracle(preprocess.record(), preprocess.size[0])
    pictures = [picture(*size, seed=k) for k, size in enumerate(SIZES)]
    expected = torch.stack([peer(image) for image in pictures])
    assert torch.equal(entering(preprocess, pictures), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_modes_shapes_and_fills_too(mode, resize_mode):
    pictures = [picture(*s, mode, k) for k, s in enumerate(SIZES) if s != (33, 500)]
    for interpolation in ("bicubic", "bilinear"):
        for size in ((32, 32), (24, 40), (40, 24)):
            cfg = {"resize_mode": resize_mode, "interpolation": interpolation, "fill_color": 77}
            expected = torch.stack([oracle(cfg, size)(image) for image in pictures])
            assert torch.equal(entering(Preprocess(size, **cfg), pictures), expected)


FILES = (
    ("RGB", "JPEG", {}), ("L", "JPEG", {}), ("CMYK", "JPEG", {}), ("CMYK", "TIFF", {}),
    ("1", "PNG", {}), ("1", "TIFF", {}), ("1", "PPM", {}), ("L", "PNG", {"transparency": 9}),
    ("LA", "PNG", {}), ("LA", "TIFF", {}), ("RGBA", "PNG", {}), ("RGBA", "WEBP", {}),
    ("RGBA", "TIFF", {}), ("RGBA", "BMP", {}), ("RGB", "PNG", {"transparency": (1, 2, 3)}),
    ("P", "PNG", {}), ("P", "PNG", {"transparency": 3}), ("P", "PNG", {"transparency": bytes(99)}),
    ("P", "BMP", {}), ("P", "GIF", {}), ("P", "TIFF", {}), ("YCbCr", "TIFF", {}),
    ("LAB", "TIFF", {}), ("RGB", "PPM", {}), ("RGB", "WEBP", {"lossless": True}),
)  # fmt: skip


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("from_shards", [False, True])
def test_files_of_every_mode_enter_as_open_clip_reads_them(tmp_path, resize_mode, from_shards):
    paths = []
    for i, (mode, kind, more) in enumerate(FILES):
        path = tmp_path / f"{'ab'[i % 2]}" / f"{i:02d}.png"  # a name tells nothing of the format
        path.parent.mkdir(exist_ok=True)
        rgb = mode in ("LAB", "YCbCr")
        image = picture(37, 61, "RGB" if rgb else mode, seed=i)
        (image.convert("LAB") if mode == "LAB" else image.convert(mode)).save(path, kind, **more)
        paths.append(path)
    if from_shards:
        members = []
        for i, path in enumerate(paths):
            members += [(path.name, path.read_bytes()), (f"{i:02d}.cls", str(i % 2).encode())]
        (tmp_path / "classnames.txt").write_text("a\nb\n")
        images = resolve(f"wds:{write_tar(tmp_path / '0.tar', members)}", "eval")
    else:
        paths.sort()
        images = resolve(f"folder:{tmp_path}", "eval")
    preprocess = Preprocess((24, 24), resize_mode, "bicubic", fill_color=7)
    transform = oracle(preprocess.record(), preprocess.size)
    got = torch.cat([batch.images for batch in loader(images, 4, preprocess, train=False)])
    mean, std = (torch.tensor(x)[:, None, None] for x in (preprocess.mean, preprocess.std))
    for path, found in zip(paths, got, strict=True):
        expected = transform(Image.open(path))
        mode = Image.open(path).mode
        assert torch.equal((found - mean) / std, expected), (mode, path.name)


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(12, 12), (8, 14)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_memory_are_read_as_pictures_are(resize_mode, size, channels):
    shapes = [size, (12, 12), (9, 30)]
    preprocess = Preprocess(size, resize_mode, "bilinear", fill_color=9)
    for height, width in shapes:
        arrays = np.random.default_rng(0).integers(
            0, 256, (5, height, width, channels), dtype=np.uint8
        )
        labels = np.zeros(5, dtype=np.int64)
        stored = from_arrays("memory", arrays, labels, CLASSES[:1])
        found = torch.cat([b.images for b in loader(stored, 2, preprocess, train=False)])
        peer = oracle({**preprocess.record(), "mean": (0.0,) * 3, "std": (1.0,) * 3}, size)
        pictures = [Image.fromarray(a[..., 0] if channels == 1 else a) for a in arrays]
        assert torch.equal(found, torch.stack([peer(image) for image in pictures]))


def test_a_side_in_pixels_is_open_clips_default():
    assert (
        asdict(Preprocess((32, 32))).items()
        >= {k: v for k, v in asdict(PreprocessCfg()).items() if k not in ("size", "mode")}.items()
    )


@pytest.fixture
def toy_file(tmp_path):
    file = tmp_path / "hub" / "open_clip_model.pt"
    file.parent.mkdir()
    torch.save(toy_clip().clip.state_dict(), file)
    return file


def test_the_hubs_configuration_beside_a_file_is_what_open_clip_reads(toy_file):
    own = {"mean": [0.5] * 3, "std": [0.25, 0.5, 0.75], "interpolation": "bilinear"}
    config = {
        "model_cfg": open_clip.get_model_config(register_toy()),
        "preprocess_cfg": own | {"resize_mode": "longest"},
    }
    (toy_file.parent / "open_clip_config.json").write_text(json.dumps(config))
    _, _, peer = open_clip.create_model_and_transforms(f"local-dir:{toy_file.parent}")
    clip, _ = open_clip_model(ModelSpec(register_toy(), str(toy_file)))
    pictures = [picture(48, 96), picture(20, 11)]
    found = entering(preprocess_of(clip), pictures)
    assert torch.equal(found, torch.stack([peer(image) for image in pictures]))
    model, _ = open_checkpoint(toy_file, model=register_toy(), class_names=CLASSES)
    assert model.preprocess == preprocess_of(clip)


@pytest.mark.parametrize(
    ("name", "expected", "said"),
    [
        ("ViT-B-16-SigLIP", ("squash", "bicubic", 0.5), "as its tags:"),
        ("ViT-H-14-CLIPA", ("squash", "bilinear", 0.485), "as its tags:"),
        ("ViT-L-14", ("shortest", "bicubic", 0.48145466), "not laion2b_s32b_b82k"),
        ("ViT-S-16", ("shortest", "bicubic", 0.48145466), "open_clip's default"),
    ],
)
def test_a_bare_file_is_guessed_from_its_network_and_said(name, expected, said, tmp_path):
    clip = toy_clip().clip  # stands for the network: only its size is asked
    with pytest.warns(UserWarning, match=said):
        preprocess_as_file(clip, ModelSpec(name, "bare.pt"), tmp_path / "bare.pt")
    found = preprocess_of(clip)
    assert (found.resize_mode, found.interpolation, found.mean[0]) == expected


def test_what_is_given_is_no_guess(toy_file):
    given = "resize_mode=squash, interpolation=bilinear, mean=0.4,0.5,0.6, std=0.2, fill_color=3"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip, _ = open_clip_model(ModelSpec(register_toy(), str(toy_file), preprocess=given))
    expected = Preprocess((16, 16), "squash", "bilinear", (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 3)
    assert preprocess_of(clip) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resize_mode=squish", "resize_mode is 'squish'; valid: shortest"),
        ("resize=squash", "'resize' is not known; did you mean 'resize_mode'"),
        ("mean=0.5,0.5", "one number or three"),
        ("mean=nan", "one number or three"),
        ("std=0", "std must be above 0"),
        ("std=a", "--preprocess"),
        ("fill_color=300", "0 to 255"),
        ("fill_color=x", "--preprocess"),
        ("mean=", "mean has no value"),
        ("nowhere.json", "cannot be read"),
        ("squash", "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(text, said):
    with pytest.raises(UserError, match=said) as caught:
        Preprocess().overlaid(parsed(text), "--preprocess")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[1]", "{", '{"preprocess_cfg": 3}', '{"mean": {"a": 1}}'])
def test_a_configuration_that_is_none_is_refused(content, tmp_path):
    file = tmp_path / "open_clip_config.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"open_clip_config\.json"):
        Preprocess().overlaid(parsed(str(file)), str(file))


def test_a_checkpoint_reads_pictures_as_the_run_did(tmp_path):
    spec = ModelSpec(register_toy(), "random", preprocess="resize_mode=squash,mean=0.3,std=0.7")
    model = build(spec, CLASSES, TEMPLATES)
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint_of(model, {}))
    opened, checkpoint = open_checkpoint(tmp_path / "ckpt.pt")
    assert opened.preprocess == model.preprocess != toy_clip().preprocess
    assert open_base(checkpoint).preprocess == model.preprocess
    assert preprocess_of(load(tmp_path / "ckpt.pt")) == model.preprocess
    assert torch.equal(opened.mean, model.mean) and torch.equal(opened.std, model.std)
    text = export_weights(tmp_path / "ckpt.pt", tmp_path / "out.safetensors")
    force = eval(text.partition("force_preprocess_cfg=")[2].partition("}")[0] + "}")
    peer = open_clip.create_model(
        register_toy(), str(tmp_path / "out.safetensors"), force_preprocess_cfg=force
    )
    assert preprocess_of(peer) == model.preprocess


def test_a_checkpoint_from_before_resize_modes_were_kept_reads_as_it_did(tmp_path):
    spec = ModelSpec(register_toy(), "random", preprocess="resize_mode=squash,mean=0.5,std=0.5")
    checkpoint = checkpoint_of(build(spec, CLASSES, TEMPLATES), {})
    old = {"mean": [0.5] * 3, "std": [0.5] * 3, "image_size": 16}
    checkpoint.preprocess = old
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint)
    opened, read = open_checkpoint(tmp_path / "ckpt.pt")
    former = Preprocess((16, 16), "shortest", "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert opened.preprocess == open_base(read).preprocess == former


def test_the_embedded_model_reads_as_before():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(ModelSpec(), ("circle",), ("a {}",))
    assert model.preprocess == Preprocess((32, 32))


def test_a_picture_of_which_nothing_would_be_left_is_named():
    with pytest.raises(UserError, match="2000 x 1 pixels"):
        entering(Preprocess((16, 16), "longest"), [picture(2000, 1)])
