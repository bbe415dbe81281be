"""What a GPU is sent: bytes from page-locked memory, without waiting; never floats."""

import numpy as np
import pytest
import torch
import yaml
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from grace_geom.analysis.features.survey import FeaturePlan, clean_features
from grace_geom.cli import RECORD
from grace_geom.data import loader
from grace_geom.data.batches import as_floats
from grace_geom.evaluation import evaluate_set
from grace_geom.training import train_run
from tests.pretended_gpu import pretended_gpu
from tests.small_run import lines, small_config
from tests.test_distributed import noisy_set
from tests.toys import toy_clip

PIXELS = 3 * 16 * 16


class Sent(TorchFunctionMode):
    """Bytes of the images ``(b, ...)`` that a device other than the CPU is sent, by their type."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[torch.dtype, int] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func is torch.Tensor.to and self.is_image(x := args[0]) and out.device.type == "cuda":
            self.bytes[x.dtype] = self.bytes.get(x.dtype, 0) + x.nbytes
        return out

    @staticmethod
    def is_image(x: torch.Tensor) -> bool:
        """Neither a kernel nor a mean."""
        sides = x.shape[1:3] if x.dtype == torch.uint8 else x.shape[2:]
        return x.ndim == 4 and tuple(sides) == (16, 16) and x.device.type == "cpu"


def pageable(seen) -> list[str]:
    """Copies of what the loader reads that the host waits for."""
    return [where for what, where in seen.uploads if "pageable" in what and "data/batches" in where]


def test_every_byte_becomes_the_float_that_division_gives():
    """By 255.0 in float32, correctly rounded: as numpy divides."""
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    assert_close(as_floats(every).flatten().numpy(), expected, rtol=0, atol=0)
    with pretended_gpu():
        divisors = []

        class Divisors(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                if func is torch.Tensor.div_:
                    divisors.append(args[1])
                return func(*args, **(kwargs or {}))

        with Divisors():
            there = as_floats(every.to("cuda"))
        # CUDA multiplies with the reciprocal of a number of the host, which is rounded once more.
        assert all(isinstance(d, torch.Tensor) and d.device.type == "cuda" for d in divisors)
        assert_close(there.cpu().flatten().numpy(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("train", [True, False])
def test_batches_are_those_of_the_cpu_and_a_quarter_of_their_bytes_is_sent(train: bool):
    images, settings = noisy_set(), {"train": train, "seed": 3}
    here = list(loader(images, 8, 16, **settings))
    with pretended_gpu() as seen:
        with Sent() as sent:
            there = list(loader(images, 8, 16, **settings, device="cuda"))
        assert all(b.images.device.type == b.labels.device.type == "cuda" for b in there)
        found = [(b.images.cpu(), b.labels.cpu(), b.index.cpu()) for b in there]
    assert sent.bytes == {torch.uint8: len(images) * PIXELS}
    assert not pageable(seen)
    for one, (x, y, index) in zip(here, found, strict=True):
        assert torch.equal(one.images, x) and torch.equal(one.labels, y)
        assert torch.equal(one.index, index)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_step_of_training_sends_its_images_as_bytes(tmp_path, workers: int):
    config = small_config(tmp_path, "ft", device="cuda", epochs=1, workers=workers)
    with pretended_gpu() as seen, Sent() as sent:
        out = train_run(config, quiet=True)
    assert not pageable(seen)
    data = yaml.safe_load((out / "config.yaml").read_text())[RECORD]["data"]
    steps = lines(out / "metrics.jsonl")[-1]["step"]
    assert steps == 5
    assert sent.bytes == {torch.uint8: (8 * steps + data["val"]["images"]) * PIXELS}


def test_evaluation_and_features_send_bytes_too():
    images = noisy_set()
    with pretended_gpu() as seen, Sent() as sent:
        model = toy_clip().to("cuda")
        evaluate_set(model, images, "id", "x", batch_size=8)
        clean_features({"it": model}, images, {}, FeaturePlan())
    assert sent.bytes == {torch.uint8: 2 * len(images) * PIXELS}
    assert not pageable(seen)
