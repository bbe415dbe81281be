"""The documentation's commands run, its map names what exists, and the site builds without a
warning.
"""

import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from grace_geom.fields import bounded
from grace_geom.methods import METHODS
from grace_geom.methods.ft import Ft
from grace_geom.tools.method_pages import method_page
from tests.test_layers import ROWS, rooms_of_package

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PROSE = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
SMALL = {
    "grace_geom.train": "--max-steps 2 --batch-size 4 --val-images 8 --attack-steps 2",
    "grace_geom.evaluate": "--n 4 --steps 2",
    "analyses/hessian_spectrum.py": "--n 4 --top 1 --bottom 0 --probes 2 --density-probes 0",
    "analyses/feature_stability.py": "--n 24 --attack-steps 1",
}
"""Flags that make a command cheap; the last value of a repeated flag counts."""


def commands(page: str) -> list[list[str]]:
    """The Python commands of a page's ``bash`` blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text(), re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("python ")]


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command as ``python`` runs it, in this process."""
    program, *rest = arguments[1:] if arguments[0] == "-m" else arguments
    monkeypatch.setattr(sys, "argv", [program, *rest])
    try:
        if arguments[0] == "-m":
            module = f"{program}.__main__" if program == "grace_geom.data" else program
            runpy.run_module(module, run_name="__main__")
        else:
            runpy.run_path(str(ROOT / program), run_name="__main__")
    except SystemExit as end:
        assert not end.code, arguments


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_tutorial_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = commands("tutorial.md")
    assert len(found) >= 6
    for arguments in found:
        program = arguments[1] if arguments[0] == "-m" else arguments[0]
        small = SMALL.get(program, "").split()
        if "ft" in arguments:
            small = small[:6]  # no attack to shorten
        run([*arguments, *small], monkeypatch)
    assert (tmp_path / "grace.safetensors").is_file()
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "tutorial.md").read_text(), re.M | re.S)
    exec(code, {})
    for name in ("hessian_spectrum", "feature_stability"):
        assert (tmp_path / f"runs/tutorial/analyses/{name}.png").is_file()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("page", sorted(str(p.relative_to(DOCS)) for p in DOCS.glob("howto/*.md")))
def test_how_to_commands_are_understood(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in commands(page):
        asked = [] if "check" in arguments else ["--print-config"]
        if asked:
            arguments = [a for a in arguments if a != "--print-config"]
        run([*arguments, *asked], monkeypatch)
        assert capsys.readouterr().out


def test_the_map_names_exactly_the_rooms_that_exist():
    text = (DOCS / "architecture.md").read_text()
    named = [(int(row), room) for row, room in re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.M)]
    rows = {room: row for row, rooms in enumerate(ROWS) for room in rooms}
    assert sorted(room for _, room in named) == sorted(rooms_of_package())
    assert named == sorted(named, key=lambda entry: entry[0])
    for row, room in named:
        assert rows[room] == row, f"docs/architecture.md: {room} stands in row {rows[room]}"


def test_files_and_names_of_the_map_exist():
    text = (DOCS / "architecture.md").read_text()
    paths = set(re.findall(r"`([a-z_]+/[\w/]+\.py)`", text))
    paths = {path for path in paths if "NAME" not in path}
    assert len(paths) > 15
    missing = [
        p for p in paths if not any((ROOT / top / p).is_file() for top in ("", "grace_geom"))
    ]
    assert not missing
    for name, path in re.findall(r"`(\w+)` (?:\(\w+\) )?in `(grace_geom/[\w/]+\.py)`", text):
        assert f"def {name}(" in (ROOT / path).read_text(), (name, path)
    for owner, name, path in re.findall(r"`(\w+)\.(\w+)` in `(grace_geom/[\w/]+\.py)`", text):
        source = (ROOT / path).read_text()
        assert f"class {owner}" in source and f"    {name}: " in source, (owner, path)


def test_the_page_of_methods_lists_each_with_its_options():
    page = method_page()
    assert re.findall(r"^## (\S+)$", page, re.M) == list(METHODS)
    grace = page.partition("\n## grace\n")[2]
    assert "arXiv 2603.27139" in grace and "*Tables:* 6, 7, 8." in grace
    assert "| `--percentile` | `80` | ≥ 0, ≤ 100 |" in grace
    assert "| `--eps` | `4/255` | ≥ 0, ≤ 1 |" in grace


def test_a_new_method_is_on_the_page():
    @dataclass
    class Toy(Ft):
        """``L(w)`` twice.

        Attributes:
            twist: Strength | of the twist.
        """

        name: ClassVar[str] = "toy"
        tables: ClassVar[tuple[int, ...]] = (9,)
        twist: float = bounded(0.5, above=0, most=2)

    page = method_page(METHODS | {"toy": Toy})
    assert "| [`toy`](#toy) | 9 | yes | `L(w)` twice. |" in page
    assert r"| `--twist` | `0.5` | > 0, ≤ 2 | Strength \| of the twist. |" in page


def test_paths_named_in_prose_exist():
    tops = "tests|grace_geom|analyses|app|benchmarks"
    named = {
        (str(file.relative_to(ROOT)), path)
        for file in PROSE
        for path in re.findall(rf"(?<![\w/.-])(?:{tops})/[\w/]+\.py\b", file.read_text())
        if not path.endswith("/NAME.py")  # stands for any file of its folder
    }
    assert len(named) > 30
    assert not sorted(entry for entry in named if not (ROOT / entry[1]).is_file())


@pytest.mark.parametrize("file", PROSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_keeps_to_100_columns(file):
    text = re.sub(r"^( *)```.*?^\1```$", "", file.read_text(), flags=re.M | re.S)
    long = [
        line
        for line in text.splitlines()
        if len(line) > 100 and not line.startswith(("|", "    ")) and "](http" not in line
    ]
    assert not long


def page_text(page: str) -> str:
    """A page of the site without its code."""
    text = method_page() if page == "methods.md" else (DOCS / page).read_text()
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S)


def anchors(page: str) -> set[str]:
    """The ends of links to the page's headings, as Markdown makes them from the words."""
    words = [
        unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode().lower()
        for heading in re.findall(r"^#+ (.*)$", page_text(page), re.M)
    ]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", word).strip()) for word in words}


def lost_links(page: str, pages: set[str]) -> list[str]:
    """The links of a page that lead to no file and to no heading of the site."""
    text, lost = re.sub(r"`[^`\n]*`", "", page_text(page)), []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        there = target in pages or (DOCS / target).is_file()
        if "://" not in link and not (there and (not anchor or anchor in anchors(target))):
            lost.append(link)
    return lost


def test_every_page_is_in_the_menu_and_its_links_and_modules_exist():
    """What mkdocs would warn of, but for docstrings that it cannot read."""
    menu = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} | {"methods.md"}
    assert sorted(menu) == sorted(pages)
    assert {page: lost for page in menu if (lost := lost_links(page, pages))} == {}
    modules = [m for page in menu for m in re.findall(r"^::: (\S+)$", page_text(page), re.M)]
    assert len(modules) > 40
    files = [ROOT / module.replace(".", "/") for module in modules]
    assert [f for f in files if not (f.with_suffix(".py").is_file() or f.is_dir())] == []


@pytest.mark.nightly
@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="the site needs mkdocs: pip install -e '.[docs]'",
)
def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "methods.html").read_text()
    assert all(f'id="{name}"' in page for name in METHODS)
