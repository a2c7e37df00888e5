"""Creates the table with a key of two columns."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django ships no types
    """The table of instalments."""

    dependencies = (("cases", "0001_initial"),)
    operations = (
        migrations.CreateModel(
            name="Instalment",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "payment_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.IntegerField(db_column="Number")),
                ("amount", models.IntegerField()),
                ("payment", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cases.payment")),
            ],
        ),
    )
