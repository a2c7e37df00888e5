"""Reads the logs of several databases as one, from their files of Parquet."""

from pathlib import Path

import duckdb


def denials(lake: Path) -> list[tuple[str, int, str]]:
    """Returns log, index and actor of each event that was denied, in the order in which they happened."""
    with duckdb.connect() as conn:
        return conn.execute(
            """
            SELECT log, index, actor_type || ':' || actor_id
              FROM read_parquet($files, hive_partitioning = true)
             WHERE outcome = 'denied' ORDER BY occurred_at, log, index
            """,
            {"files": f"{lake}/*/*/*/*.parquet"},
        ).fetchall()
