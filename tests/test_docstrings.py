"""Everything public says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOUSES = ("grace_geom", "app", "analyses", "benchmarks")
LONG = 6
"""Lines from which on a function within a function, or a method of a private class, says what it
is, too.
"""
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods without docstring, as ``Class.method``.

    Names with a leading underscore, and what stands inside such a class or inside a function, are
    private, unless it is a function of :data:`LONG` lines with a name that is not.
    """
    if not ast.get_docstring(tree):
        yield "the module"
    yield from _without(tree, "")
    for outer in ast.walk(tree):
        private = isinstance(outer, ast.ClassDef) and outer.name.startswith("_")
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) or private:
            yield from (f"{outer.name}.{inner.name}" for inner in _long(outer))


def _long(outer: Documented) -> Iterator[ast.FunctionDef]:
    """Functions inside of another or of a class, but those whose docstring is given to them
    later.
    """
    for node in ast.walk(outer):
        if not isinstance(node, ast.FunctionDef) or node is outer or node.name.startswith("_"):
            continue
        named = any(isinstance(n, ast.Attribute) and n.attr == "__doc__" for n in ast.walk(outer))
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines >= LONG and not named and not ast.get_docstring(node):
            yield node


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
    body = "  def b():\n" + LONG * "    pass\n"
    long = f"'x'\ndef _a():\n{body}"
    assert list(undocumented(ast.parse(long))) == ["_a.b"]
    assert list(undocumented(ast.parse(f"'x'\nclass _A:\n{body}"))) == ["_A.b"]
    assert list(undocumented(ast.parse(f"{long}  b.__doc__ = 'y'"))) == []


def test_every_public_name_has_a_docstring():
    missing = {
        str(file.relative_to(ROOT)): names
        for house in HOUSES
        for file in sorted((ROOT / house).rglob("*.py"))
        if (names := list(undocumented(ast.parse(file.read_text(encoding="utf-8")))))
    }
    assert missing == {}
