"""Installation, upgrade, downgrade and removal, as the page prints them."""

import re

import psycopg

from tests.docs.printed import commands, recipe
from tests.docs.recipes.site import Site, printed_output
from tests.support.events import events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.queries import value_in

PAGE = "operate/upgrades.md"


def test_a_deploy_migrates_and_checks(site: Site) -> None:
    """The deploy's commands work, except for installing the package; the application's role may check as well."""
    block = recipe(PAGE, "pip install --upgrade")
    install, *others = commands(block)
    assert install.startswith("pip install")
    printed = site.run("\n".join(others)).splitlines()
    assert printed[: len(printed_output(block))] == printed_output(block)
    assert site.attempt("pgaudit migrate --check", "claims_app").returncode == 0


def test_the_scripts_for_a_dba_install_and_upgrade(site: Site) -> None:
    """The upgrade from the newest revision changes nothing; the installation works on an empty database."""
    write_install, *upgrade = commands(recipe(PAGE, "--sql > install.sql"))
    site.run("\n".join([write_install, *upgrade]))
    install = upgrade[-1].replace("upgrade.sql", "install.sql").replace("/claims ", "/claims_new ")
    assert site.attempt("pgaudit migrate --check").returncode == 0
    with site.connect() as superuser:
        superuser.execute("CREATE DATABASE claims_new OWNER claims_audit")
    site.run(install)
    assert value_in(site.dsn("claims_audit", "claims_new"), "SELECT revision FROM pgaudit.schema_state()")


def test_the_schema_goes_back_and_comes_again(site: Site) -> None:
    """A downgrade and the upgrade after it keep the events."""
    with site.connect() as conn:
        record_persist_and_commit(conn, *events(3))
    site.session(recipe(PAGE, "pgaudit downgrade 0001"), "claims_audit")
    assert value_in(site.dsn(), "SELECT count(*) FROM pgaudit.audit_log") == 3


def test_a_trail_with_events_is_removed_only_on_the_record(site: Site) -> None:
    """The command prints what the page prints, with the counts of this database, and removes the schema."""
    with site.connect() as conn:
        record_persist_and_commit(conn, *events(4))
        record_and_commit(conn, *events(3))
    block = recipe(PAGE, "pgaudit uninstall")
    refused = site.attempt(commands(block)[0], "claims_audit")
    assert refused.returncode != 0
    assert [refused.stderr.strip()] == [line.replace("1204", "4") for line in printed_output(block)]
    (confirmation,) = re.findall(r"--confirm \w+", refused.stderr)
    site.run(f"pgaudit uninstall {confirmation}", "claims_audit")
    with psycopg.connect(site.dsn()) as conn:
        assert conn.execute("SELECT to_regnamespace('pgaudit')").fetchone() == (None,)
