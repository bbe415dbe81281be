"""A network whose input is no square, from training to the analyses of features."""

import json

import numpy as np
import pytest
from PIL import Image

from grace_geom.analyses import script
from grace_geom.config import make_config
from grace_geom.evaluate import main as evaluate
from grace_geom.training import train_run
from tests.toys import CONFIG


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(0)
    for part, n in (("train", 8), ("test", 6)):
        for name in ("dark", "light"):
            (here / part / name).mkdir(parents=True)
            for i in range(n):
                shade = rng.integers(0, 100, (20, 30, 3)) + 120 * (name == "light")
                Image.fromarray(shade.astype(np.uint8)).save(here / part / name / f"{i}.png")
    vision = {**CONFIG["vision_cfg"], "image_size": [16, 24]}
    (here / "wide.json").write_text(json.dumps({**CONFIG, "vision_cfg": vision}))
    return here


@pytest.mark.parametrize("method", ["grace", "tga-zsr", "comp-tga"])
def test_is_trained_and_evaluated_and_analysed(method, folder, tmp_path, capsys):
    options = {
        "model": str(folder / "wide.json"), "pretrained": "random", "data": f"folder:{folder}",
        "method": method, "out": str(tmp_path / method), "max_steps": 2, "batch_size": 8,
        "attack_steps": 1, "device": "cpu",
    }  # fmt: skip
    train_run(make_config(options))
    evaluate([str(tmp_path / method), "--suites", "id,adv", "--steps", "2", "--device", "cpu"])
    assert "id" in capsys.readouterr().out
    if method == "grace":
        few = ["--n", "8", "--attack-steps", "2", "--replicates", "4", "--device", "cpu"]
        script("feature_stability")([str(tmp_path / method), *few])
        assert "Stability" in capsys.readouterr().out
