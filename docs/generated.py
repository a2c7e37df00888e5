"""The tables that are made of the code."""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, get_type_hints

from pydantic.fields import FieldInfo
from typer.cli import app as typer
from typer.testing import CliRunner

from docs.source import ROOT, said
from pgaudit import Actor, AuditContext, AuditEvent, Change, Settings, Target, errors, signals
from pgaudit.events.event import Part
from pgaudit.web import create_app, metrics

MIGRATIONS: Final = ROOT / "migrations"
OF_RELATION: Final = re.compile(
    r"""^COMMENT ON (?:VIEW|TABLE|COLUMN) pgaudit\.(\w+)(?:\."?(\w+)"?)? IS\s+'(.*)';$""", re.MULTILINE
)
OF_FUNCTION: Final = re.compile(r"""^COMMENT ON FUNCTION pgaudit\.(.+) IS\s+'(.*)';$""", re.MULTILINE)
MODULES: Final = re.compile(r"\b(?:\w+\.)+")
OPTIONAL: Final = re.compile(r"Optional\[(.+)\]")


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


def commands() -> str:
    """What ``typer utils docs`` makes of the command line, without its title."""
    arguments = ["pgaudit.cli", "utils", "docs", "--name", "pgaudit"]
    result = CliRunner().invoke(typer, arguments, catch_exceptions=False, color=False)
    return result.output.partition("\n")[2]


def event() -> str:
    """A section for an event and for each part of one: its fields."""
    return "\n\n".join(
        f"### `{model.__name__}`\n\n{said(model.__doc__).partition(chr(10))[0]}\n\n{fields(model)}"
        for model in (AuditEvent, Actor, Target, Change, AuditContext)
    )


def fields(model: type[Part]) -> str:
    """A row for each field."""
    hints = get_type_hints(model)
    rows = [
        (f"`{name}`", f"`{type_name(hints[name])}`", initial(field), field.description or "")
        for name, field in model.model_fields.items()
    ]
    return table(("Field", "Type", "Default", ""), *rows)


def type_name(hint: Any) -> str:
    """A type as it is written in code that imports it."""
    return OPTIONAL.sub(r"\1 | None", MODULES.sub("", inspect.formatannotation(hint)))


def initial(field: FieldInfo) -> str:
    """What a field is when it is left out."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "generated" if field.default_factory and value else f"`{value!r}`"


def scripts() -> str:
    """The scripts of the migrations: those with the functions, views and most comments first."""
    paths = [path for folder in ("code", "versions") for path in sorted((MIGRATIONS / folder).rglob("*.sql"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def relations() -> str:
    """A section for each view and for each table that has a comment, from the comments that DBAs read in psql."""
    comments = OF_RELATION.findall(scripts())
    return "\n\n".join(
        f"## `pgaudit.{name}`\n\n{unquoted(text)}\n\n{columns(name, comments)}".rstrip()
        for name, column, text in comments
        if not column
    )


def columns(relation: str, comments: list[tuple[str, str, str]]) -> str:
    """A row for each column of a relation that has a comment; nothing when none has."""
    rows = [(f"`{column}`", unquoted(text)) for of, column, text in comments if of == relation and column]
    return table(("Column", ""), *rows) if rows else ""


def functions() -> str:
    """A row for each function that has a comment."""
    comments = OF_FUNCTION.findall(scripts())
    return table(("Function", ""), *((f"`pgaudit.{signature}`", unquoted(text)) for signature, text in comments))


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
        for path, methods in create_app().openapi()["paths"].items()
        for method, about in methods.items()
    ]
    return table(("Route", "", "Needs"), *rows)
