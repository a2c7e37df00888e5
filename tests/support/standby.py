"""A physical standby of a test's server."""

from pgaudit.testing.server import TemporaryServer


class Standby(TemporaryServer):
    """A server that follows another one by streaming replication until it is promoted."""

    def __init__(self, primary: TemporaryServer) -> None:
        self._primary = primary
        super().__init__()

    def promote(self) -> None:
        """Promotes the standby, and returns when it accepts writes."""
        self._run("pg_ctl", "promote", "-D", "data", "-w", "-t", "60")

    def recover_to(self, position: str) -> None:
        """Starts the stopped standby as a restored backup: with the primary's WAL up to a position, for itself alone.

        :param position: an LSN; or ``immediate``, to add nothing to the backup.
        """
        data = self.home / "data"
        target = "recovery_target = 'immediate'" if position == "immediate" else f"recovery_target_lsn = '{position}'"
        with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write(f"restore_command = 'cp {self._primary.home}/data/pg_wal/%f %p'\n")
            file.write(f"{target}\nrecovery_target_action = 'promote'\n")
        (data / "standby.signal").rename(data / "recovery.signal")
        self.start()

    def _initialise(self, settings: dict[str, str | int]) -> None:
        backup = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-U", "postgres")
        self._run("pg_basebackup", "-h", str(self._primary.home), "-p", "5432", "-D", "data", *backup)
        with (self.home / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            file.write(f"unix_socket_directories = '{self.home}'\n")
