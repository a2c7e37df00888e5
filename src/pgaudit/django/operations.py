"""Operations of migrations: a model's table is captured or guarded from this migration on.

::

    operations = [
        AddCapture("Claim", target="claim", mask=["iban"]),
        AddGuard("Claim", target="claim", on_missing="warn", actions="claim.*"),
    ]

They run on PostgreSQL alone, in the database of ``PGAUDIT["ALIAS"]``, as a role that owns schema and table. Fields are
named as the model has them. Models do not change.
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.migrations.operations.base import Operation

from pgaudit.django.options import options
from pgaudit.guard import statements

Fields = str | Sequence[str]
# Options that name fields, for which the table has columns.
OF_FIELDS = ("key", "columns", "exclude", "mask")


class TableOperation(Operation):  # type: ignore[misc]  # Django ships no types
    """An operation on the table of a model; ``options`` are those with which capture or guard is added."""

    reduces_to_sql = True
    adds = True
    model_name: str
    options: dict[str, Any]

    @property
    def model_name_lower(self) -> str:
        """The name of the model as a migration's state has it."""
        return self.model_name.lower()

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Changes no model."""

    def database_forwards(self, app_label: str, schema_editor: Any, _from_state: Any, to_state: Any) -> None:
        self._change(app_label, schema_editor, to_state, adds=self.adds)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, _to_state: Any) -> None:
        self._change(app_label, schema_editor, from_state, adds=not self.adds)

    def references_model(self, name: str, _app_label: str) -> bool:
        return name.lower() == self.model_name_lower

    def _change(self, app_label: str, schema_editor: Any, state: Any, *, adds: bool) -> None:
        """Adds or removes it, where the project's events are recorded."""
        model = state.apps.get_model(app_label, self.model_name)
        alias = schema_editor.connection.alias
        if schema_editor.connection.vendor != "postgresql" or alias != options().alias:
            return
        if self.allow_migrate_model(alias, model):
            table = schema_editor.quote_name(model._meta.db_table)  # noqa: SLF001 - Django's public way
            schema_editor.execute(self.add(table, model) if adds else self.end(table), params=None)

    def add(self, table: str, model: Any) -> str:
        """Returns the statement that adds it."""
        raise NotImplementedError

    def end(self, table: str) -> str:
        """Returns the statement that removes it."""
        raise NotImplementedError

    def columns_of(self, model: Any) -> dict[str, Any]:
        """Returns the options with the names of columns in place of fields."""
        columns = {
            name: [column for field in several(self.options[name]) for column in field_columns(model, field)]
            for name in OF_FIELDS
            if self.options.get(name) is not None
        }
        return self.options | {"key": field_columns(model, model._meta.pk.name)} | columns  # noqa: SLF001


def field_columns(model: Any, name: str) -> Sequence[str]:
    """Returns the columns of a field: those of each of its fields for a composite primary key."""
    field = model._meta.get_field(name)  # noqa: SLF001
    return getattr(field, "columns", None) or [field.column]


def several(fields: Fields) -> Sequence[str]:
    """Returns the names as a sequence."""
    return [fields] if isinstance(fields, str) else fields


class CaptureOperation(TableOperation):
    """An operation on the capture of a table."""

    def __init__(  # noqa: PLR0913, PLR0917 - by position, because Django writes no arguments that are by name only
        self,
        model_name: str,
        target: str,
        key: Fields | None = None,
        action: str | None = None,
        columns: Fields | None = None,
        exclude: Fields = (),
        mask: Fields = (),
        when: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.options = {
            "target": target,
            "key": key,
            "action": action,
            "columns": columns,
            "exclude": exclude,
            "mask": mask,
            "when": when,
        }

    def add(self, table: str, model: Any) -> str:
        return statements.add_capture(table, **self.columns_of(model))

    def end(self, table: str) -> str:
        return statements.remove_capture(table)


class AddCapture(CaptureOperation):
    """Captures a model's table; see :func:`pgaudit.guard.captures.add`. Backwards, it ends the capture.

    :param key: the field or fields of the key; the primary key when left out.
    """

    def describe(self) -> str:
        return f"Capture changes of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the name of its migration."""
        return f"capture_{self.model_name_lower}"


class RemoveCapture(CaptureOperation):
    """Ends the capture of a model's table. The options are those with which it is added again, backwards."""

    adds = False

    def describe(self) -> str:
        return f"End the capture of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the name of its migration."""
        return f"end_capture_of_{self.model_name_lower}"


class GuardOperation(TableOperation):
    """An operation on the guard of a table."""

    def __init__(  # noqa: PLR0913, PLR0917 - as above
        self,
        model_name: str,
        target: str,
        key: Fields | None = None,
        on_missing: str = "abort",
        actions: str | Mapping[str, str] | None = None,
        changes: bool = False,  # noqa: FBT001, FBT002 - as above
        action: str | None = None,
        columns: Fields | None = None,
        exclude: Fields = (),
        mask: Fields = (),
        when: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.options = {
            "target": target,
            "key": key,
            "on_missing": on_missing,
            "actions": actions,
            "changes": changes,
            "action": action,
            "columns": columns,
            "exclude": exclude,
            "mask": mask,
            "when": when,
        }

    def add(self, table: str, model: Any) -> str:
        return statements.add_guard(table, **self.columns_of(model))

    def end(self, table: str) -> str:
        return statements.remove_guard(table)


class AddGuard(GuardOperation):
    """Guards a model's table; see :func:`pgaudit.guard.guards.add`. Backwards, it ends the guard.

    :param key: the field or fields of the key; the primary key when left out.
    """

    def describe(self) -> str:
        return f"Guard changes of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the name of its migration."""
        return f"guard_{self.model_name_lower}"


class RemoveGuard(GuardOperation):
    """Ends the guard of a model's table. The options are those with which it is added again, backwards."""

    adds = False

    def describe(self) -> str:
        return f"End the guard of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of the name of its migration."""
        return f"end_guard_of_{self.model_name_lower}"
