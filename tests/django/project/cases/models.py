"""Models: claims with fields of many types, and what belongs to them."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Holder(models.Model):  # type: ignore[misc]  # Django ships no types
    """Who has claims."""

    name = models.TextField()

    def __str__(self) -> str:
        return str(self.name)


class Tag(models.Model):  # type: ignore[misc]
    """What claims are labelled with."""

    name = models.TextField()

    def __str__(self) -> str:
        return str(self.name)


class Claim(models.Model):  # type: ignore[misc]
    """A claim."""

    status = models.TextField(default="open")
    amount = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    email = models.TextField(null=True)  # noqa: DJ001 - as the row has it
    due = models.DateField(null=True)
    took = models.DurationField(null=True)
    noted = models.DateTimeField(null=True)
    reference = models.UUIDField(null=True)
    doc = models.JSONField(null=True)
    labels = ArrayField(models.TextField(), null=True)
    scan = models.FileField(null=True)
    raw = models.BinaryField(null=True)
    changed = models.IntegerField(default=0)
    holder = models.ForeignKey(Holder, models.SET_NULL, null=True)
    tags = models.ManyToManyField(Tag, related_name="claims")
    related = models.ManyToManyField("self")

    def __str__(self) -> str:
        return str(self.status)


class OldClaim(Claim):
    """A proxy."""

    class Meta:
        """Has no table."""

        proxy = True


class UrgentClaim(Claim):
    """A claim with a row in a second table."""

    hours = models.IntegerField()


class Payment(models.Model):  # type: ignore[misc]
    """A payment, whose key is chosen before it is saved."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    amount = models.IntegerField()
    note = models.TextField(default="")
    claim = models.ForeignKey(Claim, models.CASCADE, null=True)

    def __str__(self) -> str:
        return str(self.amount)


class Instalment(models.Model):  # type: ignore[misc]
    """A part of a payment, with a key of two fields."""

    pk = models.CompositePrimaryKey("payment_id", "number")
    payment = models.ForeignKey(Payment, models.CASCADE)
    number = models.IntegerField(db_column="Number")
    amount = models.IntegerField()

    def __str__(self) -> str:
        return str(self.amount)
