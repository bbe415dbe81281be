"""The door ``python -m grace_geom.export``."""

import re
import subprocess
import sys

import open_clip
import pytest

from grace_geom import export
from grace_geom.checkpoint import digest, load_checkpoint
from tests.small_run import small_run


def test_exports_a_run_directory(tmp_path, capsys):
    out = small_run(tmp_path, "ft")
    export.main([str(out), "--out", str(tmp_path / "w.safetensors")])
    said = capsys.readouterr().out
    assert "text_head of the checkpoint" in said, "ft trains the head, which is no part of a CLIP"
    name = load_checkpoint(out).model
    clip = open_clip.create_model(name, pretrained=str(tmp_path / "w.safetensors"))
    assert digest(clip.state_dict()) == digest(load_checkpoint(out).state_dict)


def test_says_that_a_probe_s_head_is_not_in_the_file(tmp_path, capsys):
    export.main([str(small_run(tmp_path, "linear-probe"))])
    assert "text_head of the checkpoint" in capsys.readouterr().out


def test_the_default_name_is_beside_the_checkpoint(tmp_path, capsys):
    out = small_run(tmp_path)
    export.main([str(out / "ckpt.pt")])
    assert (out / "toy-clip.safetensors").is_file()
    assert "text_head" not in capsys.readouterr().out
    before = (out / "toy-clip.safetensors").read_bytes()
    export.main([str(out), "--force"])
    assert (out / "toy-clip.safetensors").read_bytes() == before


def test_the_printed_lines_read_the_embedded_model_where_only_open_clip_is_known(tmp_path, capsys):
    out = small_run(tmp_path, "zero-shot", model="tiny-shapes")
    export.main([str(out), "--out", str(tmp_path / "w.safetensors")])
    said = re.findall("read it with: (.*)", capsys.readouterr().out)
    code = "import open_clip\n" + "\n".join(said)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere/ckpt.pt"], "no such checkpoint: nowhere/ckpt.pt"),
        ([], "missing: checkpoint"),
        (["a.pt", "b.pt"], "b.pt"),
        (["a.pt", "--to", "x"], "unknown flag --to"),
    ],
)
def test_mistakes_exit_with_2(argv, said, capsys):
    with pytest.raises(SystemExit) as stop:
        export.main(argv)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
