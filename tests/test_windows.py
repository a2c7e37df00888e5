"""pgaudit on a system without POSIX, such as Windows: recording works, and a spool is refused."""

import subprocess
import sys

BLOCKED = """if True:
    import os, sys
    for name in ("fcntl", "pwd", "grp", "resource", "termios"):
        sys.modules[name] = None
    for name in ("geteuid", "getuid", "register_at_fork", "O_NOFOLLOW", "fork"):
        delattr(os, name)
"""


def run(code: str) -> str:
    """Returns the output of a program in which the modules and functions of POSIX are missing."""
    command = [sys.executable, "-c", BLOCKED + code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_everything_can_be_imported() -> None:
    """Each module can be imported, those for tests and the web application included."""
    assert run(
        "    import pgaudit, pgaudit.cli, pgaudit.testing.copies, pgaudit.web, pgaudit.worker; print('imported')"
    )


def test_recording_works_and_a_spool_is_refused_at_once() -> None:
    """AuditLog records, and refuses a spool at construction with a message that names the settings to unset."""
    code = """
    from pgaudit import AuditEvent, AuditLog, PgauditError, Settings, health
    from pgaudit.testing import recording
    with recording() as events:
        AuditLog(Settings()).record(None, AuditEvent(action="claim.approved"))
    print(len(events))
    try:
        AuditLog(Settings(on_failure="spool", spool_dir="/spool"))
    except PgauditError as error:
        print(error)
    """
    recorded, refusal = run(code).splitlines()
    assert recorded == "1"
    assert "Windows" in refusal
    assert "PGAUDIT_ON_FAILURE=raise" in refusal


def test_an_export_to_a_file_is_refused() -> None:
    """The sentence says what works instead."""
    code = """
    from pathlib import Path
    from pgaudit.trail.export import ExportRefused
    from pgaudit.trail.export.files import locked
    try:
        locked(Path("events.ndjson"), "xb")
    except ExportRefused as error:
        print(error)
    """
    assert "export to standard output" in run(code)


def test_a_worker_is_refused() -> None:
    """In each of its forms, before it opens a connection."""
    code = """
    import asyncio
    from pgaudit import PgauditError, Settings, worker
    async def run():
        async with worker.running(Settings()):
            await asyncio.sleep(0)
    for start in (lambda: asyncio.run(run()), worker.start_in_thread):
        try:
            start()
        except PgauditError as error:
            print(error)
    """
    assert run(code).count("a worker needs a POSIX system, such as Linux or macOS: run it there") == 2


def test_the_command_ends_with_a_sentence() -> None:
    """Instead of a traceback about a missing signal."""
    code = """
    from pgaudit.__main__ import main
    try:
        main()
    except SystemExit as end:
        print(end)
    """
    assert run(code).startswith("The pgaudit command needs a POSIX system")
