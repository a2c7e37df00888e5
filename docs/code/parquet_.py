"""Reads the files of a stream to Parquet with DuckDB."""

from pathlib import Path

import duckdb


def denied_by_day(directory: Path) -> list[tuple[str, str, int]]:
    """Returns for each day and actor how often something was denied. Only the columns that are named are read."""
    with duckdb.connect() as conn:
        return conn.execute(
            """
            SELECT date::varchar, actor_type || ':' || actor_id, count(*)
              FROM read_parquet($files, hive_partitioning = true)
             WHERE outcome = 'denied' GROUP BY ALL ORDER BY ALL
            """,
            {"files": f"{directory}/*/*/*.parquet"},
        ).fetchall()
