"""The first installation, from an empty database, as the README and the page on integrating print it."""

from tests.docs.printed import commands, recipe
from tests.docs.recipes.site import Site
from tests.support.processes import worker_process
from tests.support.queries import value_in


def test_three_roles_are_made_and_granted_as_the_integration_page_prints(bare: Site) -> None:
    """After the commands of the superuser and of the owner, the application records and a worker persists."""
    assert "UTF8" in bare.session(recipe("integrate/index.md", "SHOW server_encoding"))
    bare.session(recipe("integrate/index.md", "pgaudit grant --writer claims_app --worker claims_worker"))
    assert "claims_app     yes         no         no     yes" in bare.run("pgaudit roles", "claims_audit")
    assert value_in(bare.dsn("claims_worker"), "SELECT count(*) FROM pgaudit.queue_stats") == 1


def test_the_readme_brings_a_trail_into_production(bare: Site) -> None:
    """After the README's commands, with the worker in its own process, health is "healthy"."""
    with bare.connect() as superuser:
        for role in ("claims_worker", "claims_oncall", "claims_dba"):
            superuser.execute(f"CREATE ROLE {role} LOGIN")
    *install, worker, check = commands(recipe("../README.md", "pgaudit grant --writer"))
    bare.run("\n".join(install))
    assert "claims_worker@db/claims pgaudit worker" in worker
    with worker_process(bare.dsn("claims_worker")):
        assert bare.run(check).startswith("healthy")
