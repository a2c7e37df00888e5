"""The installation that the pages describe: a database ``claims`` and the roles of the application."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from pgaudit.testing import programs
from pgaudit.testing.server import TemporaryServer
from tests.docs.printed import commands
from tests.docs.sessions import environment
from tests.support.queries import Connection

ROLES = ("claims_app", "claims_audit", "claims_worker", "claims_oncall", "claims_dba")
# Hosts in the DSNs of the pages; they are removed, so that PGHOST and PGPORT lead to the test's server.
HOST = re.compile(r"@(?:db|postgres)(?::\d+)?/")


@dataclass
class Site:
    """A server, and a directory in which the scripts of the pages run."""

    server: TemporaryServer
    directory: Path

    def dsn(self, role: str = "postgres", database: str = "claims") -> str:
        """Returns the libpq string with which a role connects to a database."""
        return make_conninfo(self.server.conninfo, user=role, dbname=database)

    def connect(self, role: str = "postgres", database: str = "claims") -> Connection:
        """Returns a session of a role, in autocommit."""
        return psycopg.connect(self.dsn(role, database), autocommit=True)

    def environment(self, role: str) -> dict[str, str]:
        """Returns the environment of a command: the programs of the server, where it is, and the role's DSN."""
        of_server = psycopg.conninfo.conninfo_to_dict(self.server.conninfo)
        variables = environment(self.dsn(role)) | {
            "PGHOST": str(of_server["host"]),
            "PGPORT": str(of_server["port"]),
            "PGUSER": "postgres",
        }
        return variables | {"PATH": f"{programs.directory()}{os.pathsep}{variables['PATH']}"}

    def attempt(self, script: str, role: str = "postgres") -> subprocess.CompletedProcess[str]:
        """Runs a script of a page, with the role's PGAUDIT_DSN unless the script exports another."""
        return subprocess.run(
            ["/bin/bash", "-e", "-o", "pipefail", "-c", HOST.sub("@/", script)],
            cwd=self.directory, env=self.environment(role), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def run(self, script: str, role: str = "postgres") -> str:
        """Runs a script of a page that has to succeed; returns what it prints."""
        ran = self.attempt(script, role)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def session(self, block: str, role: str = "postgres") -> str:
        """Runs the commands of a console session; returns what they print."""
        return self.run("\n".join(commands(block)), role)


def printed_output(block: str) -> list[str]:
    """Returns the lines of a console session that the commands printed."""
    unfolded = block.replace("\\\n", " ")
    return [line for line in unfolded.splitlines() if not line.startswith("$ ")]
