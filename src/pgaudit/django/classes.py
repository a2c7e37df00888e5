"""The models that are tracked, and the tables that their rows and their many-to-many relations are in."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pgaudit.errors import InvalidEvent
from pgaudit.recording.audit_log import AuditLog
from pgaudit.recording.row_changes import Described

OF_MIGRATIONS: Final = "__fake__"  # the module of the models that a migration sees


@dataclass(frozen=True, slots=True)
class Tracked:
    """How the instances of a model are tracked."""

    model: Any
    audit: AuditLog
    described: Described
    fields: Collection[str] | None


@dataclass(frozen=True, slots=True)
class TrackedTable:
    """A table of a tracked model: its own, or that of a many-to-many relation."""

    tracked: Tracked
    is_relation: bool


models: Final[dict[Any, Tracked]] = {}
tables: Final[dict[str, TrackedTable]] = {}


def add(tracked: Tracked) -> None:
    """Tracks a model; replaces its earlier options."""
    models[tracked.model] = tracked
    tables.clear()
    for known in models.values():
        for field in relations_of(known.model, known.fields):
            tables[table_of(field.remote_field.through)] = TrackedTable(known, is_relation=True)
    tables.update({table_of(model): TrackedTable(known, is_relation=False) for model, known in models.items()})


def table_of(model: Any) -> str:
    """Returns the name of a model's table."""
    return str(model._meta.db_table)  # noqa: SLF001 - documented by Django


def tracked_as(model: Any) -> Tracked | None:
    """Returns how a model is tracked: as the nearest of its bases, itself included; None if none is.

    What a migration sees of a model is tracked as the model.
    """
    if model.__module__ == OF_MIGRATIONS:
        return next((tracked for known, tracked in models.items() if known._meta.label == model._meta.label), None)  # noqa: SLF001
    return next((models[base] for base in model.__mro__ if base in models), None)


def relations_of(model: Any, fields: Collection[str] | None) -> Iterator[Any]:
    """Yields the many-to-many fields of a model."""
    yield from (field for field in model._meta.many_to_many if fields is None or field.name in fields)  # noqa: SLF001


def chosen_fields(model: Any, fields: Collection[str] | None, mask: Collection[str]) -> dict[str, Any]:
    """Returns the fields of a model that ``fields`` names, by the names of their columns' attributes; all for None.

    :raises InvalidEvent: ``fields`` or ``mask`` names no field.
    """
    found = {field.attname: field for field in model._meta.concrete_fields if not getattr(field, "generated", False)}  # noqa: SLF001
    known = found.keys() | {field.name for field in [*found.values(), *model._meta.many_to_many]}  # noqa: SLF001
    if unknown := sorted({*(fields or ()), *mask} - known):
        raise InvalidEvent(f"{model.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return {name: field for name, field in found.items() if fields is None or name in fields or field.name in fields}


def masked_names(model: Any, mask: Collection[str]) -> set[str]:
    """Returns the names of what ``mask`` names: its own, and the attributes of foreign keys."""
    return {*mask, *(field.attname for field in model._meta.concrete_fields if field.name in mask)}  # noqa: SLF001
