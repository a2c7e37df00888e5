"""The project's Python in Markdown: statements of a program, and docstrings."""

import ast
import re
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TO_LINTERS: Final = re.compile(r"  # (type: ignore|noqa).*$")
MARKUP: Final = re.compile(r"(?::\w+:)?``?(~?)([^`]+)``?")


def code(path: str, *names: str) -> str:
    """The statements of a file's top level that define or call these names, as they are written there."""
    source = (ROOT / path).read_text(encoding="utf-8")
    found = {name: extract(source, node) for node in ast.parse(source).body for name in defined(node)}
    if missing := set(names) - set(found):
        raise KeyError(f"{path} does not define {', '.join(sorted(missing))}")
    shown = found[names[0]]
    for before, name in pairwise(names):
        definition = "\n" in found[before] or "\n" in found[name]
        shown += ("\n\n\n" if definition else "\n") + found[name]
    return shown


def extract(source: str, node: ast.stmt) -> str:
    """The lines of a statement, decorators included."""
    lines = source.splitlines()[first_line(node) - 1 : node.end_lineno]
    return "\n".join(TO_LINTERS.sub("", line) for line in lines)


def first_line(node: ast.stmt) -> int:
    """Where a statement begins: with its first decorator."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines, or the one that it calls: ``app.mount``."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [ast.unparse(node.value.func)]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def said(docstring: str | None) -> str:
    """A docstring of one paragraph as Markdown."""
    return MARKUP.sub(r"`\2`", docstring or "")
