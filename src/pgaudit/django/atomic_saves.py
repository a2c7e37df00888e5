"""``PGAUDIT["ATOMIC_SAVES"]``: a model and what its receivers record are saved together or not at all."""

# pyright: basic, reportMissingTypeStubs=false
# Django ships no types.

from functools import wraps
from typing import Any

from django.db import models, router, transaction

from pgaudit.django.options import options


def install() -> None:
    """Lets ``Model.save_base`` open a transaction. Does nothing the second time.

    Django sends ``pre_save`` and ``post_save`` there, and commits a row before its ``post_save``. Deletions and changes
    of many-to-many relations send theirs in a transaction already.
    """
    original = models.Model.save_base
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def save_base(self: Any, *arguments: Any, using: str | None = None, **given: Any) -> Any:
        using = using or router.db_for_write(type(self), instance=self)
        if using != options().alias:
            return original(self, *arguments, using=using, **given)
        # Without a savepoint: what fails in an outer block ends that one, as a failed save does without this.
        with transaction.atomic(using=using, savepoint=False):  # pyright: ignore[reportGeneralTypeIssues]
            return original(self, *arguments, using=using, **given)

    models.Model.save_base = save_base
