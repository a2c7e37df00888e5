"""The token of the metrics, and tokens that are too short."""

import pytest
from pydantic import SecretStr

from pgaudit import InvalidSettings, Settings
from pgaudit.web import create_app
from tests.support.http import BEARER, client_of
from tests.web.test_admin import STATS, assert_problem

TOKEN = "of-the-scraper-alone"
SCRAPER = {"Authorization": f"Bearer {TOKEN}"}


def test_metrics_need_their_token_if_there_is_one(settings: Settings) -> None:
    """Missing, wrong or the administrator's: 401. The document describes it."""
    with_token = settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    with client_of(create_app(with_token)) as client:
        assert client.get("/metrics", headers=SCRAPER).status_code == 200
        for headers in ({}, {b"Authorization": b"Bearer wrong"}, BEARER):
            answer = client.get("/metrics", headers=headers)
            assert_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="pgaudit"')
        described = client.get("/api/v1/openapi.json").json()["paths"]["/metrics"]["get"]
        assert (described["security"], "401" in described["responses"]) == ([{"metrics": []}], True)


def test_the_token_of_the_metrics_opens_no_admin_route(settings: Settings) -> None:
    """A scraper cannot retry jobs."""
    with client_of(create_app(settings)) as client:
        assert client.get(STATS, headers=SCRAPER).status_code == 401


@pytest.mark.parametrize("name", ["admin_token", "metrics_token"])
def test_a_token_shorter_than_16_characters_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says how to make one, and does not show it."""
    monkeypatch.setenv(f"PGAUDIT_{name.upper()}", "hunter2hunter2h")
    with pytest.raises(InvalidSettings, match=rf"PGAUDIT_{name.upper()}: .*at least 16 characters.*openssl") as error:
        Settings()
    assert "hunter2" not in str(error.value)
    monkeypatch.setenv(f"PGAUDIT_{name.upper()}", "hunter2hunter2hu")
    assert getattr(Settings(), name).get_secret_value() == "hunter2hunter2hu"
