"""Packs as zip files, and how large packs are."""

import io
import shutil
import zipfile
from pathlib import Path

import psycopg
import pytest

from pgaudit.errors import ExportRefused, LogDamaged
from pgaudit.sealing.packs import output
from pgaudit.sealing.packs.description import Kind
from pgaudit.sealing.packs.layout import Indexes, expanded
from pgaudit.sealing.packs.planning import plan_pack
from tests.sealing.packs.conftest import POLICY, export
from tests.sealing.packs.verifiers import BOTH, assert_refused, assert_verified
from tests.support.tampering import unguarded

ALTER_EVENT = """UPDATE pgaudit.audit_log SET event = event || '{"action": "claim.denied"}' WHERE index = 7"""


@pytest.fixture(scope="module")
def zipped(sealed: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip file with four events and their proofs."""
    with psycopg.connect(sealed, autocommit=True) as conn:
        return export(conn, tmp_path_factory.mktemp("zipped") / "pack.zip", "target:claim:7,claim:8")


def test_a_zip_file_has_what_a_directory_has(zipped: Path, packs: dict[str, Path]) -> None:
    """Verified as it is; in the order of names, without dates, owners and directories."""
    assert_verified(zipped)
    with zipfile.ZipFile(zipped) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        for info in archive.infolist():
            assert (info.date_time, info.external_attr >> 16) == ((1980, 1, 1, 0, 0, 0), 0o100644)
            assert archive.read(info) == (packs["proofs"] / info.filename).read_bytes()
    assert {*names} == {
        path.relative_to(packs["proofs"]).as_posix() for path in packs["proofs"].rglob("*") if path.is_file()
    }
    assert [path.name for path in zipped.parent.iterdir()] == ["pack.zip"]
    assert zipped.stat().st_mode & 0o077 == 0


def test_the_same_pack_is_the_same_bytes(sealed: str, zipped: Path, tmp_path: Path) -> None:
    """Whenever it is exported."""
    with psycopg.connect(sealed, autocommit=True) as conn:
        again = export(conn, tmp_path / "again.zip", "target:claim:7,claim:8")
    assert again.read_bytes() == zipped.read_bytes()


def test_a_changed_byte_of_a_zip_file_is_found_or_changes_no_file(zipped: Path, tmp_path: Path) -> None:
    """Dates and the like are not verified: what is in the files is."""
    data = zipped.read_bytes()
    with zipfile.ZipFile(zipped) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    changed_zip = tmp_path / "changed.zip"
    directory = data.index(b"PK\x01\x02")
    for at in (*range(0, directory, 23), *range(directory, len(data))):
        changed = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        changed_zip.write_bytes(changed)
        for verifier in BOTH:
            code, said = verifier(changed_zip, None)
            if code == 0:
                with zipfile.ZipFile(io.BytesIO(changed)) as archive:
                    assert {name: archive.read(name) for name in archive.namelist()} == contents
            else:
                assert said


def test_two_files_of_one_name_are_found(zipped: Path, tmp_path: Path) -> None:
    """Programs differ in which of them they read."""
    copy = Path(shutil.copy(zipped, tmp_path / "pack.zip"))
    with (
        zipfile.ZipFile(copy, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
        archive.open("policy", "w") as file,
    ):
        file.write(b"")
    assert_refused(copy, "same name")


def test_what_is_in_the_way_is_kept(sealed: str, tmp_path: Path) -> None:
    """Only a zip file, and what an export left unfinished, are replaced, and only if that is asked for."""
    with psycopg.connect(sealed, autocommit=True) as conn:
        plan = plan_pack(conn, "target:claim:7", POLICY)
        (tmp_path / "directory").mkdir()
        (tmp_path / "file").write_text("mine")
        for name in ("directory", "file"):
            for replace in (False, True):
                with pytest.raises(ExportRefused, match="name another directory"):
                    output.PackOutput(tmp_path / name, plan, replace=replace)
        (tmp_path / "pack.zip").write_text("mine")
        with pytest.raises(ExportRefused, match="replace it with --force"):
            output.PackOutput(tmp_path / "pack.zip", plan)
        (tmp_path / "new.partial").mkdir()
        with pytest.raises(ExportRefused, match=r"new.partial exists: .*--force"):
            output.PackOutput(tmp_path / "new", plan)
        for name in ("new", "pack.zip"):
            output.PackOutput(tmp_path / name, plan, replace=True).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file", "pack.zip"]


def test_too_many_single_proofs_are_refused(sealed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles are for whole logs; nothing is left behind."""
    monkeypatch.setattr(output, "MOST_PROOFS", 589)
    with psycopg.connect(sealed, autocommit=True) as conn:
        with pytest.raises(ExportRefused, match=r"more than 589 events.*use --tiles"):
            export(conn, tmp_path / "pack")
        assert list(tmp_path.iterdir()) == []
        assert_verified(export(conn, tmp_path / "pack", kind="tiles"))


@pytest.mark.parametrize("kind", ["proofs", "tiles"])
def test_an_altered_event_is_not_exported(sealed: str, tmp_path: Path, kind: Kind) -> None:
    """The log has another event than was sealed: a pack would only fail at its reader's."""
    with psycopg.connect(sealed) as conn:
        with unguarded(conn):
            conn.execute(ALTER_EVENT)
        with pytest.raises(LogDamaged, match="event of index 7 is not the one that was sealed"):
            export(conn, tmp_path / "pack", "target:claim:7", kind)
        conn.rollback()
    assert list(tmp_path.iterdir()) == []


def test_a_tree_other_than_the_signed_one_is_not_exported(sealed: str, tmp_path: Path) -> None:
    """A rewritten tile leads to another root."""
    with psycopg.connect(sealed) as conn:
        with unguarded(conn):
            conn.execute("UPDATE pgaudit.tile SET root = sha256('') WHERE level = 0 AND number = 1")
        with pytest.raises(LogDamaged, match="tree of the first 590 events is not the one that was signed"):
            export(conn, tmp_path / "pack", "target:claim:7")
        conn.rollback()


def test_tiles_are_smaller_from_eight_neighbours_on(sealed: str, tmp_path: Path) -> None:
    """Sizes of what is besides the events: a proof is about a kilobyte in a large log, a tile is 8 kilobytes."""
    sizes: dict[tuple[Kind, int], int] = {}
    kinds: tuple[Kind, ...] = ("proofs", "tiles")
    with psycopg.connect(sealed, autocommit=True) as conn:
        for count in (1, 8, 40):
            query = "target:" + ",".join(f"claim:{number}" for number in range(200, 200 + count))
            for kind in kinds:
                pack = export(conn, tmp_path / f"{kind}-{count}", query, kind)
                assert_verified(pack)
                evidence = [*pack.glob("proofs/*"), *pack.glob("tile/**/*"), *pack.glob("checkpoint")]
                sizes[kind, count] = sum(path.stat().st_size for path in evidence if path.is_file())
    assert sizes["proofs", 1] < 1_000 < sizes["tiles", 1]
    assert sizes["tiles", 40] < sizes["proofs", 40]
    assert sizes["tiles", 40] == sizes["tiles", 8] <= 2 * 8_192 + 79 * 32 + 300


def test_indexes_are_written_as_ranges() -> None:
    """Those of a whole log take no more room than one, and are read again without being kept."""
    indexes = Indexes()
    for index in (0, 1, 2, 7, 9, 10):
        indexes.add(index)
    assert str(indexes) == "0-2,7,9-10"
    assert list(expanded(str(indexes))) == [0, 1, 2, 7, 9, 10]
    assert list(expanded(str(Indexes()))) == []
    for wrong in ("3-1", "1,1", "2,1", "0-5,3", "x", "1-", ","):
        with pytest.raises(ValueError, match=r"ascend|int"):
            list(expanded(wrong))


def test_nobody_else_can_read_a_pack(sealed: str, tmp_path: Path) -> None:
    """It has the audit log."""
    with psycopg.connect(sealed, autocommit=True) as conn:
        pack = export(conn, tmp_path / "pack", "target:claim:7")
    for path in (pack, *pack.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0
