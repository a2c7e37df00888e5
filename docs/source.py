"""Python as the project has it: programs as they are written, and what is public as a stub of it."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
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
    *others, last = (found[name] for name in names)
    return "".join([*(f"{text}\n\n\n" if "\n" in text else f"{text}\n" for text in others), last])


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


def stubs(module: str, *names: str) -> str:
    """What a module has under these names, without how it is done."""
    found = importlib.import_module(module)
    if missing := [name for name in names if not hasattr(found, name)]:
        raise KeyError(f"{module} does not define {', '.join(missing)}")
    sources = [textwrap.dedent(inspect.getsource(getattr(found, name))) for name in names]
    return "\n\n".join("\n".join(stub(source, ast.parse(source).body[0])) for source in sources)


def stub(source: str, node: ast.stmt) -> Iterator[str]:
    """The lines of a definition: how it begins, the first paragraph of its docstring, and of a class what is public."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)  # noqa: S101 - for the type checker
    *signature, last = extract(source, node).splitlines()[: node.body[0].lineno - first_line(node)]
    yield from signature
    if (docstring := ast.get_docstring(node)) is None:
        yield f"{last} ..."
        return
    yield last
    paragraph = f'"""{said(docstring.partition(chr(10) * 2)[0])}"""'
    yield textwrap.indent(paragraph, " " * node.body[0].col_offset)
    for child in node.body[1:] if isinstance(node, ast.ClassDef) else ():
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name == "__init__" or (child.name[0] != "_" and ast.get_docstring(child)):
                yield ""
                yield from stub(source, child)
        elif all(name[0] != "_" for name in defined(child)):
            yield extract(source, child)


def said(docstring: str | None) -> str:
    """A docstring of one paragraph as Markdown."""
    return MARKUP.sub(r"`\2`", docstring or "")
