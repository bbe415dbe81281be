"""The places that decide a test's marks exist, and each commit looks where the nightly tests do."""

import ast
import re

from tests.conftest import BROWSER, DISTRIBUTED, FIRST, SLOW, TESTS


def test_every_place_of_a_mark_exists():
    gone = [
        place for place in {*SLOW, *DISTRIBUTED, *BROWSER, *FIRST} if not (TESTS / place).exists()
    ]
    assert not gone


def nightly_and_other_tests(source: str) -> tuple[list[str], list[str]]:
    """The names of a file's tests: those that are nightly in every case, and the others."""
    tests = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    nightly = [t.name for t in tests if "pytest.mark.nightly" in map(ast.unparse, t.decorator_list)]
    return nightly, [t.name for t in tests if t.name not in nightly]


def test_a_file_with_nightly_tests_has_others():
    file = "@pytest.mark.nightly\ndef test_many(): ...\ndef test_few(): ...\n"
    assert nightly_and_other_tests(file) == (["test_many"], ["test_few"])
    texts = {path: path.read_text() for path in TESTS.rglob("test_*.py")}
    for path in (path for path, text in texts.items() if "mark.nightly" in text):
        nightly, others = nightly_and_other_tests(texts[path])
        assert others or not nightly, f"{path}: nothing here runs with each commit"


def test_one_target_of_make_runs_the_nightly_tests():
    makefile = (TESTS.parent / "Makefile").read_text()
    recipes = dict(re.findall(r"^(test[\w-]*):.*\n((?:\t.*\n)+)", makefile, re.M))
    asked = {name: recipe.split("-m pytest", 1)[1] for name, recipe in recipes.items()}
    assert asked.keys() == {"test", "test-fast", "test-nightly", "test-types", "test-ecosystem"}
    assert "-m nightly" in asked.pop("test-nightly")
    del asked["test-ecosystem"]  # whole files, by hand
    for name, options in asked.items():
        assert re.search("not nightly|not slow", options), name  # each nightly test is slow too
