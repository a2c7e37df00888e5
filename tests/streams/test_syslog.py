"""A stream to syslog: rsyslog understands each message, and a receiver that has not read everything is noticed."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.errors import InvalidStream
from pgaudit.streams.destinations import open_destination, tcp_delivery
from pgaudit.streams.destinations.syslog_message import Composer, host_name, structured
from pgaudit.streams.forms import form_of
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.entry import Entry
from tests.support import syslog_receivers as receivers
from tests.support.log_entries import entries, entry
from tests.support.pgbouncer import free_port
from tests.support.receivers import request_to
from tests.support.rsyslog import Rsyslog, rsyslog
from tests.support.streams import append, send_all
from tests.support.syslog_receivers import Certificates, Serve, listening, relaying

pytestmark = pytest.mark.rsyslog


@pytest.fixture
def siem(tmp_path: Path) -> Iterator[Rsyslog]:
    """A running rsyslogd."""
    with rsyslog(tmp_path / "rsyslog") as running:
        yield running


@pytest.fixture
def short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending, and waiting for the receiver, may take half a second."""
    monkeypatch.setattr(tcp_delivery, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(tcp_delivery, "CONFIRM_SECONDS", 0.5)


def deliver(url: str, *events: Entry, **options: Any) -> int:
    """Sends events, and returns the number of bytes."""
    destination = open_destination(request_to(url, **options))
    try:
        return destination.send(events).bytes
    finally:
        destination.close()


def composer() -> Composer:
    """Returns what makes the messages of a stream without options."""
    return Composer(form_of("native"), 13, "pgaudit", 32_473, 8_000, host_name())


def event_of(message: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON of a message, behind the mark of UTF-8."""
    text: str = message["text"]
    assert text.startswith("\ufeff")
    parsed: dict[str, Any] = json.loads(text[1:])
    return parsed


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_rsyslog_understands_each_part(siem: Rsyslog, transport: str) -> None:
    """Priority, time, application, action, what finds the event, and the event itself."""
    given = entry(7, data={"note": 'Käse "]\\ 🎉\r\n\u2028\u0085\x00'.replace("\x00", "")})
    deliver(f"syslog+{transport}://{siem.place}", given)
    (message,) = siem.wait_for(1)
    assert (message["facility"], message["severity"]) == ("13", "6")
    assert (message["app"], message["msgid"]) == ("pgaudit", "claim.approved")
    assert message["host"] == socket.gethostname()
    assert message["moment"] == given.occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert f'[pgaudit@32473 index="7" leaf_hash="{given.leaf_hash.hex()}" id="{given.event_id}"' in message["data"]
    assert event_of(message) == json.loads(json.dumps(form_of("native")(given)))


def test_options_of_the_url(siem: Rsyslog) -> None:
    """Facility, application, enterprise number and form."""
    options = "facility=local3&app=claims&enterprise=4711"
    deliver(f"syslog+tcp://{siem.place}?{options}", entry(1, outcome="denied"))
    (message,) = siem.wait_for(1)
    assert (message["facility"], message["severity"], message["app"]) == ("19", "4", "claims")
    assert message["data"].startswith("[pgaudit@4711 ")


@pytest.mark.parametrize(("outcome", "severity"), [("success", "6"), ("denied", "4"), ("failure", "3")])
def test_severity_is_that_of_the_outcome(siem: Rsyslog, outcome: str, severity: str) -> None:
    """What was denied is a warning, what has failed an error."""
    deliver(f"syslog+tcp://{siem.place}", entry(1, outcome=outcome))
    assert siem.wait_for(1)[0]["severity"] == severity


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_largest_message_arrives_whole(siem: Rsyslog, transport: str) -> None:
    """And one byte more is sent as what finds the event: rsyslog would cut it off in silence."""
    url = f"syslog+{transport}://{siem.place}"
    room = 8_000 - len(composer().compose(entry(0, data={"x": ""})))
    fits, larger = entry(1, data={"x": "a" * room}), entry(2, data={"x": "a" * (room + 1)})
    deliver(url, fits, larger)
    messages = [event_of(message) for message in siem.wait_for(2)]
    assert messages[0]["event"]["data"]["x"] == "a" * room
    assert {name: messages[1][name] for name in ("index", "id")} == {"index": 2, "id": str(larger.event_id)}
    assert "max=8000; the log has it at this index" in messages[1]["left_out"]


def test_order_is_that_of_the_log(siem: Rsyslog) -> None:
    """A thousand messages, in several chunks."""
    url = f"syslog+tcp://{siem.place}"
    for start in range(0, 1_000, 250):
        deliver(url, *(entry(index) for index in range(start, start + 250)))
    assert [event_of(message)["index"] for message in siem.wait_for(1_000)] == list(range(1_000))


def test_datagrams_are_not_faster_than_a_receiver(siem: Rsyslog) -> None:
    """300 large messages are more than its buffer holds."""
    for start in range(0, 300, 100):
        deliver(f"syslog+udp://{siem.place}", *(entry(n, data={"x": "a" * 7_000}) for n in range(start, start + 100)))
    assert len(siem.wait_for(300)) == 300


@pytest.mark.parametrize("farewell", [True, False])
def test_tls(siem: Rsyslog, tmp_path: Path, *, farewell: bool) -> None:
    """Through a proxy that ends TLS as the standard says, or closes the connection alone; with our certificate."""
    certificates = Certificates(tmp_path)
    serve = relaying(siem.port, certificates.requiring_a_client(), farewell=farewell)
    with listening(serve) as port:
        options = f"ca={certificates.authority}&cert={certificates.client}"
        deliver(f"syslog+tls://localhost:{port}?{options}", *entries(300))
        assert len(siem.wait_for(300)) == 300
        with pytest.raises(DeliveryFailed):
            deliver(f"syslog+tls://localhost:{port}?ca={certificates.authority}", entry(1))
    assert len(siem.messages()) == 300


def test_a_certificate_of_somebody_else(tmp_path: Path, siem: Rsyslog) -> None:
    """Nothing is sent to a receiver that cannot prove who it is."""
    certificates = Certificates(tmp_path)
    with listening(relaying(siem.port, certificates.server)) as port:
        with pytest.raises(DeliveryFailed, match="certificate is not trusted"):
            deliver(f"syslog+tls://localhost:{port}", entry(1))
        with pytest.raises(DestinationRefused, match=r"ca=/nowhere.pem cannot be used: No such file"):
            deliver(f"syslog+tls://localhost:{port}?ca=/nowhere.pem", entry(1))
        with pytest.raises(DestinationRefused, match=r"cert=.* cannot be used: no certificate and key"):
            deliver(f"syslog+tls://localhost:{port}?cert={certificates.authority}", entry(1))


@pytest.mark.usefixtures("short_time")
@pytest.mark.parametrize(
    ("serve", "count", "reason"),
    [
        (receivers.closing_at_once, 200, r"Connection reset|Broken pipe"),
        (receivers.closing_early, 200, r"Connection reset|Broken pipe"),
        (receivers.killed, 10, r"Connection reset"),
        (receivers.never_closing, 200, r"has not closed the connection .* add confirm=false"),
        (receivers.never_reading, 20_000, r"no answer in time"),
    ],
)
def test_who_has_not_read_everything_is_noticed(serve: Serve, count: int, reason: str) -> None:
    """Even if its system has acknowledged every byte: these events are sent again."""
    with listening(serve) as port, pytest.raises(DeliveryFailed, match=reason):
        deliver(f"syslog+tcp://127.0.0.1:{port}", *entries(count))


@pytest.mark.usefixtures("short_time")
def test_without_confirmation(tmp_path: Path) -> None:
    """A receiver that keeps its side open has what its system has acknowledged; one that closes early is noticed."""
    with listening(receivers.never_closing) as port:
        assert deliver(f"syslog+tcp://127.0.0.1:{port}?confirm=false", *entries(200))
    with listening(receivers.closing_at_once) as port, pytest.raises(DeliveryFailed):
        deliver(f"syslog+tcp://127.0.0.1:{port}?confirm=false", *entries(200))
    certificates = Certificates(tmp_path)
    with rsyslog(tmp_path / "other") as other, listening(relaying(other.port, certificates.server)) as port:
        deliver(f"syslog+tls://localhost:{port}?confirm=false&ca={certificates.authority}", *entries(200))
        assert len(other.wait_for(200)) == 200


def test_nobody_listens() -> None:
    """It is said, over UDP too if the receiver's system does."""
    for transport in ("tcp", "tls", "udp"):
        with pytest.raises(DeliveryFailed, match="refused"):
            deliver(f"syslog+{transport}://127.0.0.1:{free_port()}", *entries(2))


def test_an_address_that_is_not_public_needs_permission(siem: Rsyslog) -> None:
    """Also with TLS."""
    with pytest.raises(DestinationRefused, match="an address that is not public"):
        deliver(f"syslog+tls://{siem.place}", entry(1), allow_private=False)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("syslog+tcp://siem?facility=nobody", "facility is one of kern, user"),
        ("syslog+tcp://siem?app=two words", "app is 1 to 48 printable"),
        ("syslog+udp://siem?max=70000", "max is a number from 1024 to 65507"),
        ("syslog+tls://siem?max=100", "max is a number from 1024 to 1000000"),
        ("syslog+tcp://siem?cert=/a.pem", "has no option 'cert'"),
        ("syslog+udp://siem?confirm=false", "has no option 'confirm'"),
    ],
)
def test_options_that_cannot_be_used(url: str, reason: str) -> None:
    """They are refused when the stream is added."""
    with pytest.raises(InvalidStream, match=reason):
        StreamURL.parse(url)


