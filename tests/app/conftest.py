"""Small folders of runs: of real trainings of a toy, or written by hand through the package's save
functions, with made-up numbers.
"""

import base64
import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from grace_geom.records import Accuracy, EvalRecord, Measure, Part, Result, pack
from tests.app.lab import make_lab
from tests.processes import LONGEST, made_once

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
PAGES = (
    "overview",
    "numbers",
    "curvature",
    "landscape",
    "drift",
    "features",
    "robustness",
    "images",
    "weights",
    "training",
    "run",
)
"""As the sidebar has them, by the ends of their addresses."""

SETS = (
    ("id", "shapes"),
    ("ood", "sketch"),
    ("ood", "v2"),
    ("natural_adv", "hard"),
    ("zeroshot", "colour"),
)
APGD = {
    "name": "apgd-ce",
    "eps": 4 / 255,
    "norm": "linf",
    "seed": 0,
    "parts": [{"name": "apgd-ce", "steps": 20}],
}


def accuracy(suite: str, data: str, correct: int, n: int = 100, **more: object) -> Accuracy:
    """``correct`` of ``n``, with an interval of four points either way."""
    share = correct / n
    fields = {"spec": f"shapes:{data}", "subset": {"of": n, "seed": 0, "ids_sha256": "abc"}} | more
    low, high = max(0.0, share - 0.04), min(1.0, share + 0.04)
    outcomes = pack(np.arange(n) < correct)
    return Accuracy(
        suite,
        data,
        n=n,
        correct=correct,
        accuracy=share,
        ci_low=low,
        ci_high=high,
        seconds=0.1,
        outcomes=outcomes,
        **fields,
    )  # type: ignore[arg-type]


def evaluation(name: str, clean: int, attacked: int, **more: object) -> EvalRecord:
    """``clean`` right of 100 on every set but ``attacked`` under attack."""
    rows = [accuracy(suite, data, clean, **more) for suite, data in SETS]
    rows.append(accuracy("adv", "shapes", attacked, attack=APGD, **more))
    return EvalRecord(
        "f" * 64, name, name.rpartition("-")[0], 0, {"data": "shapes"}, tuple(rows)
    ).summed()


def write_run(
    root: Path, run: str, clean: int | None, attacked: int = 0, steps: int = 100, total: int = 100
) -> Path:
    """A run directory; without ``eval.json`` where ``clean`` is ``None``."""
    folder = root / run
    folder.mkdir(parents=True)
    method = folder.name.rpartition("-")[0]
    settings = {
        "method": method,
        "data": "shapes",
        "model": "tiny-shapes",
        "seed": 0,
        "max_steps": total,
        "lr": 1e-3,
    }
    settings |= {"rho": 0.01} if method == "grace" else {}
    (folder / "config.yaml").write_text(
        yaml.safe_dump(settings | {"provenance": {"packages": {"torch": "2.0"}}})
    )
    rows = [
        {
            "step": s,
            "seconds": s / 10,
            "lr": 1e-3,
            "loss": 2 / s,
            "loss_task": 1 / s,
            "cos_id_adv": 0.9,
            "gram_volume": 0.1,
            "train_acc": 0.5,
            "images_per_s": 30.0,
        }
        for s in range(1, steps + 1, 3)
    ] + [{"step": steps, "seconds": steps / 10, "val_acc": 0.7}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if method == "grace":
        matrices = {
            f"visual.transformer.resblocks.{i}.attn.in_proj_weight": {
                "score": 10.0**-i,
                "rank": 4 - 2 * i,
            }
            for i in range(3)
        }
        lines = [json.dumps({"step": s, "matrices": matrices}) + "\n" for s in (0, 50)]
        (folder / "curvature.jsonl").write_text("".join(lines))
    if clean is not None:
        evaluation(folder.name, clean, attacked).save(folder / "eval.json")
    return folder


def spectrum(
    folder: Path,
    top: float,
    n: int = 96,
    sha256: str = "",
    images: dict[str, list[object]] | None = None,
    **more: object,
) -> None:
    """A Hessian spectrum of two Lanczos nodes."""
    values = {
        "dim": Measure(1000),
        "lambda_1": Measure(top, low=top - 1, high=top + 1, estimator="Lanczos"),
        "trace": Measure(3 * top, 1.0, 2 * top, 4 * top, estimator="Hutchinson"),
        "kappa/visual.a.weight": Measure(0.01),
        "kappa/visual.b.weight": Measure(-0.01),
    }
    arrays = {"density_nodes": np.array([[0.0, top]]), "density_weights": np.array([[0.9, 0.1]])}
    settings = {
        "data": "shapes",
        "n": n,
        "params": "visual",
        "loss": "ce",
        "operator": "hessian",
        "seed": 0,
    } | more
    checkpoint = {
        "label": folder.name,
        "path": str(folder / "ckpt.pt"),
        "method": "ft",
        "sha256": sha256,
    }
    checkpoint |= {"images": images} if images else {}
    parts = {folder.name: Part(values, arrays)}
    Result("hessian_spectrum", (checkpoint,), settings, parts).save(folder / "analyses")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four real runs of a toy model, three of them analysed. Tests only look at it."""
    return made_once(tmp_path_factory, "lab", make_lab)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs of one study: zero-shot, fine-tuned, GRACE."""
    root = tmp_path / "runs"
    for run, clean, attacked in (("zero-shot-s0", 60, 5), ("ft-s0", 90, 10), ("grace-s0", 80, 50)):
        write_run(root, f"demo/{run}", clean, attacked)
    return root


@pytest.fixture
def broken(runs: Path) -> Path:
    """The same, beside a truncated, a newer, an unevaluated and an unreadable run."""
    cut = write_run(runs, "demo/cut-s0", 70) / "eval.json"
    cut.write_text(cut.read_text()[:200])
    newer = write_run(runs, "demo/newer-s0", 70) / "eval.json"
    newer.write_text(newer.read_text().replace("grace_geom.eval/1", "grace_geom.eval/99"))
    write_run(runs, "demo/waiting-s0", None)
    (write_run(runs, "demo/yaml-s0", 70) / "config.yaml").write_text("a: [1, \n b")
    wrong = write_run(runs, "demo/wrong-s0", 70) / "eval.json"
    plain = json.loads(wrong.read_text())
    plain["accuracies"][0] |= {"accuracy": None}
    wrong.write_text(json.dumps(plain))
    return runs


@pytest.fixture
def opened(monkeypatch):
    """Opens the dashboard on a folder, with what a link says."""

    def start(root: Path, page: str = "overview", **link: object) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["main.py", "--runs", str(root)])
        app = AppTest.from_file(str(MAIN), default_timeout=LONGEST)
        for name, value in link.items():
            app.query_params[name] = value
        return (app if page == "overview" else app.switch_page(f"views/{page}.py")).run()

    return start


