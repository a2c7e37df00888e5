"""The commands and statements of the page on guards."""

import psycopg
import pytest

from docs.code import guarded_commit
from pgaudit import AuditEvent, AuditLog, Settings
from tests.docs.printed import blocks, recipe, statements
from tests.docs.recipes.site import Site, printed_output
from tests.docs.recipes.test_capture import TABLES

PAGE = "operate/guard.md"


@pytest.fixture
def guarded(site: Site) -> Site:
    """The installation; the table of claims is guarded by the command of the page."""
    with site.connect() as superuser:
        superuser.execute(TABLES)
    added = recipe(PAGE, "pgaudit guard add claims")
    assert site.session(added, "claims_audit").splitlines() == printed_output(added)
    return site


def change() -> str:
    """Returns the statement of the page."""
    (statement,) = statements(recipe(PAGE, "UPDATE claims SET status"))
    return statement


def test_a_change_without_an_event_fails_as_printed(guarded: Site) -> None:
    """Message and hint; with its event it is committed."""
    (printed,) = blocks(f"docs/{PAGE}", "text")
    with guarded.connect("claims_app") as app:
        with pytest.raises(psycopg.Error) as error:
            app.execute(change().encode())
        assert f"ERROR:  {error.value.diag.message_primary}\nHINT:  {error.value.diag.message_hint}\n" == printed
        with app.transaction():
            AuditLog(Settings()).record(app, AuditEvent(action="claim.paid", target="claim:7"))
            app.execute(change().encode())
        assert app.execute("SELECT status FROM claims").fetchone() == ("paid",)


def test_the_program_tells_of_it(guarded: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The error of COMMIT is caught, and no other."""
    dsn = guarded.dsn("claims_app")
    assert not guarded_commit.save(dsn, change())
    assert "A bug: public.claims: claim:7 updated without an audit event. Record a new event" in caplog.text
    assert guarded_commit.save(dsn, "SELECT 1")
    with pytest.raises(psycopg.errors.SyntaxError):
        guarded_commit.save(dsn, "nonsense")
