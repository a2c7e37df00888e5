"""The client of HTTP for destinations, and receivers that misbehave: every request ends in time, and in words."""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Event

import pytest

from pgaudit.streams.destinations import http_connections
from pgaudit.streams.destinations.http_client import Client, open_client, read_token
from pgaudit.streams.destinations.http_response import Response
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from tests.support import receivers
from tests.support.receivers import Authority, Reply, Request, request_to, serving, serving_raw


def client_of(url: str, **options: object) -> Client:
    """Returns a client of a webhook's host."""
    return open_client(request_to(f"{url}?secret=env:KEY", **options))


def post(client: Client, body: bytes = b"{}") -> Response:
    """Sends a body, and closes the client."""
    try:
        return client.post("/audit", body, {})
    finally:
        client.close()


@pytest.fixture
def short_time(monkeypatch: pytest.MonkeyPatch) -> float:
    """The whole request may take half a second."""
    monkeypatch.setattr(http_connections, "ANSWER_SECONDS", 0.5)
    return 0.5


@pytest.mark.parametrize("misbehaving", [receivers.hang, receivers.drip, receivers.drip_body])
def test_a_receiver_that_does_not_finish_its_answer_is_left_in_time(
    misbehaving: Callable[[socket.socket, Event], None], short_time: float
) -> None:
    """Also one that sends a byte whenever a read would time out, in the headers or in the body."""
    with serving_raw(misbehaving) as url:
        started = time.monotonic()
        with pytest.raises(DeliveryFailed, match="does not answer: no answer within 30 s"):
            post(client_of(url))
        assert time.monotonic() - started < short_time + 1


@pytest.mark.usefixtures("short_time")
def test_a_receiver_that_reads_nothing_is_left_in_time() -> None:
    """A body that is larger than the buffers of the network never gets out."""
    started = time.monotonic()
    with serving_raw(receivers.never_read) as url, pytest.raises(DeliveryFailed, match="no answer within 30 s"):
        post(client_of(url), bytes(20_000_000))
    assert time.monotonic() - started < 2


@pytest.mark.usefixtures("short_time")
def test_a_handshake_that_is_never_finished_is_left_in_time(tmp_path: Path) -> None:
    """The time for the request is that for the handshake too."""
    authority, started = Authority(tmp_path), time.monotonic()
    with serving_raw(receivers.hang) as url, pytest.raises(DeliveryFailed, match="no connection within 5 s"):
        post(open_client(request_to(f"{url.replace('http:', 'https:')}?secret=env:KEY&ca={authority.file}")))
    assert time.monotonic() - started < 2


def test_an_answer_that_breaks_off_is_no_success() -> None:
    """Its status was 200, and then the connection was reset: the event is sent again, and recognized by its id."""
    with serving_raw(receivers.reset) as url, pytest.raises(DeliveryFailed, match=r"Connection reset|was closed"):
        post(client_of(url))


def test_what_is_no_http_is_named_and_not_quoted() -> None:
    """Who answers instead may have secrets."""
    with serving_raw(receivers.babble) as url, pytest.raises(DeliveryFailed, match="does not speak HTTP") as raised:
        post(client_of(url))
    assert "hunter2" not in str(raised.value)


def test_an_endless_answer_is_read_to_a_limit() -> None:
    """It is a success: the receiver has said so."""
    with serving_raw(receivers.flood) as url:
        answer = post(client_of(url))
    assert answer.is_success
    assert len(answer.body) == 65_536


