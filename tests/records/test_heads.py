"""Files that are no weights are refused by their first bytes, and files of weights are not."""

import io
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from grace_geom.errors import UserError
from grace_geom.records.heads import HEAD, check_weights

LONG = ("Grüße, " * HEAD).encode()


def npz() -> bytes:
    np.savez(file := io.BytesIO(), images=np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("README.md", b"# A model\n\nIt is large.\n", r"it looks like text \(Markdown\); expected"),
        ("config.yaml", b"method: grace\nlr: 0.1\n", r"it looks like text \(YAML\); expected"),
        ("metrics.jsonl", b'{"step": 1}\n{"step": 2}\n', "it looks like JSON lines;"),
        ("eval.json", b'{\n  "format": 1\n}\n', "it looks like JSON;"),
        ("page.pt", b"<!DOCTYPE html>\n<html>", "a web page or XML: was its download refused"),
        ("lfs.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("x.png", b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG picture"),
        ("x.npz", npz(), r"NumPy arrays \(\.npz\)"),
        *((f"cut{k}.txt", LONG[k:], "it looks like text;") for k in range(2)),
    ],
)
def test_what_a_file_looks_like_is_said(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is not a checkpoint: .*{says}") as error:
        check_weights(tmp_path / name)
    assert "expected a run directory, or weights" in str(error.value)
    assert "\n" not in str(error.value) and "did you mean" not in str(error.value)


def test_arrays_may_be_pretrained_weights_but_no_checkpoint(tmp_path):
    for name, content in (("x.npz", npz()), ("x.npy", b"\x93NUMPY" + bytes(20))):
        (tmp_path / name).write_bytes(content)
        check_weights(tmp_path / name, arrays=True)
        with pytest.raises(UserError, match="is not a checkpoint: it looks like"):
            check_weights(tmp_path / name)
    (tmp_path / "x.bin").write_bytes(npz())  # its reader goes by the name
    with pytest.raises(UserError, match=r"NumPy arrays \(\.npz\); .*, or big_vision's \.npz$"):
        check_weights(tmp_path / "x.bin", arrays=True)


@pytest.mark.parametrize("place", ["metrics.jsonl", "analyses/sharpness.json"])
def test_the_run_that_it_lies_in_is_offered(tmp_path, place):
    (tmp_path / "ckpt.pt").touch()
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text('{"step": 1}\n')
    with pytest.raises(UserError, match=f"did you mean its run, {tmp_path}"):
        check_weights(tmp_path / place)


def test_whatever_holds_weights_is_left_to_who_reads_it(tmp_path):
    weights, file = {"w": torch.arange(3.0)}, tmp_path / "x"
    torch.save(weights, file)
    check_weights(file)
    torch.save(weights, file, _use_new_zipfile_serialization=False)
    check_weights(file)
    save_file(weights, file)
    check_weights(file)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for content in ({"w": [0.5, 1.5]}, [1, 2], torch.ones(2), (1, "a")):
            file.write_bytes(pickle.dumps(content, protocol=protocol))
            check_weights(file)
    file.write_bytes(b"")  # a run that is just written
    check_weights(file)
    check_weights(tmp_path / "nothing")
