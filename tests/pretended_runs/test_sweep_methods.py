"""Every method on a pretended GPU: trained, stopped, resumed, in each precision and in pieces."""

from pathlib import Path
from typing import Any

import pytest

from grace_geom.methods import METHODS
from tests.pretended_runs.there import gpu, trained

pytestmark = pytest.mark.nightly

PIECES: dict[str, dict[str, Any]] = {
    "micro-batch": {"micro_batch": 3, "val_pgd": 1},
    "micro-batch auto": {"micro_batch": "auto", "image_size": 24},
    "grad-checkpoint": {"grad_checkpoint": True},
}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "grace": [
        {"attack_stop": 0.5},
        {"attack_stop": 0.5, "micro_batch": "auto"},
        {"awp_reuse": True},
        {"awp_reuse": True, "attack_stop": 0.5},
        {"awp_direction": "sketch", "awp_steps": 2},
        {"gv_anchor": True},
        {"gv_form": "spread"},
        {"curvature_labels": "sampled"},
        {"absolute": True},
        {"gv": False},
        {"lar": False},
        {"curriculum": False},
        {"preset": "cheap"},
        {"adapter": "full"},
        {"adapter": "dora"},
        {"spd": 0.5},
        {"awp_m": 3},
        {"awp_m": 3, "micro_batch": "auto", "attack_stop": 0.5},
        {"bf16_residual": True, "precision": "bf16"},
    ],
    "at": [{"ema": 0.9}, {"attack_stop": 0.5}, {"attack_stop": 0.5, "micro_batch": "auto"}],
    "awp": [{"attack_stop": 0.5, "micro_batch": "auto"}],
    "sam": [{"m": 2}],
    "tpgm": [{"norm": "mars"}],
    "pmg-aft": [{"preset": "published"}],
    "vpt-pmg-aft": [{"preset": "published", "prompt_tokens": 2}],
    "ft": [{"optimizer": "sgd"}, {"tf32": True}],
    "lora": [{"targets": r"conv1\.weight|(attn|mlp)\..*weight$"}],
}
SPECIAL = [(name, options) for name in OPTIONS for options in OPTIONS[name]]


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_runs_on_a_gpu(tmp_path: Path, method: str, precision: str, pieces: str):
    with gpu():
        trained(tmp_path, method, precision=precision, **PIECES[pieces])


@pytest.mark.parametrize("method, options", SPECIAL, ids=str)
def test_its_options_run_too(tmp_path: Path, method: str, options: dict[str, Any]):
    with gpu():
        trained(tmp_path, method, **options)