def test_nobody_listens() -> None:
    """The error says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(DeliveryFailed, match="does not answer: Connection refused"):
        post(client_of(url))


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    """One of an unknown authority, or for another name, is refused; that of ``ca`` is accepted."""
    authority = Authority(tmp_path, "127.0.0.1")
    with serving(lambda _: Reply(), authority) as url:
        with pytest.raises(DeliveryFailed, match=r"certificate is not trusted: .*self-signed|unable to get local"):
            post(client_of(url))
        trusting = f"?secret=env:KEY&ca={authority.file}"
        assert post(open_client(request_to(url + trusting))).is_success
        with pytest.raises(DeliveryFailed, match="certificate is not trusted: Hostname mismatch"):
            post(open_client(request_to(url.replace("127.0.0.1", "localhost") + trusting)))


def test_a_server_without_tls(tmp_path: Path) -> None:
    """The error says that it is no TLS."""
    authority = Authority(tmp_path)
    with serving(lambda _: Reply()) as url, pytest.raises(DeliveryFailed, match="no TLS"):
        post(open_client(request_to(f"{url.replace('http:', 'https:')}?secret=env:KEY&ca={authority.file}")))


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("no certificate", "no certificates in PEM")])
def test_a_file_of_certificates_that_cannot_be_used(tmp_path: Path, content: str | None, why: str) -> None:
    """It is named, and the stream is paused."""
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(DestinationRefused, match=why):
        open_client(request_to(f"https://127.0.0.1?secret=env:KEY&ca={tmp_path}/ca.pem"))


def test_a_redirect_is_not_followed() -> None:
    """Neither to a private address nor anywhere: the answer says that the URL has changed."""
    inside: list[Request] = []

    def record(request: Request) -> Reply:
        inside.append(request)
        return Reply()

    with serving(record) as private, serving(lambda _: Reply(307, headers={"Location": f"{private}/admin"})) as url:
        answer = post(client_of(url))
    assert str(answer).startswith("it answers 307 Temporary Redirect: redirects are not followed")
    with pytest.raises(DeliveryFailed, match="needs the new URL"):
        answer.require_success()
    assert inside == []


def test_what_is_quoted_of_an_answer() -> None:
    """It is short, printable, on one line, and has none of our secrets, whatever the receiver repeats."""
    echo = b"denied\r\n\x1b[31m for \x00Splunk hunter2-hunter2: " + b"x" * 1_000
    with serving(lambda _: Reply(403, echo)) as url:
        answer = post(open_client(request_to(f"{url}?secret=env:KEY"), ["hunter2-hunter2", None]))
    assert str(answer).startswith("it answers 403 Forbidden: denied [31m for Splunk ***: xxx")
    assert len(str(answer)) < 240
    assert str(answer).isprintable()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120), ("0", 0), ("999999999999", 86_400), ("-5", None), ("soon", None), ("", None), ("1e9", None),
        ("٣", None),
    ],
)  # fmt: skip
def test_the_seconds_of_retry_after(header: str, seconds: float | None) -> None:
    """A number of seconds, a day at most."""
    assert Response(429, {"retry-after": header}, b"", "").retry_after == seconds


def test_the_date_of_retry_after() -> None:
    """A date is read like the seconds until then; one that is past like none, one that is far away like a day."""
    now = datetime.now(UTC)
    dates = {minutes: format_datetime(now + timedelta(minutes=minutes), usegmt=True) for minutes in (2, -9, 9_000)}
    answers = {m: Response(503, {"retry-after": date}, b"", "").retry_after for m, date in dates.items()}
    assert answers[2] == pytest.approx(120, abs=3)
    assert (answers[-9], answers[9_000]) == (0, 86_400)


def test_a_connection_is_kept() -> None:
    """Many requests cost one handshake."""
    ports: list[int] = []

    def note(request: Request) -> Reply:
        ports.append(request.connection)
        return Reply()

    with serving(note) as url:
        client = client_of(url)
        for _ in range(5):
            client.post("/", b"{}", {})
        client.close()
    assert len(ports) == 5
    assert len(set(ports)) == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would look up the name, and the addresses would not be checked."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(lambda _: Reply()) as url:
        assert post(client_of(url)).is_success


@pytest.mark.parametrize("place", ["a,b", "siem:0", "siem:99999"])
def test_a_place_that_is_not_one_host(place: str) -> None:
    """A stream over HTTP goes to one host."""
    with pytest.raises(DestinationRefused, match="is not HOST or HOST:PORT"):
        client_of(f"https://{place}")


def test_a_token_that_no_header_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused without being quoted: a line break in it would be another header."""
    monkeypatch.setenv("TOKEN", "hunter2\r\nX-Admin: yes")
    with pytest.raises(DestinationRefused, match="the secret of token= is no token") as raised:
        read_token(request_to("splunk+https://siem?token=env:TOKEN").url, "token")
    assert "hunter2" not in str(raised.value)
