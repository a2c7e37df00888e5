"""Programs and commands, run as the pages print them."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from pgaudit.testing import assert_recorded
from tests.docs.printed import ROOT, Curl, blocks, commands, commands_of, program
from tests.docs.sessions import bash, served
from tests.support.jobs import insert_poison
from tests.support.processes import worker_process
from tests.support.queries import value_in
from tests.support.waiting import wait_until

SERVICES = ["docs/integrate/fastapi.md", "docs/integrate/flask.md", "docs/integrate/django.md"]
VARIES = re.compile(r"[\d:.-]{4,}Z?")


def test_the_quick_start_of_the_readme(tmp_path: Path) -> None:
    """On an embedded Postgres: the commands print what the page says; the program then records another event."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    session = next(block for block in blocks("README.md", "console") if "embedded:" in block)
    install, *others = commands(session)
    assert "pip install" in install
    result = bash("\n".join(others), tmp_path)
    printed = [line for line in session.splitlines() if not line.startswith("$ ")]
    assert [VARIES.sub("", line) for line in result.splitlines()] == [VARIES.sub("", line) for line in printed]
    code = blocks("README.md", "python")[0]
    (tmp_path / "approve.py").write_text(code)
    rest = "export PGAUDIT_DSN=embedded:data; python approve.py; pgaudit jobs list waiting"
    assert "claim.approved" in bash(rest, tmp_path)


@pytest.mark.parametrize("page", SERVICES)
def test_the_service_of_a_page_serves_what_its_commands_ask(page: str, dsn: str, tmp_path: Path) -> None:
    """The server and each curl of the program's docstring: the log then has both events, with who asked."""
    text = program(page)
    (tmp_path / "app.py").write_text(text)
    to_run = [re.sub(r"examples/\w+(/app\.py)?", rf"{tmp_path}\1", command) for command in commands_of(text)]
    (server,) = (command for command in to_run if command.startswith(("uvicorn", "flask")))
    beside = worker_process(dsn) if "pgaudit worker &" in to_run else nullcontext()
    with beside, served(server, dsn, tmp_path) as address, psycopg.connect(dsn, autocommit=True) as conn:
        answers = [Curl.parse(command).send(address) for command in to_run if command.startswith("curl")]
        wait_until("the log has 2 events", lambda: value_in(dsn, "SELECT size FROM pgaudit.log_head") == 2)
        assert_recorded(conn, action="claim.submitted", actor="user:ada", target="claim:1")
        assert_recorded(conn, action="claim.approved", actor="user:bob", target="claim:1")
    assert [answer.status_code for answer in answers] == [201, 200, 200][: len(answers)]


@pytest.mark.parametrize("page", SERVICES)
def test_the_excerpts_of_a_page_are_of_its_service(page: str) -> None:
    """Each statement of the excerpt on the page is in a program that a test runs."""
    tested = re.findall(r"<!-- generated: code ((?:docs/code|tests/django)/\S+)", (ROOT / page).read_text())
    run = [program(page), *((ROOT / path).read_text() for path in tested)]
    whole = {ast.dump(statement) for text in run for statement in ast.parse(text).body}
    for block in blocks(page, "python"):
        for statement in ast.parse(block).body:
            assert ast.dump(statement) in whole, ast.unparse(statement)


def test_the_program_of_the_claims_page(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method, an action given as its value, and a signal."""
    monkeypatch.setenv("PGAUDIT_DSN", dsn)
    names: dict[str, Any] = {}
    exec(blocks("docs/integrate/claims.md", "python")[0], names)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE claims AS SELECT 7::bigint AS id, 'open' AS status")
        for function, identity in (("approve", 7), ("cancel", 3), ("settle", 7)):
            names[function](conn, 42, identity)
        assert_recorded(conn, action="claim.approved", target="claim:7", data={"approval_amount": "1000.00"})
        assert_recorded(conn, action="policy.cancelled", target="policy:3", actor="user:42")
        assert_recorded(conn, action="claim.settled", target="claim:7", data={"settlement_amount": "950.00"})
        assert value_in(dsn, "SELECT status FROM claims") == "settled"


def test_the_tests_of_the_testing_page(tmp_path: Path) -> None:
    """The tests on the page about testing pass under pytest."""
    code = blocks("docs/integrate/tests.md", "python")[0]
    (tmp_path / "test_approval.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_approval.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed" in result.stdout, result.stdout


@pytest.fixture
def web(dsn: str, tmp_path: Path) -> Iterator[str]:
    """The address of the server that the page on HTTP starts, with the token that the page sets."""
    session = commands(blocks("docs/reference/http.md", "console")[0])
    (token,) = re.findall(r"PGAUDIT_ADMIN_TOKEN=(\S+)", session[0])
    with served(session[1], dsn, tmp_path, PGAUDIT_ADMIN_TOKEN=token) as address:
        yield address


def test_the_requests_of_the_page_on_http(web: str, dsn: str) -> None:
    """Each is answered with success; the last one retries the failed job that it names."""
    requests = [Curl.parse(command) for command in commands(blocks("docs/reference/http.md", "console")[1])]
    (job,) = (int(number) for request in requests for number in re.findall(r"/jobs/(\d+)/retry", request.path))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT setval('pgaudit.procrastinate_jobs_id_seq', %s)", [job - 1])
        assert insert_poison(conn) == job
        conn.execute("UPDATE pgaudit.audit_jobs SET status = 'failed', attempts = 3")
    answers = [request.send(web) for request in requests]
    assert [(answer.status_code, answer.text) for answer in answers if answer.status_code != httpx.codes.OK] == []
    assert value_in(dsn, "SELECT status FROM pgaudit.audit_jobs") == "todo"
