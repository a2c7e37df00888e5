"""The row of an instance: as the database has it, and as the instance says."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Collection, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db import models, router

NO_ROW: Mapping[str, Any] = {}


def key_of(instance: Any) -> list[Any]:
    """Returns the values of the primary key."""
    pk = instance.pk
    return list(pk) if isinstance(pk, tuple) else [pk]


def stored_row(
    instance: Any, names: Collection[str], using: str | None = None, *, lock: bool = False
) -> Mapping[str, Any]:
    """Reads columns of an instance's row; empty if there is none.

    :param lock: until the transaction ends, as an UPDATE would.
    """
    if is_new(instance):
        return NO_ROW
    rows = type(instance)._base_manager.using(using or router.db_for_write(type(instance), instance=instance))  # noqa: SLF001 - documented by Django
    if lock:
        rows = rows.select_for_update(no_key=True)
    return rows.filter(pk=instance.pk).values(*names).first() or NO_ROW


def is_new(instance: Any) -> bool:
    """Returns whether ``save`` will insert a row without looking for one."""
    pk = instance._meta.pk  # noqa: SLF001
    fields = getattr(instance._meta, "pk_fields", [pk])  # noqa: SLF001
    if any(value is None for value in key_of(instance)):
        return True
    with_default = all(
        field.has_default() or (hasattr(field, "has_db_default") and field.has_db_default()) for field in fields
    )
    return instance._state.adding and with_default  # noqa: SLF001


def present_values(instance: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that ``save`` writes; deferred ones are left out."""
    values = {name: instance.__dict__[name] for name in fields if name in instance.__dict__}
    return {name: value_of(fields[name], value) for name, value in values.items()}


def expressions_in(values: Mapping[str, Any]) -> set[str]:
    """Returns the names of values that the database computes, such as ``F("amount") + 1``."""
    return {name for name, value in values.items() if hasattr(value, "resolve_expression")}


def value_of(field: Any, value: Any) -> Any:
    """Returns a value as the database will return it: ``amount = "5"`` is a number there."""
    if hasattr(value, "resolve_expression"):
        return value
    if isinstance(field, models.FileField):
        return str(value or "")
    value = field.to_python(value)
    if isinstance(field, models.DecimalField) and isinstance(value, Decimal) and value.is_finite():
        return value.quantize(Decimal(1).scaleb(-(field.decimal_places or 0)), rounding=ROUND_HALF_UP)
    return value
