"""Webhooks: signed as Standard Webhooks 1.0.0 says, one request for each event, and what each answer means."""

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Event, Lock
from typing import Any

import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from pgaudit import Settings, streams
from pgaudit.errors import InvalidStream
from pgaudit.streams.destinations import open_destination, webhook
from pgaudit.streams.destinations.webhook import Webhook
from pgaudit.streams.destinations.webhook_signatures import Signer
from pgaudit.streams.destinations.webhook_thin import EVENTS
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.web.api.routes import AUDIT
from tests.support.log_entries import entries, entry
from tests.support.receivers import Reply, Request, request_to, serving
from tests.support.streams import append, send_all

KEY = "whsec_" + b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + b64encode(bytes(range(1, 33))).decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ED25519 = "whsk_" + b64encode(bytes(range(32))).decode()


class Endpoint:
    """A receiver that keeps what it accepts, and answers each request with the next of the given replies."""

    def __init__(self, *replies: Reply | int) -> None:
        self.replies = [Reply(reply) if isinstance(reply, int) else reply for reply in replies]
        self.requests: list[Request] = []
        self.accepted: list[Request] = []
        self.lock = Lock()

    def answer(self, request: Request) -> Reply:
        """Answers with the next reply, or with success."""
        with self.lock:
            self.requests.append(request)
            reply = self.replies.pop(0) if self.replies else Reply(204)
            if reply.status < 300:
                self.accepted.append(request)
            return reply

    @property
    def indexes(self) -> list[int]:
        """The indexes of the events that were accepted, in order."""
        return [request.json["index"] for request in self.accepted]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets in the environment."""
    for name, value in {"KEY": KEY, "OTHER": OTHER, "ED25519": ED25519}.items():
        monkeypatch.setenv(name, value)


@contextmanager
def opened(answer: Callable[[Request], Reply], query: str = "?secret=env:KEY", **options: Any) -> Iterator[Webhook]:
    """Opens a webhook to a receiver with these answers."""
    with serving(answer) as url:
        destination = open_destination(request_to(f"{url}/audit{query}", **options))
        assert isinstance(destination, Webhook)
        try:
            yield destination
        finally:
            destination.close()


def verify_ed25519(request: Request, key: Ed25519PublicKey) -> None:
    """Verifies as a receiver of ``v1a`` does."""
    headers = request.headers
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    found = [part.removeprefix("v1a,") for part in headers["webhook-signature"].split() if part.startswith("v1a,")]
    for signature in found:
        try:
            key.verify(b64decode(signature), content)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature


def test_each_event_is_a_request_signed_for_the_receivers_library() -> None:
    """In the order of the log, the id in the header, and the body that of the form."""
    endpoint = Endpoint()
    given = entries(3, data={"städte": "Köln", "amount": 1.10})
    with opened(endpoint.answer) as destination:
        receipt = destination.send(given)
    assert endpoint.indexes == [0, 1, 2]
    assert receipt.bytes == sum(len(request.body) for request in endpoint.requests)
    for request, sent in zip(endpoint.requests, given, strict=True):
        assert Receiver(KEY).verify(request.body, request.headers)["event"] == sent.event
        assert request.headers["webhook-id"] == str(sent.event_id)
        assert request.headers["content-type"] == "application/json"
        assert request.path == "/audit"
        with pytest.raises(WebhookVerificationError):
            Receiver(OTHER).verify(request.body, request.headers)
        with pytest.raises(WebhookVerificationError):
            Receiver(KEY).verify(request.body.replace(b"Approved", b"x") + b" ", request.headers)


def test_the_id_stays_when_the_event_is_sent_again_and_the_timestamp_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The id is the idempotency key, the timestamp that of the attempt."""
    endpoint = Endpoint()
    with opened(endpoint.answer) as destination:
        destination.send([entry(7)])
        later = time.time() + 100
        monkeypatch.setattr(time, "time", lambda: later)
        destination.send([entry(7)])
    first, second = endpoint.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 99
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_an_event_with_the_id_of_another_one_has_an_id_of_its_own() -> None:
    """Else a receiver would take it for the first one, and drop it."""
    endpoint = Endpoint()
    with opened(endpoint.answer) as destination:
        destination.send([entry(3), entry(9, conflicts_with=3)])
    first, second = (request.headers["webhook-id"] for request in endpoint.requests)
    assert second == f"{first}-9"
    assert "." not in second


