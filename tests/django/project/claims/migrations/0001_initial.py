"""Creates the table."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django ships no types
    """The table of claims."""

    initial = True
    operations = (
        migrations.CreateModel(
            name="Claim",
            fields=[
                ("number", models.BigAutoField(primary_key=True, serialize=False, db_column="claim_id")),
                ("status", models.TextField(default="open")),
                ("holder", models.TextField(db_column="Holder")),
            ],
            options={"db_table": "Claims"},
        ),
    )
