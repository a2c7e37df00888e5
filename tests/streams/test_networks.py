"""One rule for every destination with a host: encrypted and public, or in a network of one's own by --allow-private."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest
import trustme

from pgaudit import Settings, streams
from pgaudit.errors import InvalidStream
from pgaudit.streams.destinations import nats_client, open_destination
from pgaudit.streams.kinds import KINDS, OPEN
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from tests.support.log_entries import entry
from tests.support.names import Names
from tests.support.nats import nats_server
from tests.support.receivers import request_to
from tests.support.streams import append, send_all

MAIL = "from=a@example.com&to=b@example.com"
# What is sent in the clear, and what the refusal says to use instead.
CLEAR = {
    "http://siem?secret=env:S": "https",
    "splunk+http://siem?token=env:S": "splunk+https",
    "datadog+http://siem?api_key=env:S": "datadog+https",
    "otlp+http://siem?token=env:S": "otlp+https",
    f"smtp://siem?{MAIL}&user=audit&password=env:S": "smtp+starttls or smtps",
    "syslog+udp://siem": "syslog+tls",
    "syslog+tcp://siem": "syslog+tls",
    "nats://siem?stream=AUDIT&token=env:S": "nats+tls",
    "kafka://siem/audit?user=audit&password=env:S": "kafka+tls",
    "report+http://siem?secret=env:S": "report+https",
    f"report+smtp://siem?{MAIL}": "report+smtp+starttls or report+smtps",
    "s3://bucket?endpoint=http://minio:9000": "endpoint=https://…",
    "report+s3://bucket?endpoint=HTTP://minio:9000": "endpoint=https://…",
}
# Encrypted, and to this machine.
PRIVATE = (
    "https://{place}?secret=env:S",
    "smtps://{place}?" + MAIL,
    "syslog+tls://{place}",
    "nats+tls://{place}?stream=AUDIT",
    "kafka+tls://8.8.8.8:9093,{place}/audit",
    "s3://bucket?endpoint=https://{place}",
    "report+s3://bucket?endpoint=https://{place}",
)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the URLs refer to, and AWS's keys."""
    monkeypatch.setenv("S", "whsec_" + "A" * 32)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.fixture
def callers() -> Iterator[tuple[str, list[object]]]:
    """A place on this machine, and who has connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen, stopping = list[object](), Event()

        def accept() -> None:
            while not stopping.is_set():
                connection, address = listener.accept()
                connection.close()
                seen.append(address)

        thread = Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", seen
        stopping.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


@pytest.mark.parametrize(("url", "remedy"), CLEAR.items())
def test_what_can_be_read_on_its_way_is_refused_with_the_remedy(dsn: str, url: str, remedy: str) -> None:
    """When it is added, whether there is a secret or not: the events themselves are no less."""
    with psycopg.connect(dsn) as conn:
        expected = f"can be read and changed on its way, .*: use {re.escape(remedy)}, or, .* --allow-private"
        with pytest.raises(InvalidStream, match=expected):
            streams.add(conn, "siem", to=url, start=0)
        assert streams.add(conn, "siem", to=url, start=0, allow_private=True).allow_private


def test_no_kind_is_forgotten() -> None:
    """Each scheme without encryption is among those that were tried."""
    tried = {url.partition(":")[0] for url in CLEAR}
    assert {scheme for scheme, kind in KINDS.items() if kind.transport in OPEN} <= tried


@pytest.mark.parametrize("url", CLEAR)
def test_a_worker_refuses_what_was_added_by_other_means(url: str) -> None:
    """Such as the SQL function: the destination is not opened."""
    with pytest.raises(InvalidStream, match="can be read and changed on its way"):
        open_destination(request_to(url, allow_private=False))


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_is_refused_before_anybody_connects(callers: tuple[str, list[object]], url: str) -> None:
    """Also if a library connects by itself: the stream is paused, with the remedy."""
    place, seen = callers
    with (
        pytest.raises(DestinationRefused, match=r"127\.0\.0\.1 is an address that is not public: .*--allow-private"),
        closing(open_destination(request_to(url.format(place=place), allow_private=False))) as destination,
    ):
        destination.send([entry(0)])
    assert seen == []


def test_the_endpoint_of_awss_variables_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL of the stream does not have it, and the worker's environment may."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:geheim@minio.example")
    with pytest.raises(
        DestinationRefused, match=r"the endpoint minio\.example can be read .*--allow-private"
    ) as raised:
        open_destination(request_to("s3://bucket", allow_private=False))
    assert "geheim" not in str(raised.value)


def test_nats_connects_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, callers: tuple[str, list[object]]
) -> None:
    """DNS rebinding: the name would be this machine a moment later."""
    monkeypatch.setattr(nats_client, "CONNECT_SECONDS", 0.2)
    place, seen = callers
    names = Names(monkeypatch, "nats.example", ["8.8.8.8"], ["127.0.0.1"])
    url = f"nats+tls://nats.example:{place.rpartition(':')[2]}?stream=AUDIT"
    destination = open_destination(request_to(url, allow_private=False))
    with pytest.raises(DeliveryFailed, match="NATS does not answer"):
        destination.check()
    assert names.asked == 1
    with pytest.raises(DestinationRefused, match=r"nats\.example is 127\.0\.0\.1"):
        destination.check()
    destination.close()
    assert seen == []


@pytest.mark.parametrize("certified", ["nats.example", "other.example"])
def test_the_certificate_of_nats_is_that_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certified: str
) -> None:
    """Although the connection goes to an address."""
    authority = trustme.CA()
    certificate = authority.issue_cert(certified)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    tls = ("--tls", "--tlscert", f"{tmp_path}/server.pem", "--tlskey", f"{tmp_path}/server.pem")
    with nats_server(tmp_path / "nats", *tls) as nats:
        Names(monkeypatch, "nats.example", ["127.0.0.1"])
        port = nats.place.rpartition(":")[2]
        destination = open_destination(request_to(f"nats+tls://nats.example:{port}?stream=A&ca={tmp_path}/ca.pem"))
        if certified == "nats.example":
            destination.check()
        else:
            with pytest.raises(DeliveryFailed, match="NATS does not answer: its certificate is not trusted"):
                destination.check()
        destination.close()


def test_nats_that_is_away_is_told_at_once(dsn: str) -> None:
    """The stream is failing, and its row is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    append(dsn, 1)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "bus", to=f"nats://{place}?stream=AUDIT", start=0, allow_private=True)
        send_all(dsn, "bus", Settings(job_backoff_delay=0))
        found = streams.get_stream(conn, "bus")
    assert found.state == "failing"
    assert (found.error or "").startswith("NATS does not answer: Connect")
