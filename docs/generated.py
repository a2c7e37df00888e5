"""The tables that are made of the code."""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, get_type_hints

from pydantic.fields import FieldInfo
from typer.cli import app as typer
from typer.testing import CliRunner

from docs.source import ROOT, said
from pgaudit import Actor, AuditContext, AuditEvent, Change, Settings, Target, errors, signals
from pgaudit.events.event import Part
from pgaudit.trail.fields import FIELDS
from pgaudit.web import create_app, metrics, processor_metrics, stream_metrics

MIGRATIONS: Final = ROOT / "migrations"
OF_RELATION: Final = re.compile(
    r"""^COMMENT ON (?:VIEW|TABLE|COLUMN) pgaudit\.(\w+)(?:\."?(\w+)"?)? IS\s+'(.*)';$""", re.MULTILINE
)
MODULES: Final = re.compile(r"\b(?:\w+\.)+")
OPTIONAL: Final = re.compile(r"Optional\[(.+)\]")
OF_FUNCTION: Final = re.compile(r"""^COMMENT ON FUNCTION pgaudit\.(.+) IS\s+'(.*)';$""", re.MULTILINE)


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
    return table(("Variable", "Default", "Description"), *rows)


def default(value: object) -> str:
    """A default as it is written in the environment."""
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return "" if value in ("", None, ()) else f"`{text}`"


def error_tree() -> str:
    """The tree, and what each error says of itself."""
    tree = inspect.cleandoc((errors.__doc__ or "").partition("::")[2].partition("Errors of")[0])
    kinds = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    rows = [(f"`{name}`", said(kind.__doc__).partition("\n\n")[0]) for name, kind in kinds.items()]
    return f"```text\n{tree}\n```\n\n{table(('Error', 'Raised when'), *rows)}"


def commands() -> str:
    """What ``typer utils docs`` makes of the command line, without its title."""
    arguments = ["pgaudit.cli", "utils", "docs", "--name", "pgaudit"]
    result = CliRunner().invoke(typer, arguments, catch_exceptions=False, color=False)
    return result.output.partition("\n")[2]


def query_fields() -> str:
    """A row for each field of a query."""
    return table(("Field", "Finds events by"), *((f"`{name}`", meaning) for name, meaning in FIELDS.items()))


def event() -> str:
    """Returns a section for an event and for each part of one: its fields."""
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
    return table(("Field", "Type", "Default", "Description"), *rows)


def type_name(hint: Any) -> str:
    """Returns a type as code names it that imports it. That it may be None, the column of defaults says."""
    return OPTIONAL.sub(r"\1", MODULES.sub("", inspect.formatannotation(hint)))


def initial(field: FieldInfo) -> str:
    """What a field is when it is left out."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "generated" if field.default_factory and value else f"`{value!r}`"


def names(module: str, *public: str) -> str:
    """Returns a row for each public name of a module, and for each method of a class."""
    found = importlib.import_module(module)
    if missing := [name for name in public if not hasattr(found, name)]:
        raise KeyError(f"{module} does not define {', '.join(missing)}")
    rows = (row for name in public for row in described(name, getattr(found, name)))
    return table(("Name", "Description"), *rows)


def described(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yields the row of one name, then those of its methods."""
    is_property = isinstance(value, cached_property)  # which isroutine() takes for a function
    shown = name if is_property or not inspect.isroutine(value) else f"{name}({parameters(value)})"
    yield f"`{shown}`", said(value.__doc__).partition("\n\n")[0].replace("\n", " ")
    if not inspect.isclass(value):
        return
    for method in vars(value):
        function = getattr(value, method)
        if inspect.isroutine(function) and method[0] != "_" and function.__doc__:
            yield from described(f"{name}.{method}", function)


def parameters(function: Callable[..., Any]) -> str:
    """Returns the names of a function's parameters, as a call has them."""
    given = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    bare = [one.replace(annotation=one.empty, default=one.empty) for one in given]
    return ", ".join(str(parameter) for parameter in bare)


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
    return table(("Column", "Description"), *rows) if rows else ""


def functions() -> str:
    """A row for each function that has a comment."""
    comments = OF_FUNCTION.findall(scripts())
    return table(
        ("Function", "Description"), *((f"`pgaudit.{signature}`", unquoted(text)) for signature, text in comments)
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
    """A row for each metric: the families that ``pgaudit.web`` makes, those of the streams and processors last."""
    sources = (inspect.getsource(module) for module in (metrics, stream_metrics, processor_metrics))
    rows = (row for source in sources for row in families(ast.parse(source)))
    return table(("Metric", "Labels", "Description"), *rows)


def families(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Name, labels and help of each family that the code makes."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.endswith("Family")):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        unit = ast.literal_eval(given["unit"]) if "unit" in given else ""
        suffix = {"CounterMetricFamily": "total", "InfoMetricFamily": "info"}.get(call.func.id, "")
        name = "_".join(filter(None, (literal(call.args[0]), unit, suffix)))
        yield (f"`{name}`", ", ".join(f"`{label}`" for label in labels(given)), literal(call.args[1]))


def labels(given: dict[str | None, ast.expr]) -> list[str]:
    """Returns the labels of a family: its ``labels``, and the keys of the ``value`` of an info metric."""
    value = given.get("value")
    keys = value.keys if isinstance(value, ast.Dict) else []
    return [*ast.literal_eval(given.get("labels", ast.List([]))), *(ast.literal_eval(key) for key in keys if key)]


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
    return table(("Route", "Description", "Needs"), *rows)
