"""Operations of migrations: a model's table is captured or guarded from this migration on.

::

    operations = [
        AddCapture("Claim", target="claim", mask=["iban"]),
        AddGuard("Claim", target="claim", on_missing="warn", actions="claim.*"),
    ]

They run on PostgreSQL alone, in the database of ``PGAUDIT["ALIAS"]``, as a role that owns schema and table. Names are
named as the model has them. Models do not change.
"""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Mapping
from typing import Any

from django.db.migrations.operations.base import Operation

from pgaudit.django.options import options
from pgaudit.guard.statements import ADD, REMOVE
from pgaudit.guard.tables import Names, several

# Options that name fields, for which the table has columns.
OF_FIELDS = ("key", "columns", "exclude", "mask")


class TableOperation(Operation):  # type: ignore[misc]  # Django ships no types
    """An operation on the table of a model; ``options`` are those with which capture or guard is added."""

    reduces_to_sql = True
    purpose = ""  # capture or guard
    adds = True
    model_name: str
    options: dict[str, Any]

    @property
    def model_name_lower(self) -> str:
        """The name of the model as a migration's state has it."""
        return self.model_name.lower()

    @property
    def migration_name_fragment(self) -> str:
        """A part of the name of its migration."""
        begin = self.purpose if self.adds else f"end_{self.purpose}_of"
        return f"{begin}_{self.model_name_lower}"

    def describe(self) -> str:
        begin = f"{self.purpose.title()} changes" if self.adds else f"End the {self.purpose}"
        return f"{begin} of {self.model_name}"

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
            statement = ADD[self.purpose](table, **self.columns_of(model)) if adds else REMOVE[self.purpose](table)
            schema_editor.execute(statement, params=None)

    def columns_of(self, model: Any) -> dict[str, Any]:
        """Returns the options with the names of columns in place of fields."""
        columns = {
            name: [column for field in several(self.options[name]) for column in field_columns(model, field)]
            for name in OF_FIELDS
            if self.options.get(name) is not None
        }
        return self.options | {"key": field_columns(model, model._meta.pk.name)} | columns  # noqa: SLF001


def field_columns(model: Any, name: str) -> list[str]:
    """Returns the columns of a field: those of each of its fields for a composite primary key."""
    field = model._meta.get_field(name)  # noqa: SLF001
    return list(getattr(field, "columns", None) or [field.column])


class CaptureOperation(TableOperation):
    """An operation on the capture of a table."""

    purpose = "capture"

    def __init__(  # noqa: PLR0913, PLR0917 - by position, because Django writes no arguments that are by name only
        self,
        model_name: str,
        target: str,
        key: Names | None = None,
        action: str | None = None,
        columns: Names | None = None,
        exclude: Names = (),
        mask: Names = (),
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


class AddCapture(CaptureOperation):
    """Captures a model's table; see :func:`pgaudit.guard.captures.add`. Backwards, it ends the capture.

    :param key: the field or fields of the key; the primary key when left out.
    """


class RemoveCapture(CaptureOperation):
    """Ends the capture of a model's table. The options are those with which it is added again, backwards."""

    adds = False


class GuardOperation(TableOperation):
    """An operation on the guard of a table."""

    purpose = "guard"

    def __init__(  # noqa: PLR0913, PLR0917 - as above
        self,
        model_name: str,
        target: str,
        key: Names | None = None,
        on_missing: str = "abort",
        actions: str | Mapping[str, str] | None = None,
        changes: bool = False,  # noqa: FBT001, FBT002 - as above
        action: str | None = None,
        columns: Names | None = None,
        exclude: Names = (),
        mask: Names = (),
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


class AddGuard(GuardOperation):
    """Guards a model's table; see :func:`pgaudit.guard.guards.add`. Backwards, it ends the guard.

    :param key: the field or fields of the key; the primary key when left out.
    """


class RemoveGuard(GuardOperation):
    """Ends the guard of a model's table. The options are those with which it is added again, backwards."""

    adds = False
