"""Writes the files that are made from the migrations: ``make fingerprint`` and ``make release-schema``.

- ``migrations/fingerprint.json``: the catalog of a fresh installation, for each version of Postgres that is here
- ``released/VERSION.sql``: the installation script of this version, and a block that fills the log and the queue
- ``released/signatures_VERSION.txt``: the functions that Python calls
"""

import json
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from pgaudit import __version__, migrate
from pgaudit._schema.fingerprint import catalog, expected
from pgaudit.testing import programs
from pgaudit.testing.server import TemporaryServer

ROOT = Path(__file__).parents[2]
RELEASED = Path(__file__).with_name("released")
SIGNATURES = """
    SELECT proname,
           format('%s(%s) -> %s', proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid))
      FROM pg_proc p
     WHERE pronamespace = 'pgaudit'::regnamespace ORDER BY 2
"""


def fingerprint() -> str:
    """Returns the catalogs of fresh installations in all versions of Postgres, merged into one."""
    found = {}
    for version, directory in programs.installed().items():
        with closing(Stopped(directory)) as server:
            migrate.upgrade(server.conninfo)
            with psycopg.connect(server.conninfo) as conn:
                found[int(version)] = expected.catalog(catalog.read(conn))
    return json.dumps(expected.merged(found), indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def release() -> str:
    """Returns a script that installs this version and uses it."""
    return migrate.sql() + (RELEASED / "events.sql").read_text()


def called() -> set[str]:
    """Returns the names of the functions that Python code calls."""
    texts = (path.read_text() for path in (ROOT / "src" / "pgaudit").rglob("*.py"))
    return {name for text in texts for name in re.findall(r"pgaudit\.(\w+)\(", text)}


def signatures(conn: psycopg.Connection[Any]) -> str:
    """Returns the arguments and results of the functions that Python calls, one on each line."""
    names = called()
    conn.execute("SET LOCAL search_path = pg_catalog")
    return "".join(f"{signature}\n" for name, signature in conn.execute(SIGNATURES).fetchall() if name in names)


class Stopped(TemporaryServer):
    """A server that ``close`` stops."""

    def close(self) -> None:
        """Stops it, and removes its files."""
        self.stop()


def write_release() -> None:
    """Writes what is compared with at the next release."""
    (RELEASED / f"{__version__}.sql").write_text(release())
    with closing(Stopped()) as server:
        migrate.upgrade(server.conninfo)
        with psycopg.connect(server.conninfo) as conn:
            (RELEASED / f"signatures_{__version__.replace('.', '_')}.txt").write_text(signatures(conn))


if __name__ == "__main__":
    if "fingerprint" in sys.argv:
        (migrate.MIGRATIONS / "fingerprint.json").write_text(fingerprint())
    if "release" in sys.argv:
        write_release()
