"""Names of targets that look alike are different targets, in SQL and in Python, and for a program without packages."""

import ast
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import psycopg

from pgaudit import AuditEvent, Target
from pgaudit.sealing.completeness import check, offline, prove
from pgaudit.sealing.completeness.offline import target_key
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.support.jobs import record_persist_and_commit

HOSTILE = [
    ("a", "b:c"),
    ("a:b", "c"),
    ("a", "\u0001b"),
    ("a\u0001", "b"),
    ("a\u2400", "b"),  # the symbol for a character of code 0
    ("a", "\u2400b"),
    ("a\\u0000", "b"),
    ("a", "\\u0000b"),
    ("a\\", "0b"),
    ("a", "\u00e9"),
    ("a", "e\u0301"),  # the same to a reader, and another text
    ("a", "\ufeffb"),
    ("a", "b"),
    ("a", "b "),
    ("ab", "ab"),
    ("aba", "b"),
    ("a", "\U0001f9fe"),
    ("a", 'b"}],"x":[{"'),
]


def test_hostile_names_do_not_collide(log: Log) -> None:
    """Each has a leaf of its own, and a proof with its own event alone."""
    events = [AuditEvent(action="thing.made", targets=[Target(type=kind, id=name)]) for kind, name in HOSTILE]
    record_persist_and_commit(log.conn, *events)
    log.day(MONDAY, "claim:7")
    for index, (kind, name) in enumerate(HOSTILE):
        proof = prove(log.conn, Target(type=kind, id=name))
        found = check(proof, log.checkpoint, log.texts(index)).found
        assert found is not None
        assert found.indexes == [index]


def test_keys_are_the_same_in_sql(conn: psycopg.Connection) -> None:
    """And all different."""
    keys = [conn.execute("SELECT pgaudit.target_key(%s, %s)", pair).fetchone() for pair in HOSTILE]
    assert keys == [(target_key(*pair),) for pair in HOSTILE]
    assert len(set(keys)) == len(HOSTILE)


def test_a_program_without_packages_checks_a_proof(log: Log, tmp_path: Path) -> None:
    """The file ``offline.py`` alone, read as Python 3.8 reads it, with nothing but the standard library."""
    source = Path(offline.__file__).read_text()
    ast.parse(source, feature_version=(3, 8))
    log.day(MONDAY, "claim:7", "claim:8")
    (tmp_path / "completeness.json").write_text(str(log.prove("claim:7")))
    root, size = b64encode(log.checkpoint.root).decode(), log.checkpoint.size
    program = source + (
        "\nfound = check_completeness(json.loads(open('completeness.json').read()), "
        f"{size}, b64decode('{root}'))\nprint(json.dumps(found))\n"
    )
    (tmp_path / "check.py").write_text(program)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "check.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == ["claim", "7", [0], 3, str(MONDAY), [log.conn.info.user]]