def test_an_asymmetric_key_and_a_rotation() -> None:
    """Old and new key, of either kind, sign the same content; each receiver finds the one that it knows."""
    endpoint = Endpoint()
    with opened(endpoint.answer, "?secret=env:ED25519&previous=env:KEY") as destination:
        destination.send([entry()])
    (request,) = endpoint.requests
    assert [part.partition(",")[0] for part in request.headers["webhook-signature"].split(" ")] == ["v1a", "v1"]
    verify_ed25519(request, PRIVATE.public_key())
    Receiver(KEY).verify(request.body, request.headers)
    with pytest.raises(InvalidSignature):
        verify_ed25519(request, Ed25519PrivateKey.generate().public_key())


def test_several_keys_in_one_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that moves from HMAC to Ed25519 gets both."""
    monkeypatch.setenv("BOTH", f"{KEY}\n{ED25519}\n")
    endpoint = Endpoint()
    with opened(endpoint.answer, "?secret=env:BOTH") as destination:
        destination.send([entry()])
    Receiver(KEY).verify(endpoint.requests[0].body, endpoint.requests[0].headers)
    verify_ed25519(endpoint.requests[0], PRIVATE.public_key())


def test_the_signature_of_the_standards_example() -> None:
    """The secret, id and timestamp of the package's own example give its signature."""
    body = b'{"test": 2432232314}'
    signer = Signer(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_private_key_with_its_public_key() -> None:
    """64 bytes, as other programs write them, are the same key; a public key of another one is refused."""
    public = PRIVATE.public_key().public_bytes_raw()
    both = "whsk_" + b64encode(bytes(range(32)) + public).decode()
    assert Signer([both]).sign("a", 1, b"") == Signer([ED25519]).sign("a", 1, b"")
    wrong = "whsk_" + b64encode(bytes(range(32)) + bytes(32)).decode()
    with pytest.raises(DestinationRefused, match="32 bytes of an Ed25519 key"):
        Signer([wrong])


@pytest.mark.parametrize(
    "key", ["hunter2", "whsec_aHVudGVyMg==", "whsec_!hunter2", "whsk_aHVudGVyMg==", "whpk_aHVudGVyMg"]
)
def test_what_is_no_key_is_refused_and_not_quoted(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Too short, no base64, a public key: the message says what a key is."""
    monkeypatch.setenv("KEY", key)
    with pytest.raises(DestinationRefused) as raised:
        open_destination(request_to("https://siem.example.com?secret=env:KEY"))
    assert "hunter2" not in str(raised.value)


def test_a_webhook_without_a_secret_is_not_added(conn: psycopg.Connection) -> None:
    """The receiver could not know who sends."""
    with pytest.raises(InvalidStream, match=r"\?secret=… is missing"):
        streams.add(conn, "hook", to="https://siem.example.com/audit")


def test_the_thin_form() -> None:
    """What has happened, and where to read it: the links are routes of pgaudit, and no personal data is in it."""
    endpoint = Endpoint()
    sent = entry(7, data={"iban": "DE02"}, reason="x" * 60_000)
    with opened(endpoint.answer, "?secret=env:KEY&thin=true&link=https://audit.example.com/") as destination:
        destination.send([sent])
    (request,) = endpoint.requests
    assert len(request.body) < 1_000
    body = request.json
    datetime.fromisoformat(body.pop("timestamp"))
    event = "https://audit.example.com/api/v1/audit/events/7"
    data = {"index": 7, "id": str(sent.event_id), "leaf_hash": sent.leaf_hash.hex()}
    assert body == {"type": "claim.approved", "data": {**data, "links": {"event": event, "proof": f"{event}/proof"}}}
    assert f"{AUDIT}/events" == EVENTS


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_every_status_of_200_to_299(status: int) -> None:
    """Nothing is refused."""
    with opened(Endpoint(status).answer) as destination:
        assert destination.send([entry()]).refused == {}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_for_good_does_not_keep_the_others(status: int) -> None:
    """The event is parked with the answer, and the next ones are sent."""
    endpoint = Endpoint(200, Reply(status, b"no such claim"), 200)
    with opened(endpoint.answer) as destination:
        receipt = destination.send(entries(3))
    assert list(receipt.refused) == [1]
    assert f"it answers {status} " in receipt.refused[1]
    assert "no such claim" in receipt.refused[1]
    assert ("thin=true" in receipt.refused[1]) == (status == 413)
    assert endpoint.indexes == [0, 2]


@pytest.mark.parametrize("status", [401, 403, 410])
def test_an_endpoint_that_does_not_want_us_pauses_the_stream(status: int) -> None:
    """What was accepted before is noted."""
    refused = pytest.raises(DestinationRefused, match=f"it answers {status}")
    with opened(Endpoint(200, 422, status).answer) as destination, refused as raised:
        destination.send(entries(5))
    assert raised.value.done == 2
    assert list(raised.value.receipt.refused) == [1]
    assert raised.value.receipt.bytes > 0


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 405, 408, 418, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass(status: int) -> None:
    """The events from there on are sent again, when the receiver has asked for it."""
    endpoint = Endpoint(200, Reply(status, headers={"Retry-After": "77"}))
    failed = pytest.raises(DeliveryFailed, match=f"it answers {status}")
    with opened(endpoint.answer) as destination, failed as raised:
        destination.send(entries(3))
    assert not isinstance(raised.value, DestinationRefused)
    assert (raised.value.done, raised.value.retry_after) == (1, 77)


def test_a_receiver_that_refuses_everything_is_at_fault() -> None:
    """After a hundred refusals in a row, in however many chunks, the stream is paused: the log is not parked."""
    with opened(lambda _: Reply(400)) as destination:
        for _ in range(9):
            assert len(destination.send(entries(10)).refused) == 10
        with pytest.raises(DestinationRefused, match="it has refused 100 events, one after the other"):
            destination.send(entries(10))


def test_a_receiver_that_refuses_many_events_and_not_all_is_not_at_fault() -> None:
    """However many they are: the events are parked, and the stream goes on."""
    with opened(lambda request: Reply(400 if request.json["index"] % 2 else 204)) as destination:
        assert len(destination.send(entries(250)).refused) == 125


def test_a_slow_receiver_gets_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is locked for about ten seconds at a time, however slow it is, and never for much longer."""
    monkeypatch.setattr(webhook, "CHUNK_SECONDS", 0.5)
    now = datetime.now().astimezone()
    pause = Event()

    def slow(_: Request) -> Reply:
        pause.wait(0.05)
        return Reply()

    with opened(slow) as destination:
        destination.send(entries(2))
        assert 5 <= destination.ready(entries(100), now, is_full=False) <= 10
        monkeypatch.setattr(webhook, "LONGEST_CHUNK_SECONDS", 0.1)
        with pytest.raises(DeliveryFailed, match="it has become slow") as raised:
            destination.send(entries(20))
    assert 1 <= raised.value.done <= 3


def test_a_fast_receiver_gets_large_chunks() -> None:
    """As many events as there are, after the first ones."""
    now = datetime.now().astimezone()
    with opened(Endpoint().answer) as destination:
        assert destination.ready(entries(500), now, is_full=True) == 100
        destination.send(entries(20))
        assert destination.ready(entries(500), now, is_full=True) > 100


def test_a_stream_to_a_receiver_that_fails_now_and_then(dsn: str) -> None:
    """Each event once, in order; what is refused is parked; and after a failure it goes on where it was."""
    append(dsn, 300)
    accepted: list[int] = []
    failing = {120: 503, 250: 500}  # once

    def answer(request: Request) -> Reply:
        index = request.json["index"]
        status = 422 if index in {50, 150} else failing.pop(index, 200)
        if status == 200:
            accepted.append(index)
        return Reply(status)

    with serving(answer) as url, psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "hook", to=f"{url}/audit?secret=env:KEY", start=0, allow_private=True)
        for _ in range(3):
            send_all(dsn, "hook", Settings(dsn=dsn, job_backoff_delay=1))
            conn.execute("UPDATE pgaudit.stream_position SET next_attempt_at = '-infinity'")
        found = streams.found(conn, "hook")
        parked = [one.index for one in streams.parked(conn, "hook")]
        history = [(one.status, one.error) for one in streams.deliveries(conn, "hook") if one.error]
    assert accepted == [index for index in range(300) if index not in {50, 150}]
    assert parked == [50, 150]
    assert (found.next_index, found.state) == (300, "active")
    assert {error.partition(":")[0] for status, error in history if status == "failed" and error} == {
        "it answers 503 Service Unavailable",
        "it answers 500 Internal Server Error",
    }


def test_a_receiver_that_is_gone_pauses_the_stream(dsn: str) -> None:
    """410: nothing more is sent, and the reason is there to be read, without a secret."""
    append(dsn, 3)
    endpoint = Endpoint(200, Reply(410, f"bye, {KEY}".encode()))
    with serving(endpoint.answer) as url, psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "hook", to=f"{url}?secret=env:KEY", start=0, allow_private=True)
        send_all(dsn, "hook")
        send_all(dsn, "hook")
        found = streams.found(conn, "hook")
    assert (found.state, found.pause_kind, found.next_index) == ("paused", "refused", 1)
    assert found.pause_reason is not None
    assert "410 Gone" in found.pause_reason
    assert KEY not in json.dumps([found.pause_reason, found.error])
    assert len(endpoint.requests) == 2
