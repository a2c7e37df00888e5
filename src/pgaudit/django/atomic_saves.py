"""``PGAUDIT["ATOMIC_SAVES"]``: a model and the events of its receivers are saved together or not at all."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from functools import wraps
from typing import Any

from django.db import models, router, transaction

from pgaudit.django.options import options


def install() -> None:
    """Replaces ``Model.save_base`` by one that opens a transaction. A second call does nothing.

    ``save_base`` sends ``pre_save`` and ``post_save``, and commits the row before ``post_save``. Deletions and changes
    of many-to-many relations send their signals inside a transaction already.
    """
    original = models.Model.save_base
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def save_base(self: Any, *arguments: Any, using: str | None = None, **given: Any) -> Any:
        using = using or router.db_for_write(type(self), instance=self)
        if using != options().alias:
            return original(self, *arguments, using=using, **given)
        # Without a savepoint, so that a failed save breaks an outer block as it does in plain Django.
        with transaction.atomic(using=using, savepoint=False):  # pyright: ignore[reportGeneralTypeIssues]
            return original(self, *arguments, using=using, **given)

    models.Model.save_base = save_base
