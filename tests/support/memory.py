"""The memory of a server process."""

from pathlib import Path

from tests.support.queries import Connection


def peak_memory(conn: Connection) -> int:
    """Returns the most memory that the server process of the connection has used so far, in kB."""
    status = Path(f"/proc/{conn.info.backend_pid}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return peak
