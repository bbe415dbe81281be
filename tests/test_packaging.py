"""The conda environment, the package and the documents say the same."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(requirement: str) -> tuple[str, str]:
    name, _, bound = requirement.partition(">=")
    return re.sub(r"\[.*\]", "", name).strip().lower().replace("_", "-"), bound.strip()


def test_environment_yml_has_the_package_s_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    wanted = {normal(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]}
    listed = {normal(r) for r in pip if not r.startswith("-e")}
    assert listed == wanted
    assert "-e ." in pip
    (python,) = [normal(d) for d in conda if d.startswith("python")]
    assert f">={python[1]}" == PROJECT["requires-python"]


def test_the_fixed_packages_are_required():
    names = {normal(r)[0] for r in PROJECT["dependencies"]}
    assert {
        "torch",
        "pyhessian",
        "open-clip-torch",
        "scipy",
        "matplotlib",
        "plotly",
        "streamlit",
    } <= names


def test_version_is_in_the_changelog():
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_what_the_demo_measures_lies_where_the_dashboard_looks():
    """The dashboard reads ``analyses/`` below its root, which is where scripts write unless they
    are told another.
    """
    recipe = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if "python analyses/" in line
    ]
    assert any("report.py $(DEMO_RUNS)" in line for line in recipe)
    assert not [line for line in recipe if "--out" in line]
