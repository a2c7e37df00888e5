"""What a complete pack shows, and which packs cannot be complete."""

import subprocess
from pathlib import Path

import pytest

from pgaudit.errors import ExportRefused
from pgaudit.sealing.packs import checking
from pgaudit.sealing.packs.description import Kind
from pgaudit.trail import parse
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.sealing.packs.complete.conftest import KINDS, SEALED
from tests.sealing.packs.conftest import export
from tests.sealing.packs.test_other_implementations import interpreters
from tests.sealing.packs.verifiers import assert_refused, assert_verified, by_program, describe, described


def test_all_events_of_a_target(pack: Path) -> None:
    """And those of the day that is not over, of which this is not shown."""
    assert_verified(pack)
    found = checking.check(pack).complete
    assert found is not None
    assert (found.indexes, found.end, found.until) == (SEALED, 308, "2027-01-01")
    assert described(pack)["indexes"] == "0,301,304,309,311"
    assert (
        found.statement == "These are all events of claim:7 up to index 307, sealed until the end of 2027-01-01 (UTC)."
    )
    assert found.reservation(5) == "After that, the pack has 2 events. Not shown yet: whether there are more."
    printed = by_program(pack)[1]
    assert found.statement.replace("claim:7", "'claim:7'") in printed
    assert found.reservation(5) in printed
    assert f"by the role {found.sealed_by[0]!r}, which should be that of the worker" in printed
    assert "Not shown: that these are all" not in printed
    assert found.statement in (pack / "README.txt").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_of_a_target(made: dict[str, Path], kind: Kind) -> None:
    """A pack without any event is a statement, too, and is verified."""
    pack = made[f"9-{kind}"]
    assert_verified(pack)
    assert (pack / "events.ndjson").read_bytes() == b""
    found = checking.check(pack).complete
    assert found is not None
    expected = "There are no events of claim:9 up to index 307, sealed until the end of 2027-01-01 (UTC)."
    assert found.statement == expected
    assert expected.replace("claim:9", "'claim:9'") in by_program(pack)[1]
    assert expected in (pack / "README.txt").read_text()
    assert "index None" not in by_program(pack)[1]


def test_without_the_proof_completeness_is_not_shown(pack: Path) -> None:
    """A pack from which it was removed says less."""
    (pack / "completeness.json").unlink()
    assert_refused(pack, "completeness.json.*missing")
    describe(pack)
    assert checking.check(pack).complete is None
    assert "Not shown: that these are all events for the query 'target:claim:7'." in by_program(pack)[1]


def test_a_query_with_quotes_is_compared_as_it_is_written(log: Log, tmp_path: Path) -> None:
    """Ids with spaces, commas, quotes and backslashes."""
    for number, name in enumerate(("7 a", "7,a", 'x"y', "a\\b", "a\\ b", "é\u2003", "plain")):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        query = str(parse(f'target:"claim:{quoted}"'))
        assert_verified(export(log.conn, tmp_path / f"{number}", query, complete=True))


@pytest.mark.parametrize(
    "query",
    ["", "claim:7", "target:claim:7,claim:8", "target:claim:*", "-target:claim:7", "target:claim:7 action:claim.paid"],
)
def test_other_queries_are_refused(log: Log, tmp_path: Path, query: str) -> None:
    """Only the events of one target are in the sealed index."""
    asked = query.replace("claim:7", "actor:user:7") if query == "claim:7" else query
    with pytest.raises(ExportRefused, match=r"the query has to be target:TYPE:ID.*nothing else"):
        export(log.conn, tmp_path / "pack", asked, complete=True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_complete_before_a_day_is_sealed(new_log: Log, tmp_path: Path) -> None:
    """The error says when that is."""
    new_log.append("claim:7")
    new_log.seal_on(MONDAY)
    with pytest.raises(ExportRefused, match="no day of this log is sealed yet"):
        export(new_log.conn, tmp_path / "pack", "target:claim:7", complete=True)
    assert_verified(export(new_log.conn, tmp_path / "pack", "target:claim:7"))


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_the_program_checks_completeness_on_each_python(python: Path, made: dict[str, Path]) -> None:
    """Without site packages and variables."""
    for pack in made.values():
        program = [str(python), "-I", "-S", "-W", "error", str(pack / "verify.py")]
        result = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode, result.stderr) == (0, ""), result.stdout
        assert "up to index 307, sealed until the end of 2027-01-01 (UTC)" in result.stdout
