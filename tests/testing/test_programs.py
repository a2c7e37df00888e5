"""Where PostgreSQL's programs are found, and which version is taken."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from pgaudit.errors import InvalidSettings, MissingExtra
from pgaudit.testing import programs


def install(root: Path, version: str) -> Path:
    """Installs programs that print that version, as a packager does: ``postgresql/15/bin``."""
    directory = root / "postgresql" / version / "bin"
    directory.mkdir(parents=True)
    said = {"pg_config": str(directory), "postgres": f"postgres (PostgreSQL) {version}.2", "initdb": "", "pg_ctl": ""}
    for name, line in said.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\necho '{line}'\n")
        path.chmod(0o755)
    return directory


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not installed, and PATH has no PostgreSQL."""

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(programs, "distribution", missing)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("PGAUDIT_TEST_PG", raising=False)


def test_the_extra_brings_two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no PostgreSQL on PATH, the versions of the extra are found, and the newest is used."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("PGAUDIT_TEST_PG", raising=False)
    assert set(programs.installed()) == {"16", "18"}
    assert programs.version() == "18"


@pytest.mark.usefixtures("without_wheel")
def test_versions_beside_that_of_pg_config_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them is on PATH; PGAUDIT_TEST_PG chooses, and the newest is the default."""
    directories = {version: install(tmp_path, version) for version in ("9", "15", "17")}
    monkeypatch.setenv("PATH", f"{directories['15']}:/bin:/usr/bin")
    found = programs.installed()
    assert {version: found[version] for version in directories} == directories
    assert programs.version() == max(found, key=int)
    monkeypatch.setenv("PGAUDIT_TEST_PG", "9")
    assert programs.directory() == directories["9"]


@pytest.mark.usefixtures("without_wheel")
def test_programs_on_path_are_found_without_pg_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to them is enough: what is beside the real ones counts."""
    directory = install(tmp_path, "17")
    (directory / "pg_config").unlink()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "postgres").symlink_to(directory / "postgres")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert programs.installed() == {"17": directory}


@pytest.mark.usefixtures("without_wheel")
def test_a_client_without_a_server_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The development files of libpq have a pg_config, too."""
    directory = install(tmp_path, "17")
    (directory / "initdb").unlink()
    monkeypatch.setenv("PATH", str(directory))
    assert programs.installed() == {}


@pytest.mark.usefixtures("without_wheel")
def test_where_there_is_none_the_error_says_what_to_install() -> None:
    """The extra, or another version, or a server that is running."""
    with pytest.raises(MissingExtra, match=r'pip install "pgaudit\[testing\]".*pg_config on PATH.*DSN of a server'):
        programs.directory()


@pytest.mark.parametrize("named", ["9", "seventeen"])
def test_an_unknown_version_is_refused_with_those_that_are_there(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the versions that are installed, and how to install another one."""
    monkeypatch.setenv("PGAUDIT_TEST_PG", named)
    with pytest.raises(
        InvalidSettings, match=f"PGAUDIT_TEST_PG={named}: PostgreSQL .*16, 18 was found.* put its pg_config"
    ):
        programs.directory()
