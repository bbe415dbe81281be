"""Views of an image: compared with torchvision's transforms and with arithmetic."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F

from grace_geom.data.transforms import ATTEMPTS, as_rgb, crop_boxes, eval_view, train_view, uniforms
from tests.data.makers import pictures


@pytest.mark.parametrize("size", [(40, 40), (33, 57), (57, 33), (24, 20), (32, 64)])
def test_evaluation_view_is_torchvisions_resize_and_centre_crop(size: tuple[int, int]):
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    )
    peer = F.center_crop(F.resize(image, 32, InterpolationMode.BICUBIC), [32, 32])
    assert np.array_equal(eval_view(image, 32), np.asarray(peer))


def test_evaluation_view_leaves_an_image_of_the_right_size_alone():
    image = pictures(1, side=32)[0]
    assert np.array_equal(eval_view(Image.fromarray(image), 32), image)


def test_training_view_is_torchvisions_crop_and_resize():
    image = Image.fromarray(pictures(1, side=40)[0])
    peer = F.resized_crop(
        image,
        top=3,
        left=5,
        height=33,
        width=31,
        size=[24, 24],
        interpolation=InterpolationMode.BICUBIC,
    )
    assert np.array_equal(train_view(image, (5, 3, 36, 36), 24), np.asarray(peer))


def test_training_view_of_a_whole_image_of_the_right_size_is_that_image():
    image = pictures(1, side=32)[0]
    assert np.array_equal(train_view(Image.fromarray(image), (0, 0, 32, 32), 32), image)


@pytest.mark.parametrize("size", [(64, 64), (100, 75), (30, 300)])
def test_crop_boxes_have_torchvisions_distribution(size: tuple[int, int]):
    n, (width, height) = 4000, size
    boxes = crop_boxes(uniforms(0, 0, np.arange(n), 2 * ATTEMPTS + 2), np.tile(size, (n, 1)))
    ours = np.column_stack(
        [boxes[:, 0], boxes[:, 1], boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]]
    )
    assert (
        (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
    )
    torch.manual_seed(0)
    blank = torch.empty(3, height, width)
    peer = np.array(
        [RandomResizedCrop.get_params(blank, [0.9, 1.0], [3 / 4, 4 / 3]) for _ in range(n)]
    )[:, [1, 0, 3, 2]]
    error = np.sqrt((ours.var(0) + peer.var(0)) / n) + 1e-12
    assert (np.abs(ours.mean(0) - peer.mean(0)) < 4.5 * error).all()
    assert ours.std(0) == pytest.approx(peer.std(0), rel=0.1, abs=1e-9)


def test_uniforms_are_philox_at_a_counter_whatever_the_batch():
    rows = uniforms(7, 3, np.array([5, 900, 6]), 22)
    direct = np.random.Generator(np.random.Philox(key=[7, 3], counter=[0, 0, 0, 900])).random(22)
    assert np.array_equal(rows[1], direct)
    assert np.array_equal(uniforms(7, 3, np.array([6]), 22)[0], rows[2])
    for other in (uniforms(8, 3, np.array([6]), 22), uniforms(7, 4, np.array([6]), 22), rows[:1]):
        assert not np.isin(other[0], rows[2]).any()


def test_grey_is_repeated_and_exif_orientation_is_ignored(tmp_path):
    grey = pictures(1, channels=1)[0]
    assert np.array_equal(np.asarray(as_rgb(grey)), np.repeat(grey, 3, axis=-1))
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    Image.new("RGB", (16, 8)).save(path, exif=exif)
    assert as_rgb(Image.open(path)).size == (16, 8)
