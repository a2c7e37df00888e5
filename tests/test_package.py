"""The package as users install it: the contents of the wheel, and the public names."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import pgaudit
from pgaudit import migrate
from pgaudit._schema import state

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def run(*arguments: str, directory: Path = ROOT) -> str:
    """Returns what a fresh interpreter prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    directory = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory))
    (path,) = directory.glob("*.whl")
    return path


def test_the_wheel_contains_the_package_and_its_migrations(wheel: Path) -> None:
    """The wheel has each file of src and migrations, py.typed and the SQL included, and no compiled file."""
    sources = {
        target / path.relative_to(source)
        for source, target in ((ROOT / "src", Path()), (ROOT / "migrations", Path("pgaudit/migrations")))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.parent.name.endswith("-info")
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {Path(name) for name in archive.namelist() if name.startswith(("pgaudit/", "pgaudit_"))}
    assert packed == sources
    assert {
        Path("pgaudit/py.typed"),
        Path("pgaudit_pytest.py"),
        Path("pgaudit/migrations/code/20_record.sql"),
        Path("pgaudit/migrations/fingerprint.json"),
    } < packed


def test_the_wheel_finds_its_migrations(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel finds its migrations away from the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    first = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    code = f"{first}; from pgaudit import migrate; print(migrate.MIGRATIONS, migrate.newest())"
    assert run("-c", code, directory=tmp_path).split() == [str(tmp_path / "pgaudit" / "migrations"), state.NEWEST]


def test_all_names_what_is_public() -> None:
    """__all__ has all public names of the package, sorted; some are imported when they are asked for."""
    assert all(hasattr(pgaudit, name) for name in pgaudit.__all__)
    public = {name for name, value in vars(pgaudit).items() if not (name[0] == "_" or isinstance(value, ModuleType))}
    assert set(pgaudit.__all__) == public
    assert pgaudit.__all__ == sorted(pgaudit.__all__)


def test_the_newest_revision_is_known_without_alembic() -> None:
    """state.NEWEST is the head of the migrations, so that the health check does not load Alembic."""
    assert migrate.newest() == state.NEWEST


def test_the_version_is_the_same_everywhere() -> None:
    """Package, metadata and changelog have the same version."""
    assert version("pgaudit") == pgaudit.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = next(line for line in changelog.splitlines() if line.startswith("## ["))
    assert newest.startswith(f"## [{pgaudit.__version__}]")


def test_every_requirement_is_pinned_for_development() -> None:
    """requirements-dev.txt pins each requirement of pyproject.toml, and names no index or path."""
    lines = [line for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 and not {"/", ":"} & set(line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    assert wanted() - {"pgaudit"} <= pinned


def wanted() -> set[str]:
    """Returns the packages that pgaudit, its extras and its development require."""
    groups = [
        PROJECT["dependencies"],
        *PROJECT["optional-dependencies"].values(),
        PYPROJECT["dependency-groups"]["dev"],
    ]
    return {re.split(r"[\[=<>]", text)[0].lower().replace(".", "-") for group in groups for text in group}
