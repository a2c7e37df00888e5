"""What the pages take from the code when the site is built, so that they cannot say anything else.

A line of a page that reads ``{{ settings }}`` becomes what ``TABLES`` has under that name, and
``{{ code examples/plain.py issue main }}`` the statements of that file that define those names, or call them;
``{{ revision }}``, wherever it is, the newest revision of the schema.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from mkdocs.exceptions import PluginError
from typer.cli import app as typer
from typer.testing import CliRunner

from pgaudit import Settings, errors, schema, signals
from pgaudit.web import metrics
from pgaudit.web.openapi import document

ROOT: Final = Path(__file__).parents[1]
REVISION: Final = "{{ revision }}"
DIRECTIVE: Final = re.compile(r"^( *)\{\{ (\w+)(?: (.+))? \}\}$", re.MULTILINE)
TO_LINTERS: Final = re.compile(r"  # (type: ignore|noqa).*$")
COMMENT: Final = re.compile(r"^COMMENT ON (VIEW|TABLE|COLUMN) pgaudit\.(\w+)(?:\.(\w+))? IS '(.*)';$", re.MULTILINE)


def on_page_markdown(markdown: str, **_page: Any) -> str:
    """Called by MkDocs for each page."""
    return DIRECTIVE.sub(replacement, markdown.replace(REVISION, schema.NEWEST))


def replacement(match: re.Match[str]) -> str:
    """What a directive stands for.

    :raises PluginError: nothing has that name; the build ends.
    """
    indent, name, arguments = match[1], match[2], (match[3] or "").split()
    if name == "code":
        return textwrap.indent(f"```python\n{code(*arguments)}\n```", indent)
    if name not in TABLES:
        raise PluginError(f"{match[0]}: there are {', '.join(['code', *TABLES])}")
    return textwrap.indent(TABLES[name](), indent)


def code(path: str, *names: str) -> str:
    """The statements of a file's top level that define or call these names, as they are written there."""
    source = (ROOT / path).read_text(encoding="utf-8")
    found = {name: extract(source, node) for node in ast.parse(source).body for name in defined(node)}
    if missing := set(names) - set(found):
        raise PluginError(f"{path} does not define {', '.join(sorted(missing))}")
    *others, last = (found[name] for name in names)
    return "".join([*(f"{text}\n\n\n" if "\n" in text else f"{text}\n" for text in others), last])


def extract(source: str, node: ast.stmt) -> str:
    """The lines of a statement, decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
    return "\n".join(TO_LINTERS.sub("", line) for line in source.splitlines()[first - 1 : node.end_lineno])


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines, or the one that it calls: ``app.mount``."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [ast.unparse(node.value.func)]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def table(*rows: tuple[str, ...]) -> str:
    """A table; its first row is the head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body))


def settings() -> str:
    """A row for each setting, as the README has it."""
    rows = [
        (f"`PGAUDIT_{name.upper()}`", default(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return table(("Variable", "Default", ""), *rows)


def default(value: object) -> str:
    """A default as it is written in the environment."""
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return "" if value in ("", None, ()) else f"`{text}`"


def error_tree() -> str:
    """The tree, and what each error says of itself."""
    tree = inspect.cleandoc((errors.__doc__ or "").partition("::")[2].partition("Errors of")[0])
    rows = [(f"`{name}`", said(kind.__doc__)) for name, kind in vars(errors).items() if inspect.isclass(kind)]
    return f"```text\n{tree}\n```\n\n{table(('Error', ''), *rows)}"


def said(docstring: str | None) -> str:
    """A docstring of one line as Markdown."""
    return (docstring or "").replace("``", "`")


def commands() -> str:
    """What ``typer utils docs`` makes of the command line, without its title."""
    arguments = ["pgaudit.cli", "utils", "docs", "--name", "pgaudit"]
    result = CliRunner().invoke(typer, arguments, catch_exceptions=False, color=False)
    return result.output.partition("\n")[2]


def relations() -> str:
    """A section for each view and for each table that is commented, from the comments that DBAs read in psql."""
    scripts = [(ROOT / "migrations" / "sql" / name).read_text(encoding="utf-8") for name in ("views.sql", "log.sql")]
    comments = [match for script in scripts for match in COMMENT.findall(script)]
    return "\n\n".join(
        f"## `pgaudit.{name}`\n\n{unquoted(text)}\n\n"
        + table(("Column", ""), *((f"`{c}`", unquoted(said)) for _, of, c, said in comments if of == name and c))
        for _, name, column, text in comments
        if not column
    )


def unquoted(text: str) -> str:
    """What a literal of SQL says, as text of a table."""
    return text.replace("''", "'").replace("|", "\\|").replace("<", "&lt;")


def worker_signals() -> str:
    """A row for each signal: its name, and the docstring below it."""
    body = ast.parse(inspect.getsource(signals)).body
    rows = [
        (f"`{node.target.id}`", said(str(text.value.value)))
        for node, text in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    ]
    return table(("Signal", "Sent when, and with what"), *rows)


def metric_families() -> str:
    """A row for each metric: the families that ``pgaudit.web.metrics`` makes."""
    return table(("Metric", "Labels", ""), *families(ast.parse(inspect.getsource(metrics))))


def families(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Name, labels and help of each family that the code makes."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.endswith("Family")):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        unit = ast.literal_eval(given["unit"]) if "unit" in given else ""
        total = "total" if call.func.id.startswith("Counter") else ""
        name = "_".join(filter(None, (literal(call.args[0]), unit, total)))
        labels = ", ".join(f"`{label}`" for label in ast.literal_eval(given.get("labels", ast.List([]))))
        yield (f"`{name}`", labels, literal(call.args[1]))


def literal(node: ast.expr) -> str:
    """A string; what varies in it as an ellipsis."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def routes() -> str:
    """A row for each route, from the OpenAPI document."""
    rows = [
        (f"`{method.upper()} {path}`", about["summary"], "bearer token" if about.get("security") else "")
        for path, methods in document("/")["paths"].items()
        for method, about in methods.items()
    ]
    return table(("Route", "", "Needs"), *rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "errors": error_tree,
    "commands": commands,
    "relations": relations,
    "signals": worker_signals,
    "metrics": metric_families,
    "routes": routes,
}
