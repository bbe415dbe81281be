"""Rows import only rows above them, rooms in one row do not import each other, and the dashboard
needs no torch.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "grace_geom"

ROWS = [
    {"errors", "quantities"},
    {"fields", "world", "terminal"},
    {
        "files",
        "serialise",
        "store",
        "batch",
        "preprocess",
        "records",
        "weights",
    }  # what everything is made of
    | {"cli", "devices", "distributed", "progress", "tables", "tracking"},  # how it meets the world
    {"plots", "provenance", "engines"},
    {"data", "models", "attacks", "geometry"},
    {"methods", "refusals", "starts", "known_analyses"},
    {"checkpoint"},
    {"config", "evaluation"},
    {"training", "analysis", "exporting"},
    {"study", "tools"},
    {
        "train",
        "evaluate",
        "interpolate",
        "compare",
        "effects",
        "pretrain",
        "export",
        "analyses",
        "runs",
    },
    {"dial"},  # former names of commands
]
ROW_0_SHARED = {
    "errors",
    "files",
    "serialise",
}  # the ground every room stands on, row 0 itself included


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def imported(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in imported(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {_module(node.module, alias.name) for alias in node.names}
    return found


def _module(package: str, name: str) -> str:
    """``from a import b`` imports the module ``a.b`` where there is one, else ``a``."""
    inner = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else package


def rooms_of_package() -> dict[str, set[str]]:
    uses: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if name == "__init__":
            continue
        used = {room(m) for m in imports(path) if m.startswith("grace_geom.")}
        uses.setdefault(name, set()).update(used - {name})
    return uses


def test_every_room_has_its_row():
    placed = set().union(*ROWS)
    assert set(rooms_of_package()) <= placed, "a new room: say in which row it lives"


def test_rows_import_only_rows_above():
    row = {name: i for i, names in enumerate(ROWS) for name in names}
    for name, used in rooms_of_package().items():
        for other in used - ROW_0_SHARED:
            assert row[other] < row[name], (
                f"{name} (row {row[name]}) imports {other} (row {row[other]})"
            )


@pytest.mark.parametrize("folder", ["grace_geom", "app", "analyses"])
def test_no_import_cycles_between_files(folder):
    files = {path: imports(path) for path in (ROOT / folder).rglob("*.py")}
    names = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in files
    }
    graph = {n: {m for m in files[p] if m in names and m != n} for n, p in names.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


DRAWN_FOR_PRINT = ("axes", "grids", "marks", "notes", "sheet", "static", "texts", "units")
"""Modules behind ``export``, which draw a plotly figure with matplotlib."""
PLOTS = sorted(
    f"grace_geom.plots.{path.stem}"
    for path in (PACKAGE / "plots").glob("*.py")
    if path.stem not in ("__init__", "export", *DRAWN_FOR_PRINT)
)
COMMANDS = [f"grace_geom.{name}" for name in sorted(ROWS[-2] - {"runs"})]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (["grace_geom.records"], ["torch", "plotly", "matplotlib", "streamlit"]),
        (["grace_geom.store", "app.mirror"], ["torch", "plotly", "matplotlib", "fsspec"]),
        (["grace_geom.data.specs", "grace_geom.records.places"], ["torch", "torchvision"]),
        (COMMANDS, ["torch", "scipy", "PIL"]),
        (PLOTS, ["torch", "streamlit", "matplotlib"]),
    ],
    ids=["records", "store", "checks", "commands", "plots"],
)
def test_what_needs_no_torch_imports_none(modules, unwanted):
    code = f"import sys, {', '.join(modules)}; print(*(m for m in {unwanted} if m in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert not found.stdout.strip()


SHOWN = {f"grace_geom.{room}" for room in ("records", "plots", "store", "files", "errors")}


def test_the_dashboard_imports_records_plots_and_the_store_alone():
    for path in (ROOT / "app").rglob("*.py"):
        used = imports(path)
        assert not {m for m in used if m.split(".")[0] in {"torch", "open_clip", "matplotlib"}}, (
            path
        )
        rooms = {".".join(m.split(".")[:2]) for m in used if m.startswith("grace_geom")}
        assert rooms <= SHOWN, path


def test_nobody_star_imports():
    for folder in ("grace_geom", "app", "analyses", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in imported(path):
                assert not (
                    isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names)
                ), path


def test_no_two_classes_have_one_name():
    places: dict[str, list[str]] = {}
    for folder in ("grace_geom", "app", "analyses", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}")
    assert not {name: found for name, found in places.items() if len(found) > 1}
