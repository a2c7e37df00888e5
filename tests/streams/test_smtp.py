"""A stream to e-mail: what a mail server of its own takes, refuses or breaks off, and what the e-mails say."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.errors import InvalidStream
from pgaudit.streams import probing
from pgaudit.streams.destinations import open_destination, smtp_client
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.entry import Entry
from tests.support.log_entries import entries, entry
from tests.support.mail_servers import PASSWORD, Mailbox, breaking_off, confused, dripping, mail_server
from tests.support.receivers import request_to
from tests.support.streams import append, send_all
from tests.support.syslog_receivers import Certificates, Serve, listening

ADDRESSES = "from=audit@example.com&to=soc@example.com,ciso@example.com"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server in a network of its own, without TLS."""
    with mail_server() as box:
        yield box


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """The certificate of a mail server."""
    return Certificates(tmp_path)


def send(url: str, *events: Entry, **options: Any) -> None:
    """Sends events in one chunk."""
    open_destination(request_to(url, **options)).send(events or [entry(7)])


def plain(mailbox: Mailbox, options: str = "") -> str:
    """Returns the URL of a server without TLS."""
    return f"smtp://127.0.0.1:{mailbox.port}?{ADDRESSES}{options}"


def parts(message: EmailMessage) -> tuple[str, str]:
    """Returns text and HTML of an e-mail."""
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def test_one_event(mailbox: Mailbox) -> None:
    """The subject says what it is about; text and HTML say the same."""
    changes = [{"path": "amount", "before": 1, "after": "much"}]
    event = entry(7, outcome="denied", reason="No <mandate>", tenant="Käse", changes=changes)
    send(plain(mailbox, "&link=https://audit.example.com/"), event)
    (message,) = mailbox.messages
    assert mailbox.recipients == [["soc@example.com", "ciso@example.com"]]
    assert message["Subject"] == "pgaudit: claim.approved, denied by user:42: claim:7"
    assert (message["From"], message["To"]) == ("audit@example.com", "soc@example.com, ciso@example.com")
    assert (message["Auto-Submitted"], message["X-Pgaudit-Index"]) == ("auto-generated", "7-7")
    text, html = parts(message)
    for said in ("claim.approved", "denied", "user:42", "claim:7", "Käse", "No <mandate>", "amount", '"much"'):
        assert said in text
        assert said.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in html
    assert "https://audit.example.com/events/7" in text
    assert "https://audit.example.com/events/7" in html
    assert mailbox.contents[0].isascii()  # every server takes it as it is


def test_event_that_tests_the_stream(mailbox: Mailbox) -> None:
    """It does not claim to be in the log, and links to no page: there is none."""
    send(plain(mailbox, "&link=https://audit.example.com"), probing.test_event("siem"))
    for part in parts(mailbox.messages[0]):
        assert "This event is a test of the stream" in part
        assert "recorded in the audit log" not in part
        assert "https://audit.example.com" not in part


def test_several_events_are_one_email(mailbox: Mailbox) -> None:
    """The subject counts them, and what was not successful."""
    send(plain(mailbox, "&subject=Audit PROD"), entry(1), entry(2, outcome="denied"), entry(3, outcome="denied"))
    (message,) = mailbox.messages
    assert message["Subject"] == "Audit PROD: 3 events, 2 denied (siem)"
    for part in parts(message):
        assert [number for number in (1, 2, 3) if f"claim:{number}" in part] == [1, 2, 3]


def test_same_events_have_the_same_message_id(mailbox: Mailbox) -> None:
    """A server whose answer was lost has the e-mail: the second one is the same."""
    events = entries(3)
    mailbox.drops = 1
    with pytest.raises(DeliveryFailed, match="has closed the connection"):
        send(plain(mailbox), *events)
    send(plain(mailbox), *events)
    send(plain(mailbox), *events[:2])
    first, second, other = (message["Message-ID"] for message in mailbox.messages)
    assert first == second != other
    assert re.fullmatch(r"<0-2\.[0-9a-f]{32}@example\.com>", first)


def test_events_of_the_same_seconds_are_together() -> None:
    """From the first one on, for as long as the URL says; whenever a worker looks, they are the same."""
    destination = open_destination(request_to(f"smtps://mail.example.com?{ADDRESSES}&linger=60"))
    ages = (100, 70, 41, 39, 5)
    events = [entry(index, age=timedelta(seconds=age)) for index, age in enumerate(ages)]
    now = datetime.now(UTC)
    assert destination.ready(events, now, is_full=False) == 3
    assert destination.ready(events[3:], now, is_full=False) == 0
    assert destination.ready(events[3:], now + timedelta(seconds=22), is_full=False) == 2
    assert destination.ready(events[3:], now, is_full=True) == 2