def test_nothing_breaks_out_of_structured_data() -> None:
    """Neither a quote nor a bracket, a backslash or a new line, in an event that was tampered with."""
    hostile = entry(1, data={"x": "\u2028\u0085\x7f"})
    object.__setattr__(hostile, "action", 'a"] [x y="z\\\n<13>1 ' + "é" * 40)
    message = composer().compose(hostile)
    assert message.startswith(b"<110>1 ")
    assert b'action="a\\"\\] [x y=\\"z\\\\?<13>1 ' in message
    assert message.split(b" ")[5] == b'a"]?[x?y="z\\?<13>1?' + b"?" * 13
    assert len(message.decode().splitlines()) == 1
    assert structured("a@1", {"b": "\u2028\x7f"}) == '[a@1 b="??"]'


def test_a_server_that_is_killed_has_each_event(dsn: str, siem: Rsyslog) -> None:
    """Each one at least once, the index says which came twice; and in the order of the log."""
    append(dsn, 600)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=f"syslog+tcp://{siem.place}?max=2000", start=0, allow_private=True)
    siem.stop(kill=True)
    send_all(dsn, "siem")
    threading.Timer(0.2, siem.start).start()
    settings = Settings(dsn=dsn, job_backoff_delay=100, job_backoff_max=100)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for _ in range(100):
            send_all(dsn, "siem", settings)
            if streams.found(conn, "siem").lag_events == 0:
                break
            threading.Event().wait(0.1)
        assert streams.deliveries(conn, "siem")[-1].status == "failed"
    assert [event_of(message)["index"] for message in siem.wait_for(600)] == list(range(600))
