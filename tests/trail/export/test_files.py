"""An exported file is there as a whole or not at all, and an interrupted one can be continued."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pgaudit.errors import ExportRefused
from pgaudit.trail import export
from pgaudit.trail.export import copying, files
from pgaudit.trail.export.copying import check_continues, copy
from pgaudit.trail.export.files import FileOutput
from pgaudit.trail.export.plans import Format
from pgaudit.trail.export.target import Target, manifest_beside
from tests.trail.conftest import EVENTS

FORMATS: list[Format] = ["ndjson", "csv", "parquet"]


class PowerCutError(Exception):
    """Ends an export between two portions."""


def ignore(_: object) -> None:
    """Takes an event or a stream, and does nothing."""


def interrupt_after(count: int) -> Callable[[object], None]:
    """Returns a function that breaks off at its n-th call."""
    left = iter(range(count))

    def report(_: object) -> None:
        if next(left, None) is None:
            raise PowerCutError

    return report


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of 100 events, each with a checkpoint."""
    monkeypatch.setattr(copying, "portion", partial(export.portion, limit=100))
    monkeypatch.setattr(files, "CHECKPOINT_EVERY", 0.0)


def write(conn: psycopg.Connection, target: Target, query: str = "") -> bytes:
    """Exports into a target; returns the finished file."""
    output = FileOutput.create(target, export.plan(conn, query, format=target.format))
    with closing(output):
        path = copy(conn, output, ignore, ignore)
    assert path
    return path.read_bytes()


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("format_", FORMATS)
def test_an_interrupted_export_is_continued_to_the_same_bytes(
    log: psycopg.Connection, tmp_path: Path, format_: Format
) -> None:
    """However often it is interrupted, and with half a line behind the last checkpoint."""
    whole = write(log, Target(tmp_path / "whole", format_), "-action:user.login")
    target = Target(tmp_path / "file", format_)
    output = FileOutput.create(target, export.plan(log, "-action:user.login", format=format_))
    for number in range(3):
        with pytest.raises(PowerCutError):
            copy(log, output, ignore, interrupt_after(number))
        output.close()
        with target.partial.open("ab") as file:
            file.write(b'{"half": "a li')
        assert not target.path.exists()
        output = FileOutput.reopen(target)
    assert output.stream.position > 300
    check_continues(log, output.stream)
    assert copy(log, output, ignore, ignore) == target.path
    output.close()
    assert target.path.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("file")) == [
        "file",
        "file.manifest.json",
    ]


@pytest.mark.parametrize("format_", FORMATS)
def test_the_manifest_describes_the_file(log: psycopg.Connection, tmp_path: Path, format_: Format) -> None:
    """It has the counts, the range and the hash, and says what a line or column is."""
    target = Target(tmp_path / "file", format_)
    data = write(log, target, "action:claim.*")
    manifest = json.loads(manifest_beside(target.path).read_text())
    indexes = [row[0] for row in log.execute(
        "SELECT index FROM pgaudit.audit_log WHERE action LIKE 'claim.%' ORDER BY index"
    )]  # fmt: skip
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
    assert (manifest["bytes"], manifest["count"], manifest["log_size"]) == (len(data), len(indexes), EVENTS)
    assert (manifest["first_index"], manifest["last_index"]) == (indexes[0], indexes[-1])
    assert (manifest["query"], manifest["format"], manifest["recorded"]) == ("action:claim.*", format_, True)
    if format_ == "csv":
        assert data.split(b"\r\n")[0].decode().split(",") == manifest["schema"]
    if format_ == "parquet":
        assert manifest["schema"]["recorded_at"] == "timestamp[us, tz=UTC]"


def test_only_the_owner_can_read_the_files(log: psycopg.Connection, tmp_path: Path) -> None:
    """They have the audit log."""
    write(log, Target(tmp_path / "file", "csv"))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_directory_gets_a_file_named_by_its_indexes(log: psycopg.Connection, tmp_path: Path) -> None:
    """The first and last index are in the name; a second export of the same range is refused at its end."""
    target = Target(tmp_path, "ndjson")
    write(log, target)
    write(log, target, "target:claim:99")
    names = {f"pgaudit-0-{EVENTS - 1}.ndjson", "pgaudit-empty.ndjson"}
    assert {path.name for path in tmp_path.iterdir() if path.suffix == ".ndjson"} == names
    with pytest.raises(ExportRefused, match="exists: move it away and use --resume"):
        write(log, target)
    (tmp_path / f"pgaudit-0-{EVENTS - 1}.ndjson").unlink()
    output = FileOutput.reopen(target)
    assert output.stream.is_finished
    with closing(output):
        assert copy(log, output, ignore, ignore) == tmp_path / f"pgaudit-0-{EVENTS - 1}.ndjson"


def test_what_is_there_is_not_replaced(log: psycopg.Connection, tmp_path: Path) -> None:
    """A finished file and an interrupted one are kept, unless they may be replaced."""
    target = Target(tmp_path / "file", "ndjson")
    target.check()
    output = FileOutput.create(target, export.plan(log))
    with pytest.raises(ExportRefused, match="another process writes"):
        FileOutput.reopen(target)
    with pytest.raises(ExportRefused, match="interrupted export: continue it with --resume"):
        target.check()
    copy(log, output, ignore, ignore)
    output.close()
    with pytest.raises(ExportRefused, match="exists: name another file"):
        target.check()
    with pytest.raises(ExportRefused, match="to continue: leave out --resume"):
        FileOutput.reopen(target)
    Target(tmp_path / "file", "ndjson", replace=True).check()


def test_a_shortened_file_is_not_continued(log: psycopg.Connection, tmp_path: Path) -> None:
    """What is missing before the checkpoint cannot be made up."""
    target = Target(tmp_path / "file", "csv")
    output = FileOutput.create(target, export.plan(log, format="csv"))
    output.close()
    os.truncate(target.partial, 10)
    with pytest.raises(ExportRefused, match="shorter than it was"):
        FileOutput.reopen(target)


def test_the_file_of_another_version_is_not_continued(
    log: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its format may be another one."""
    target = Target(tmp_path / "file", "csv")
    FileOutput.create(target, export.plan(log, format="csv")).close()
    monkeypatch.setattr("pgaudit.__version__", "99.0")
    with pytest.raises(ExportRefused, match="continue it with that version"):
        FileOutput.reopen(target)


@pytest.mark.usefixtures("small_portions")
def test_another_log_does_not_continue_the_export(
    log: psycopg.Connection, conn: psycopg.Connection, tmp_path: Path
) -> None:
    """The last event that was exported must be in the log, at the same index."""
    output = FileOutput.create(Target(tmp_path / "file", "ndjson"), export.plan(log))
    with closing(output), pytest.raises(PowerCutError):
        copy(log, output, ignore, interrupt_after(1))
    check_continues(log, output.stream)
    with pytest.raises(ExportRefused, match="this log does not have the last event"):
        check_continues(conn, output.stream)


def test_a_file_that_cannot_be_recorded_is_not_finished(log: psycopg.Connection, tmp_path: Path) -> None:
    """No file has its name unless the log says that it was exported."""
    target = Target(tmp_path / "file", "ndjson")
    output = FileOutput.create(target, export.plan(log))
    with closing(output), pytest.raises(PowerCutError) as failed:
        copy(log, output, interrupt_after(0), ignore)
    assert "could not be recorded" in failed.value.__notes__[0]
    assert not target.path.exists()
    assert target.checkpoint.exists()
