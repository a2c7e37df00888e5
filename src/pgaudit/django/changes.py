"""``changes_of``: what an event of the application's own says about an instance that it saves or deletes."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from collections.abc import Collection
from typing import Any

from django.db import models

from pgaudit.django.classes import chosen_fields, masked_names
from pgaudit.django.rows import expressions_in, present_values, stored_row
from pgaudit.errors import InvalidEvent, UntrackedChange
from pgaudit.events import Change
from pgaudit.recording.row_values import changes_between


def changes_of(
    instance: Any, *, fields: Collection[str] | None = None, mask: Collection[str] = (), deleted: bool = False
) -> tuple[Change, ...]:
    """Returns what ``save`` will change in the row of an instance, or what ``delete`` will remove; call it before.

    >>> claim.status = "approved"
    >>> changes = changes_of(claim, mask=["email"])
    >>> claim.save()
    >>> audit.record(connection, AuditEvent(action="claim.approved", target=f"claim:{claim.pk}", changes=changes))

    Reads the row, so that the values before are those that the database has, whatever the instance was loaded with. An
    instance that ``select_for_update`` has fetched in the transaction cannot be changed by others meanwhile. A new
    instance has each value that is not null. A foreign key is named as its column's attribute, such as
    ``holder_id``.

    :param fields: the fields to include; all with a column when left out.
    :param mask: fields whose values are recorded as ``"***"``.
    :param deleted: whether the instance will be deleted.
    :raises InvalidEvent: it is not an instance of a model, or has no such field.
    :raises UntrackedChange: the database will compute a value, such as that of an F expression.
    """
    if not isinstance(instance, models.Model):
        raise InvalidEvent(f"{type(instance).__name__} is not an instance of a model")
    chosen = chosen_fields(type(instance), fields, mask)
    hidden = masked_names(type(instance), mask)
    row = stored_row(instance, chosen)
    if deleted:
        return changes_between("delete", row, {}, hidden)
    after = present_values(instance, chosen)
    if computed := expressions_in(after):
        raise UntrackedChange(
            f"the database will compute {', '.join(sorted(computed))} of {type(instance).__name__}: leave it out with "
            "fields=, and after save() and refresh_from_db() add a Change with the value"
        )
    return changes_between("update" if row else "insert", row, after, hidden)
