"""What the built site adds to the pages."""

import griffe
import pytest

from docs import site
from docs.docstrings import MarkdownDocstrings


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://forge.example/claims/pgaudit.git", "https://forge.example/claims/pgaudit"),
        ("https://token@forge.example/claims/pgaudit", "https://forge.example/claims/pgaudit"),
        ("git@forge.example:claims/pgaudit.git", "https://forge.example/claims/pgaudit"),
        ("ssh://git@forge.example/claims/pgaudit.git", "https://forge.example/claims/pgaudit"),
        ("/srv/git/pgaudit", None),
        ("", None),
    ],
)
def test_the_site_links_to_the_repository_of_a_public_remote(remote: str, page: str | None) -> None:
    """Without a password that the remote may contain; a directory of this machine is no link."""
    assert site.repository(remote) == page


def test_docstrings_become_markdown() -> None:
    """An example is a code block, a role is code; special methods are left out."""
    extensions = griffe.load_extensions(MarkdownDocstrings)
    log = griffe.load("pgaudit.recording.audit_log", extensions=extensions, search_paths=["src"])["AuditLog"]
    assert "\n\n```pycon\n>>> audit = AuditLog()\n" in log.docstring.value
    assert "\n``` " not in log.docstring.value
    assert "``" not in log["record_async"].docstring.value
    target = griffe.load("pgaudit.events.event", extensions=extensions, search_paths=["src"])["Target"]
    assert target["__str__"].docstring is None
