"""Everything public in the package says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "grace_geom"
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods without docstring, as ``Class.method``.

    Names with a leading underscore, and what stands inside such a class or inside a function, are
    private.
    """
    if not ast.get_docstring(tree):
        yield "the module"
    yield from _without(tree, "")


def _without(scope: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in scope.body:
        if not isinstance(node, Documented) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _without(node, f"{prefix}{node.name}.")


def test_finds_what_has_no_docstring():
    source = "class A:\n  'x'\n  def b(self): ...\n  def _c(self): ...\ndef d(): ...\nclass E: ..."
    assert list(undocumented(ast.parse(source))) == ["the module", "A.b", "d", "E"]
    assert list(undocumented(ast.parse("'x'\ndef a():\n  'y'\n  def b(): ..."))) == []


def test_every_public_name_has_a_docstring():
    missing = {
        str(file.relative_to(PACKAGE)): names
        for file in sorted(PACKAGE.rglob("*.py"))
        if (names := list(undocumented(ast.parse(file.read_text(encoding="utf-8")))))
    }
    assert missing == {}
