"""A claim, with a table and columns of other names."""

from django.db import models


class Claim(models.Model):  # type: ignore[misc]  # Django ships no types
    """A claim of a holder."""

    number = models.BigAutoField(primary_key=True, db_column="claim_id")
    status = models.TextField(default="open")
    holder = models.TextField(db_column="Holder")

    class Meta:
        """A name that SQL has to quote."""

        db_table = "Claims"

    def __str__(self) -> str:
        return f"claim {self.number}"
