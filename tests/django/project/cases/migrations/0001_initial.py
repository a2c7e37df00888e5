"""Creates the tables."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django ships no types
    """Creates the tables of all models."""

    initial = True

    operations = (
        migrations.CreateModel(
            name="Claim",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("status", models.TextField(default="open")),
                ("amount", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ("email", models.TextField(null=True)),
                ("due", models.DateField(null=True)),
                ("took", models.DurationField(null=True)),
                ("noted", models.DateTimeField(null=True)),
                ("reference", models.UUIDField(null=True)),
                ("doc", models.JSONField(null=True)),
                (
                    "labels",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), null=True, size=None),
                ),
                ("scan", models.FileField(null=True, upload_to="")),
                ("raw", models.BinaryField(null=True)),
                ("changed", models.IntegerField(default=0)),
                ("related", models.ManyToManyField(to="cases.claim")),
            ],
        ),
        migrations.CreateModel(
            name="Holder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="Tag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="UrgentClaim",
            fields=[
                (
                    "claim_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="cases.claim",
                    ),
                ),
                ("hours", models.IntegerField()),
            ],
            bases=("cases.claim",),
        ),
        migrations.CreateModel(
            name="OldClaim",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("cases.claim",),
        ),
        migrations.AddField(
            model_name="claim",
            name="holder",
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to="claims.holder"),
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("amount", models.IntegerField()),
                ("note", models.TextField(default="")),
                ("claim", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to="cases.claim")),
            ],
        ),
        migrations.AddField(
            model_name="claim",
            name="tags",
            field=models.ManyToManyField(related_name="claims", to="claims.tag"),
        ),
    )
