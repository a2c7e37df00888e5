"""The commands that set roles up, and what they print."""

from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output


def test_grant_revoke_and_roles_print_what_the_page_prints(site: Site) -> None:
    """The output equals the page line by line, except for the superuser's line in the table of roles."""
    with site.connect() as superuser:
        superuser.execute("REVOKE pg_monitor FROM claims_dba")
    granted = recipe("operate/roles.md", "pgaudit grant --writer")
    assert site.session(granted).splitlines() == printed_output(granted)
    revoked = recipe("operate/roles.md", "pgaudit revoke")
    lines = site.session(revoked, "claims_audit").splitlines()
    assert [line.rstrip() for line in lines if not line.startswith("postgres ")] == printed_output(revoked)
