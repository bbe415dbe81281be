"""TF32, which CUDA takes for float32 convolutions unless told otherwise: off where numbers are
measured.
"""

import pytest
import torch
import yaml
from torch.nn import functional as F
from torch.testing import assert_close

from grace_geom.analysis.features import collect
from grace_geom.checkpoint import load_checkpoint
from grace_geom.cli import RECORD
from grace_geom.devices import pick_device, tf32, tf32_allowed
from grace_geom.errors import Interrupted
from grace_geom.evaluation import evaluate_set
from grace_geom.training import train_run
from tests.pretended_gpu import pretended_gpu
from tests.small_run import small_config
from tests.test_distributed import noisy_set
from tests.toys import toy_batch, toy_clip

ON, OFF = ({"convolutions": x, "products": x} for x in (True, False))


@pytest.fixture(autouse=True)
def as_torch_starts():
    """TF32 in convolutions, as PyTorch has it; whatever a test leaves is put back."""
    with tf32(False):
        torch.backends.cudnn.allow_tf32 = True
        yield


def seen_by(monkeypatch, function: str) -> list[dict[str, bool]]:
    """The state at every call of a function of ``torch.nn.functional``."""
    states, real = [], getattr(F, function)

    def spy(*args, **kwargs):
        states.append(tf32_allowed())
        return real(*args, **kwargs)

    monkeypatch.setattr(F, function, spy)
    return states


def test_the_block_has_it_on_or_off_and_leaves_what_was_before():
    before = tf32_allowed()
    assert before == {"convolutions": True, "products": False}
    for allowed, state in ((True, ON), (False, OFF)):
        with tf32(allowed):
            assert tf32_allowed() == state
            assert torch.backends.cudnn.allow_tf32 is allowed  # readable by older code too
        assert tf32_allowed() == before


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9")
def test_off_is_off_where_torch_is_told_to_use_it_everywhere():
    torch.backends.fp32_precision = "tf32"
    try:
        with tf32(False):
            assert tf32_allowed() == OFF
    finally:
        torch.backends.fp32_precision = "none"


def test_a_picked_device_computes_float32():
    pick_device("cpu")
    assert tf32_allowed() == OFF
    pick_device("cpu", tf32=True)
    assert tf32_allowed() == ON


def test_features_by_the_towers_convolution_are_those_of_the_matrix_product():
    """The tower's own module, which the analyses of features hook, has a convolution; on a GPU its
    numbers were 1e-4 off what training and evaluation see.
    """
    with pretended_gpu(tf32=True):
        device = pick_device("cuda")
        model, batch = toy_clip().to(device), toy_batch().to(device)
        found = collect({"it": model}, [batch], images="x", distribution="id")["it"]
        with torch.no_grad():
            expected = model.encode(batch.images).cpu()
    assert_close(found.layers["embedding"], expected, rtol=1e-5, atol=1e-6)


def test_the_pretence_shows_the_fault():
    """Without it the test above could not fail."""
    with pretended_gpu(tf32=True), torch.no_grad():
        x, w = toy_batch().to("cuda").images, torch.ones(1, 3, 8, 8, device="cuda") / 3
        low = F.conv2d(x, w).cpu()
        with tf32(False):
            full = F.conv2d(x, w).cpu()
    assert (low - full).abs().max() > 1e-6 * full.abs().max()


def test_an_evaluation_is_in_float32_whatever_the_caller_is_in(monkeypatch):
    model, states = toy_clip(), seen_by(monkeypatch, "linear")
    with tf32(True):
        evaluate_set(model, noisy_set(), "id", "x")
        assert tf32_allowed() == ON
    assert states and all(state == OFF for state in states)


@pytest.mark.parametrize("asked", [False, True])
def test_training_uses_it_where_asked_and_records_it(tmp_path, monkeypatch, asked: bool):
    """Held-out accuracy is float32 either way, and the process is left as it was."""
    states, losses = seen_by(monkeypatch, "linear"), seen_by(monkeypatch, "cross_entropy")
    out = train_run(small_config(tmp_path, "ft", epochs=1, tf32=asked), quiet=True)
    assert losses and all(state == (ON if asked else OFF) for state in losses)
    assert states[-1] == OFF
    assert tf32_allowed() == {"convolutions": True, "products": False}
    kept = yaml.safe_load((out / "config.yaml").read_text())
    assert kept["tf32"] is asked and kept[RECORD]["tf32"] is asked


OLDER = {"device": "cuda:0", "precision": "float32"}


@pytest.mark.parametrize(
    "record, told",
    [
        (OLDER, 1),
        (OLDER | {"precision": "bf16"}, 0),
        (OLDER | {"device": "cpu"}, 0),
        (OLDER | {"tf32": False}, 0),
        (OLDER | {"resumed": [{"device": "cpu", "precision": "float32", "tf32": False}]}, 0),
        (OLDER | {"resumed": [OLDER]}, 1),
    ],
)
def test_a_run_begun_in_tf32_before_that_was_recorded_is_told_when_it_goes_on_without(
    tmp_path, capsys, record: dict, told: int
):
    """``stop_after`` leaves a run at its second step; its record is made that of an older one."""
    with pytest.raises(Interrupted):
        train_run(small_config(tmp_path, "ft", max_steps=3, epochs=None, stop_after=2), quiet=True)
    path = tmp_path / "run" / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["tf32"]
    path.write_text(yaml.safe_dump(settings | {RECORD: record}))
    capsys.readouterr()
    config = small_config(tmp_path, "ft", max_steps=3, epochs=None, resume=True)
    assert load_checkpoint(train_run(config, quiet=True)).step == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "TF32" in line]
    assert len(lines) == told
    assert all("convolutions in TF32; it goes on without" in line for line in lines)
    kept = yaml.safe_load(path.read_text())[RECORD]
    assert "tf32" in kept["resumed"][-1]