def sees(app: AppTest) -> str:
    """Everything that is written on the page."""
    kinds = (app.title, app.header, app.markdown, app.caption, app.info, app.warning, app.code)
    said = "\n".join(str(element.value) for kind in kinds for element in kind)
    return said.replace("\u00a0", " ")


def notices(app: AppTest) -> list[str]:
    """What the page says under its one line of notices."""
    lines = [e for e in app.expander if re.fullmatch(r"\d+ notices?: .+", e.label)]
    said = [m.value.removeprefix("- ") for e in lines for m in e.markdown]
    assert [e.label.split()[0] for e in lines] == ([str(len(said))] if said else [])
    return [*said, *(w.value for w in app.warning)]


def specs(app: AppTest) -> list[dict]:
    """The figures of the page."""
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def told(figure) -> bool:
    """Whether the alternative text of a figure on a page says a name and a number of its data."""
    spec, alt = json.loads(figure.proto.spec), html.unescape(figure.proto.alt)
    names, values = set(), []
    for trace in spec["data"]:
        names.add(trace.get("name") or "")
        for key in ("x", "y", "z", "customdata"):
            values += [x for x in flat(trace.get(key)) if isinstance(x, int | float)]
            names |= {x for x in flat(trace.get(key)) if isinstance(x, str)}
        for one in trace.get("dimensions", ()):
            values += [x for x in flat(one.get("values")) if isinstance(x, int | float)]
            names |= {*one.get("ticktext", ()), one.get("label", "")}
    plain = {html.unescape(re.sub("<[^>]+>", " ", n)).replace("  ", " ").strip() for n in names}
    plain -= {""}
    said = [float(x.replace("\u2212", "-")) for x in re.findall(r"\u2212?\d+\.?\d*(?:e.\d+)?", alt)]
    known = np.array([x for x in values if np.isfinite(x)], float)
    close = [
        number for number in said
        if (np.abs(known - number) <= 0.006 * np.abs(known) + 1e-12).any()
    ]  # fmt: skip
    counted = any(f"{len(list(flat(t.get('x'))))} points" in alt for t in spec["data"])
    return bool(close or counted) and (not plain or any(name in alt for name in plain))


def flat(values) -> Iterator[object]:
    """Numbers and words of an array of plotly, packed or not."""
    if isinstance(values, dict):
        raw = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
        yield from raw.astype(float).tolist()
    elif isinstance(values, list):
        for one in values:
            yield from flat(one)
    elif values is not None:
        yield values
