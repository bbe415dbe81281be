"""Which device, precision and number of workers are taken where none is named."""

import torch

from grace_geom.devices import pick_device, pick_precision, pick_workers


def test_devices():
    assert pick_precision("auto", torch.device("cpu")) == "float32"
    assert pick_precision("fp16", torch.device("cpu")) == "fp16"
    assert (
        pick_workers(None, torch.device("cpu")) == 0 and pick_workers(3, torch.device("cpu")) == 3
    )
    assert 1 <= pick_workers(None, torch.device("cuda")) <= 8
    assert pick_device("cpu") == torch.device("cpu")
