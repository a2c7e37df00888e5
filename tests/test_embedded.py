"""embedded:PATH: which directories it takes for its own."""

from pathlib import Path

import pytest

from pgaudit import InvalidSettings, Settings
from pgaudit.embedded import conninfo


@pytest.mark.parametrize("dsn", ["embedded:", "embedded: "])
def test_a_directory_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    """A server in the current directory is nobody's wish."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_DSN=embedded: names no directory; write embedded:PATH"):
        conninfo(dsn)
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_DSN=embedded: names no directory"):  # a worker tries no more
        Settings(dsn=dsn)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["{}", "{}/../{name}", "{}/notes"])
def test_what_holds_something_else_is_left_alone(tmp_path: Path, path: str) -> None:
    """A directory with other files, and a file, keep their content and their owner."""
    (tmp_path / "notes").write_text("mine")
    before = tmp_path.stat()
    with pytest.raises(
        InvalidSettings, match=r"is not empty and holds no Postgres; give embedded: a directory of its own"
    ):
        conninfo("embedded:" + path.format(tmp_path, name=tmp_path.name))
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes"]
    assert tmp_path.stat() == before


def test_other_dsns_are_libpqs() -> None:
    """They are passed on."""
    assert conninfo("dbname=x") == "dbname=x"
