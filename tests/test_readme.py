"""The README's examples run, in its order, on a small stand-in for the reader's model and data."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processes import python

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
SMALL = {
    "grace_geom.train": ["--max-steps", "2", "--batch-size", "4"],
    "grace_geom.evaluate": ["--n", "4", "--steps", "2"],
    "grace_geom.compare": ["--max-steps", "2", "--batch-size", "4", "--n", "4", "--steps", "2"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def folder_of_pictures(root: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")


def run(words: list[str], folder: Path) -> None:
    done = python(words, folder, folder / "log")
    assert done.code == 0, f"{' '.join(words)}\n{done.said[-2000:]}"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    folder_of_pictures(folder / "photos")
    folder_of_pictures(folder / "sketches")
    return folder


@pytest.mark.usefixtures("sketched")
def test_shell_examples_run(place):
    (examples, *_) = blocks("bash")
    lines = [line for line in examples.splitlines() if line.startswith("python -m grace_geom.")]
    assert len(lines) >= 5
    for line in lines:
        line = line.replace("--model ViT-B-32 --pretrained openai", "--model tiny-shapes").replace(
            "0,1,2", "0"
        )
        command = shlex.split(line, comments=True)
        run([*command[1:], *SMALL.get(command[2], [])], place)
    assert (place / "photos.safetensors").is_file()


def test_python_examples_run(place):
    (checkpoint,) = re.findall(r'grace_geom.load\("(.*?)"\)', README)
    for code in blocks("python"):
        run(["-c", code.replace(checkpoint, "runs/photos/ckpt.pt")], place)


def test_every_door_is_in_the_table():
    for door in ("train", "evaluate", "interpolate", "compare", "pretrain", "export", "data check"):
        assert f"`python -m grace_geom.{door}" in README
