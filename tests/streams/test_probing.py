"""Testing a stream: one marked event where that does no harm, and the reason where it does not arrive."""

from base64 import b64encode
from pathlib import Path

import psycopg
import pytest

from pgaudit import streams
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.probing import ACTION, probe
from tests.support.receivers import Reply, Request, serving

KEY = "whsec_" + b64encode(bytes(range(24))).decode()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret in the environment."""
    monkeypatch.setenv("KEY", KEY)


def test_a_receiver_gets_an_event_that_says_that_it_is_a_test(conn: psycopg.Connection) -> None:
    """Position and history stay as they are, and a pause does not matter."""
    requests: list[Request] = []

    def record(request: Request) -> Reply:
        requests.append(request)
        return Reply(204)

    with serving(record) as url:
        streams.add(conn, "hook", to=f"{url}/audit?secret=env:KEY", allow_private=True)
        streams.pause(conn, "hook")
        before = streams.get_stream(conn, "hook")
        said = probe(streams.get_stream(conn, "hook"))
        assert streams.get_stream(conn, "hook") == before
        assert streams.deliveries(conn, "hook") == []
    assert said == f"{url}/audit has accepted a test event with the action {ACTION}"
    (request,) = requests
    assert request.json["index"] == -1
    assert request.json["event"]["action"] == ACTION
    assert request.json["event"]["targets"] == [{"id": "hook", "type": "stream"}]


@pytest.mark.parametrize(("status", "error"), [(500, DeliveryFailed), (403, DestinationRefused), (400, DeliveryFailed)])
def test_a_receiver_that_does_not_take_it(conn: psycopg.Connection, status: int, error: type[Exception]) -> None:
    """The error is that of a delivery, and the stream goes on as before."""
    with serving(lambda _: Reply(status)) as url:
        streams.add(conn, "hook", to=f"{url}/audit?secret=env:KEY", allow_private=True)
        with pytest.raises(error, match=f"it answers {status}"):
            probe(streams.get_stream(conn, "hook"))
        assert streams.get_stream(conn, "hook").state == "active"


def test_a_directory_is_tried_and_no_event_is_written(conn: psycopg.Connection, tmp_path: Path) -> None:
    """Its files are evidence: they have the events of the log, and no others."""
    streams.add(conn, "files", to=f"file:{tmp_path}/out")
    assert probe(streams.get_stream(conn, "files")) == (
        f"file:{tmp_path}/out accepts the connection; no test event was sent, because it stores only events of the log"
    )
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("no directory")
    with pytest.raises(DeliveryFailed, match="cannot be written: File exists"):
        probe(streams.get_stream(conn, "files"))


def test_a_report_is_not_sent(conn: psycopg.Connection, tmp_path: Path) -> None:
    """The directory is opened; the answer says when a report comes."""
    streams.add(conn, "daily", to=f"report+file:{tmp_path}/out")
    said = probe(streams.get_stream(conn, "daily"))
    assert said.endswith("no report was sent, because each day has one, once it is over")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_secret_that_is_not_there(conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for where the test runs."""
    monkeypatch.delenv("KEY")
    streams.add(conn, "hook", to="https://siem.example.com?secret=env:KEY")
    with pytest.raises(DeliveryFailed, match="the secret env:KEY is not set"):
        probe(streams.get_stream(conn, "hook"))