def test_starttls_and_login(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the greeting is in plain text; a wrong password pauses the stream, and is in no message."""
    options = f"{ADDRESSES}&user=audit&password=env:MAIL_PASSWORD&ca={certificates.authority}"
    with mail_server(starttls=certificates.server, require_starttls=True, auth_required=True) as box:
        box_url = f"smtp+starttls://localhost:{box.port}?{options}"
        monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
        send(box_url)
        assert (box.logins, box.encrypted) == (["audit"], [True])
        monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
        with pytest.raises(DestinationRefused, match="refuses the login: 535") as raised:
            send(box_url)
        assert "hunter2" not in str(raised.value)
        box.refusal_of_login = "454 4.7.0 try again, hunter2"
        with pytest.raises(DeliveryFailed, match=r"refuses the login: 454 4.7.0 try again, \*\*\*") as failed:
            send(box_url)
        assert not isinstance(failed.value, DestinationRefused)


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_certificate_is_checked(certificates: Certificates, scheme: str) -> None:
    """Nothing is said to a server that cannot prove who it is."""
    encryption: dict[str, Any] = {"tls" if scheme == "smtps" else "starttls": certificates.server}
    with mail_server(**encryption) as box:
        url = f"{scheme}://localhost:{box.port}?{ADDRESSES}"
        with pytest.raises(DeliveryFailed, match="certificate is not trusted"):
            send(url)
        send(f"{url}&ca={certificates.authority}")
        assert len(box.messages) == 1


def test_server_without_starttls(mailbox: Mailbox) -> None:
    """Nothing is sent in plain text instead."""
    with pytest.raises(DestinationRefused, match="offers no STARTTLS"):
        send(f"smtp+starttls://127.0.0.1:{mailbox.port}?{ADDRESSES}")
    assert not mailbox.messages


def test_server_without_login(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, instead of sending without one."""
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    with mail_server(starttls=certificates.server, auth_exclude_mechanism=["LOGIN", "PLAIN"]) as box:
        with pytest.raises(DestinationRefused, match="offers no login"):
            send(
                f"smtp+starttls://localhost:{box.port}?{ADDRESSES}&user=a&password=env:MAIL_PASSWORD"
                f"&ca={certificates.authority}"
            )
        assert not box.messages


@pytest.mark.parametrize(
    ("step", "answer", "raised"),
    [
        ("audit@example.com", "550 5.7.1 not you", DestinationRefused),
        ("audit@example.com", "552 5.3.4 too large", EventsRefused),
        ("audit@example.com", "451 4.3.0 later", DeliveryFailed),
        ("ciso@example.com", "550 5.1.1 no such mailbox", DestinationRefused),
        ("ciso@example.com", "450 4.2.0 greylisted", DeliveryFailed),
        ("DATA", "554 5.6.0 refused content", EventsRefused),
        ("DATA", "452 4.3.1 disk full", DeliveryFailed),
        ("DATA", "421 4.3.2 shutting down", DeliveryFailed),
    ],
)
def test_refusals(mailbox: Mailbox, step: str, answer: str, raised: type[Exception]) -> None:
    """Of the sender or a recipient, for good: the stream is paused; of a message: it is parked; for now: again."""
    mailbox.answers[step] = answer
    with pytest.raises(raised, match=re.escape(answer)) as error:
        send(plain(mailbox))
    assert type(error.value) is raised
    assert not mailbox.messages


def test_message_that_is_too_large() -> None:
    """The server says how much it takes, and refuses what is larger at once."""
    with mail_server(data_size_limit=3_000) as box, pytest.raises(EventsRefused, match="552"):
        send(plain(box), *entries(50))


@pytest.mark.parametrize("serve", [breaking_off, confused])
def test_message_that_was_not_taken(serve: Serve) -> None:
    """The connection broke in the middle of it, or the server said OK instead of letting it come: it is sent again."""
    with listening(serve) as port, pytest.raises(DeliveryFailed, match=r"closed the connection|reset|message: 250 OK"):
        send(f"smtp://127.0.0.1:{port}?{ADDRESSES}", *entries(100))


def test_server_that_never_finishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole dialogue ends in time, however slowly each byte comes."""
    monkeypatch.setattr(smtp_client, "SESSION_SECONDS", 0.5)
    started = datetime.now(UTC)
    with listening(dripping) as port, pytest.raises(DeliveryFailed):
        send(f"smtp://127.0.0.1:{port}?{ADDRESSES}")
    assert datetime.now(UTC) - started < timedelta(seconds=5)


def test_an_address_that_is_not_public_needs_permission(mailbox: Mailbox) -> None:
    """Also with TLS; and a user is nothing without a password."""
    with pytest.raises(DestinationRefused, match="an address that is not public"):
        send(f"smtps://127.0.0.1:{mailbox.port}?{ADDRESSES}", allow_private=False)
    with pytest.raises(DestinationRefused, match="belong together"):
        send(f"smtps://127.0.0.1:{mailbox.port}?{ADDRESSES}&user=audit")


def test_no_header_can_be_injected(mailbox: Mailbox) -> None:
    """Whatever an event or the subject of the URL has, they stay in their header."""
    hostile = entry(1)
    object.__setattr__(hostile, "action", "a\r\nBcc: all@example.com\r\n\r\nbody\x00\u2028" + "x" * 500)
    send(plain(mailbox, "&subject=a%20b"), hostile)
    (message,) = mailbox.messages
    assert message["Bcc"] is None
    assert mailbox.recipients == [["soc@example.com", "ciso@example.com"]]
    assert message["Subject"].startswith("a b: a Bcc: all@example.com body xxx")
    assert len(message["Subject"]) == 201


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("from=audit&to=a@example.com", "from is an address such as"),
        ("from=audit@example.com", r"\?to=… is missing"),
        ("from=a@example.com&to=a@example.com%0d%0aBcc:b@example.com", "to has a line break"),
        ("from=a@example.com&to=a@example.com>,b@example.com", "to is at most 50 addresses"),
        (
            "from=a@example.com&to=a@example.com&template=/etc/shadow",
            r"template is the path of .* \.jinja",
        ),
        ("from=a@example.com&to=a@example.com&linger=100000", "linger is a number from 1 to 3600"),
        ("from=a@example.com&to=a@example.com&password=hunter2", "password is a secret: write"),
    ],
)
def test_options_that_cannot_be_used(options: str, reason: str) -> None:
    """They are refused when the stream is added."""
    with pytest.raises(InvalidStream, match=reason):
        StreamURL.parse(f"smtps://mail.example.com?{options}")


def test_own_template(mailbox: Mailbox, tmp_path: Path) -> None:
    """It replaces one part, keeps the others, and is escaped in the HTML alone; what an event has not is empty."""
    template = tmp_path / "own.jinja"
    template.write_text(
        '{% extends "mail.jinja" %}'
        "{% block subject %}{{ events[0].event.data.claim }}{{ events[0].event.data.no.such }} & more{% endblock %}"
        "{% block event_html %}<p>{{ event.event.data.claim }}</p>{% endblock %}"
    )
    send(plain(mailbox, f"&template={template}"), entry(1, data={"claim": "<b>"}))
    (message,) = mailbox.messages
    assert message["Subject"] == "<b> & more"
    text, html = parts(message)
    assert "claim:1" in text
    assert "<p>&lt;b&gt;</p>" in html


@pytest.mark.parametrize(
    ("template", "raised", "reason"),
    [
        ("{% if %}", DestinationRefused, "is no template of Jinja2"),
        ("{{ 1 / 0 }}", EventsRefused, "cannot be rendered: ZeroDivisionError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", EventsRefused, "cannot be rendered: SecurityError"),
        ("{{ events.clear() }}", EventsRefused, "cannot be rendered: SecurityError"),
        ("{% include '/etc/passwd' %}", EventsRefused, "cannot be rendered: TemplateNotFound"),
    ],
)
def test_template_that_fails(
    mailbox: Mailbox, tmp_path: Path, template: str, raised: type[Exception], reason: str
) -> None:
    """What is no template pauses the stream; one that fails with an event parks it. It cannot leave its sandbox."""
    path = tmp_path / "own.jinja"
    path.write_text(template)
    with pytest.raises(raised, match=reason):
        send(plain(mailbox, f"&template={path}"))
    with pytest.raises(DestinationRefused, match="cannot be read: FileNotFoundError"):
        send(plain(mailbox, f"&template={tmp_path}/none.jinja"))


def test_stream(dsn: str, mailbox: Mailbox) -> None:
    """A recipient that is refused pauses the stream; when it exists, everything is sent, each event once."""
    append(dsn, 130)
    mailbox.answers["ciso@example.com"] = "550 5.1.1 no such mailbox"
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "mail", to=plain(mailbox, "&linger=1"), start=0, allow_private=True)
        settings = Settings(dsn=dsn)
        send_all(dsn, "mail", settings)
        found = streams.get_stream(conn, "mail")
        assert (found.state, found.pause_kind, found.next_index) == ("paused", "refused", 0)
        assert "refuses the recipient ciso@example.com: 550" in (found.pause_reason or "")
        mailbox.answers.clear()
        streams.resume(conn, "mail")
        while streams.get_stream(conn, "mail").lag_events:
            send_all(dsn, "mail", settings)
    assert [message["X-Pgaudit-Index"] for message in mailbox.messages] == ["0-99", "100-129"]
