"""Anchors in a directory: files that are written once, durably, and read back in order."""

import os
from pathlib import Path

import pytest

from pgaudit.errors import AnchorFailed, InvalidNote
from pgaudit.sealing.anchors.directory import Directory
from tests.support.anchors import OTHER_ROOT, anchor_of, checkpoint, submit


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """An empty directory."""
    anchor: Directory = anchor_of(f"file:{tmp_path}", Directory)
    return anchor


def test_what_was_submitted_is_read_back_by_size(directory: Directory) -> None:
    """Each checkpoint is a file; they are read in the order of their sizes."""
    for size in (300, 9, 10):
        submit(directory, checkpoint(size))
    assert list(directory.read()) == [checkpoint(9), checkpoint(10), checkpoint(300)]
    assert sorted(file.name for file in directory.path.iterdir()) == [
        f"{size:020d}.checkpoint" for size in (9, 10, 300)
    ]


def test_the_same_checkpoint_may_come_twice_and_another_of_its_size_is_refused(directory: Directory) -> None:
    """A file is never overwritten: a fork is refused, and the first checkpoint stays."""
    submit(directory, checkpoint(9))
    submit(directory, checkpoint(9))
    with pytest.raises(AnchorFailed, match=r"09\.checkpoint has another checkpoint: the log was forked"):
        submit(directory, checkpoint(9, OTHER_ROOT))
    assert list(directory.read()) == [checkpoint(9)]


@pytest.mark.parametrize("written", [0, 30])
def test_a_file_that_a_crash_has_cut_short_is_completed(directory: Directory, written: int) -> None:
    """The rest is appended, so that it works on a file system that only appends."""
    file = directory.path / f"{9:020d}.checkpoint"
    file.write_text(str(checkpoint(9))[:written])
    submit(directory, checkpoint(9))
    assert list(directory.read()) == [checkpoint(9)]


def test_file_and_directory_are_synced(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the checkpoint counts as anchored, its content and its name are on the disk."""
    synced = list[Path]()
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink()))
    submit(directory, checkpoint(9))
    assert synced == [directory.path / f"{9:020d}.checkpoint", directory.path]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (f"{9:020d}.checkpoint", "nonsense", "has no checkpoint"),
        (f"{9:020d}.checkpoint", "\udcff", "has no checkpoint"),
        (f"{8:020d}.checkpoint", str(checkpoint(9)), "has a checkpoint of 9 events"),
    ],
)
def test_a_damaged_file_is_named(directory: Directory, name: str, content: str, message: str) -> None:
    """What is no checkpoint, or not the one of its name, cannot be compared with a log."""
    (directory.path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidNote, match=message):
        list(directory.read())


def test_an_empty_file_and_other_files_are_no_checkpoints(directory: Directory) -> None:
    """A crash may leave an empty file, and the directory may have others."""
    (directory.path / f"{9:020d}.checkpoint").touch()
    (directory.path / "README").write_text("Checkpoints of the audit log")
    assert list(directory.read()) == []


def test_without_the_directory_nothing_is_written_or_read(directory: Directory) -> None:
    """A mount that is missing is an error, not an empty anchor."""
    missing = Directory("file:/…", directory.path / "missing")
    with pytest.raises(AnchorFailed, match=r"cannot write .*missing.*: No such file"):
        submit(missing, checkpoint(9))
    with pytest.raises(AnchorFailed, match=r"cannot read .*missing: No such file"):
        list(missing.read())
