"""A report of each day: what it counts, when it is sent and by what, and that nothing in it can do harm."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from pgaudit import AuditEvent, AuditLog, Settings, grants, health, streams
from pgaudit.errors import InvalidStream
from pgaudit.streams import daily_counts, positions
from pgaudit.streams.daily_reports import send_report
from pgaudit.streams.destinations import open_destination
from pgaudit.streams.destinations.report import DailyReport
from pgaudit.streams.destinations.report_document import render_report
from pgaudit.streams.destinations.report_summary import Count, Group, Summary
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.probing import probe
from pgaudit.streams.stream_thread import StreamThread
from pgaudit.streams.throttle import Throttle
from pgaudit.streams.urls import StreamURL
from pgaudit.testing import run_worker_once
from tests.support.mail_servers import Mailbox, mail_server
from tests.support.object_storage import buckets, object_storage
from tests.support.receivers import Reply, Request, request_to, serving
from tests.support.roles import temporary_roles
from tests.support.streams import send_all
from tests.support.tampering import tamper

ZONE = "Europe/Berlin"


def append(dsn: str, moment: datetime, *events: AuditEvent) -> None:
    """Appends events to the log as if it was that moment."""
    with psycopg.connect(dsn) as conn:
        (size,) = conn.execute("SELECT size FROM pgaudit.log_head").fetchone() or (0,)
        AuditLog(Settings(dsn=dsn)).record(conn, *events)
        conn.commit()
        run_worker_once(conn)
        tamper(conn, f"UPDATE pgaudit.batch SET persisted_at = '{moment.isoformat()}' WHERE first_index >= {size}")


def event(
    action: str = "claim.approved", outcome: Any = "success", actor: str | None = "user:1", **more: Any
) -> AuditEvent:
    """Returns an event."""
    return AuditEvent(action=action, outcome=outcome, actor=actor, target="claim:7", **more)


def add(dsn: str, to: str, **options: Any) -> None:
    """Adds a stream of reports that begins with the log."""
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "daily", to=to, start=0, allow_private=True, **options)


def found(dsn: str) -> streams.Stream:
    """Returns how the stream does."""
    with psycopg.connect(dsn) as conn:
        return streams.get_stream(conn, "daily")


def records(text: str) -> list[dict[str, str]]:
    """Returns the records of a CSV."""
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def utc(day: int, hour: int = 12, minute: int = 0) -> datetime:
    """Returns a moment in March 2026."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def summary(**changes: Any) -> Summary:
    """Returns a summary of a day."""
    day = DailyReport(None, datetime.min.time(), ZONE).day_of(utc(28))  # type: ignore[arg-type]
    given: dict[str, Any] = {
        "stream": "daily", "query": "", "day": day, "indexes": range(10), "events": 0, "late": 0, "outcomes": {},
        "counts": [], "kinds": 0, "actions": [], "action_count": 0, "actors": [], "actor_count": 0,
    }  # fmt: skip
    return Summary(**given | changes)


@pytest.fixture
def three_days(dsn: str) -> str:
    """A log of two days, of which the second one has 23 hours in Berlin, and of today."""
    append(dsn, utc(28, 10), event(), event(), event(outcome="denied", actor="user:2"))
    append(dsn, utc(28, 22, 59), event("user.logged_in", "failure", None, occurred_at=utc(27)))
    append(dsn, utc(28, 23, 0), event("claim.viewed"))
    append(dsn, utc(29, 21, 59), event("claim.viewed"))
    append(dsn, datetime.now(UTC), event("claim.closed"))
    return dsn


def test_each_day_has_a_report(three_days: str, tmp_path: Path) -> None:
    """Of midnight to midnight in the zone; each event is in one report; that of today waits until the day is over."""
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    send_all(three_days, "daily")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    days = ("daily_2026-03-28_0-3", "daily_2026-03-29_4-5")
    assert names == [f"{day}.{suffix}" for day in days for suffix in ("csv", "html")]
    assert (found(three_days).next_index, found(three_days).delivered, found(three_days).state) == (6, 6, "active")
    first = records((tmp_path / "out" / names[0]).read_text())
    assert first[0] == {
        "day": "2026-03-28", "zone": ZONE, "action": "claim.approved", "outcome": "success", "actor": "user:1",
        "events": "2", "first_index": "0", "last_index": "1",
    }  # fmt: skip
    rest = {(one["action"], one["outcome"], one["actor"], one["events"]) for one in first[1:]}
    assert rest == {("claim.approved", "denied", "user:2", "1"), ("user.logged_in", "failure", "", "1")}
    assert [(one["action"], one["events"]) for one in records((tmp_path / "out" / names[2]).read_text())] == [
        ("claim.viewed", "2")
    ]
    html = (tmp_path / "out" / names[1]).read_text()
    for said in ("Saturday, 28 March 2026", "claim.approved", "user:2", "(no actor)", "1 of them occurred before"):
        assert said in html


def test_due_at_its_time_of_day() -> None:
    """On the next day in the zone, whether the day has 23, 24 or 25 hours; and not while a batch may be missing."""
    opened = open_destination(request_to(f"report+file:/tmp?at=06:00&zone={ZONE}"))
    assert isinstance(opened, DailyReport)
    for day, hours in ((28, 24), (29, 23)):
        found_day = opened.day_of(utc(day))
        assert (found_day.date.day, found_day.end - found_day.start) == (day, timedelta(hours=hours))
    assert opened.day_of(utc(28)).due == utc(29, 4)
    assert opened.day_of(datetime(2026, 10, 25, 12, tzinfo=UTC)).due == datetime(2026, 10, 26, 5, tzinfo=UTC)
    at_midnight = open_destination(request_to("report+file:/tmp?at=00:00"))
    assert isinstance(at_midnight, DailyReport)
    assert at_midnight.day_of(utc(28)).due == utc(29, 0, 1)


def test_nobody_looks_before_it_is_due(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events of today are not counted again and again."""
    append(dsn, datetime.now(UTC), event())
    add(dsn, f"report+file:{tmp_path}/out")
    looks: list[int] = []
    persisted_at = daily_counts.persisted_at

    def looking(conn: psycopg.Connection, index: int) -> datetime | None:
        looks.append(index)
        return persisted_at(conn, index)

    monkeypatch.setattr(daily_counts, "persisted_at", looking)
    with psycopg.connect(dsn, autocommit=True) as conn:
        thread = StreamThread(conn, "daily", Settings(dsn=dsn), Event(), Throttle())
        assert not any(thread.step() for _ in range(3))
        thread.close()
    assert looks == [0]
    assert not (tmp_path / "out").exists()


def test_events_of_a_query(three_days: str, tmp_path: Path) -> None:
    """Others are not counted; a day without any has a report that says so."""
    add(three_days, f"report+file:{tmp_path}/out", query="outcome:denied,failure")
    send_all(three_days, "daily")
    first, second = sorted((tmp_path / "out").glob("*.csv"))
    assert [one["outcome"] for one in records(first.read_text())] == ["denied", "failure"]
    assert records(second.read_text()) == []
    html = second.with_suffix(".html").read_text()
    assert "Nothing has happened that this report is about" in html
    assert "outcome:denied,failure" in html


def test_email(three_days: str) -> None:
    """The report is its text and HTML, the CSV is attached; what was refused for now comes with the same id."""
    with mail_server() as box:
        add(three_days, f"report+smtp://127.0.0.1:{box.port}?from=audit@example.com&to=ciso@example.com&zone={ZONE}")
        box.drops = 1
        send_all(three_days, "daily")
        assert (found(three_days).state, found(three_days).next_index, len(box.messages)) == ("failing", 0, 1)
        with psycopg.connect(three_days) as conn:
            streams.resume(conn, "daily")
        send_all(three_days, "daily")
        lost, again, second = box.messages
    assert lost["Message-ID"] == again["Message-ID"] != second["Message-ID"]
    assert again["Subject"] == "pgaudit: 2026-03-28: 4 events, 1 denied, 1 failed"
    text, html = again.get_body(("plain",)), again.get_body(("html",))
    assert text is not None
    assert html is not None
    for part in (text, html):
        assert "claim.approved" in part.get_content()
    (attached,) = again.iter_attachments()
    assert attached.get_filename() == "daily_2026-03-28_0-3.csv"
    assert len(records(attached.get_content())) == 3


def test_refused_email_pauses(three_days: str) -> None:
    """A report cannot be parked: it waits until somebody resumes the stream."""
    with mail_server() as box:
        box.answers["DATA"] = "554 5.6.0 refused content"
        add(three_days, f"report+smtp://127.0.0.1:{box.port}?from=audit@example.com&to=ciso@example.com")
        send_all(three_days, "daily")
    assert (found(three_days).state, found(three_days).pause_kind, found(three_days).next_index) == (
        "paused",
        "refused",
        0,
    )
    assert "refuses the message: 554" in (found(three_days).pause_reason or "")


def test_webhook(three_days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers as JSON, and both documents; signed as those for events are."""
    key, requests = "whsec_" + "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4", list[Request]()
    monkeypatch.setenv("REPORT_KEY", key)

    def answer(request: Request) -> Reply:
        requests.append(request)
        return Reply(204 if len(requests) > 1 else 503)

    with serving(answer) as url:
        add(three_days, f"report+{url}/reports?secret=env:REPORT_KEY&zone={ZONE}")
        send_all(three_days, "daily")
        with psycopg.connect(three_days) as conn:
            streams.resume(conn, "daily")
        send_all(three_days, "daily")
    refused, first, _ = requests
    assert refused.headers["webhook-id"] == first.headers["webhook-id"]
    sent = Webhook(key).verify(first.body, first.headers)
    assert (sent["type"], sent["timestamp"]) == ("pgaudit.report", "2026-03-28T23:00:00.000000Z")
    data = sent["data"]
    assert (data["day"], data["first_index"], data["last_index"], data["events"]) == ("2026-03-28", 0, 3, 4)
    assert data["outcomes"] == {"success": 2, "denied": 1, "failure": 1}
    assert data["actors"][0] == {"actor": "user:1", "events": 2, "denied": 0, "failure": 0}
    assert len(records(data["csv"])) == 3
    assert data["html"].startswith("<!doctype html>")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The URL of an object storage, and a client."""
    with object_storage() as url, buckets(url, monkeypatch) as client:
        yield url, client


def test_bucket(three_days: str, s3: tuple[str, Any]) -> None:
    """Two objects for each day; a report that is sent again is there already."""
    endpoint, client = s3
    add(three_days, f"report+s3://open/reports?endpoint={endpoint}&zone={ZONE}")
    for _ in range(2):
        send_all(three_days, "daily")
        with psycopg.connect(three_days) as conn:
            streams.rewind(conn, "daily", 0)
    send_all(three_days, "daily")
    assert found(three_days).next_index == 6
    objects = [one["Key"] for one in client.list_objects_v2(Bucket="open")["Contents"]]
    assert objects == [
        f"reports/daily_{name}.{suffix}" for name in ("2026-03-28_0-3", "2026-03-29_4-5") for suffix in ("csv", "html")
    ]


def test_set_back_and_replayed(three_days: str, tmp_path: Path) -> None:
    """A stream that was rewound sends reports again, the first one of what is left of its day; a replay is refused."""
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    send_all(three_days, "daily")
    with psycopg.connect(three_days, autocommit=True) as conn:
        streams.rewind(conn, "daily", 2)
        send_all(three_days, "daily")
        assert (tmp_path / "out" / "daily_2026-03-28_2-3.csv").exists()
        streams.replay(conn, "daily", 0, 3)
        send_all(three_days, "daily")
        newest = streams.deliveries(conn, "daily")[0]
    assert (newest.status, found(three_days).next_index) == ("failed", 6)
    assert "use pgaudit stream rewind" in (newest.error or "")


def test_disk_that_cannot_be_written(three_days: str, tmp_path: Path) -> None:
    """Nothing is counted as sent; and a test of the stream says so."""
    (tmp_path / "out").write_text("a file")
    add(three_days, f"report+file:{tmp_path}/out")
    send_all(three_days, "daily")
    assert (found(three_days).state, found(three_days).next_index) == ("failing", 0)
    assert "cannot be written" in (found(three_days).error or "")
    with psycopg.connect(three_days) as conn:
        with pytest.raises(DeliveryFailed, match="cannot be written"):
            probe(streams.get_stream(conn, "daily"))
        (tmp_path / "out").unlink()
        assert "accepts the connection" in probe(streams.get_stream(conn, "daily"))


def test_test_of_an_email_logs_in(dsn: str) -> None:
    """And sends nothing."""
    with mail_server() as box, psycopg.connect(dsn) as conn:
        streams.add(conn, "daily", to=mail_url(box), allow_private=True)
        assert "accepts the connection" in probe(streams.get_stream(conn, "daily"))
        box.answers["ciso@example.com"] = "550 no such mailbox"
        with pytest.raises(DestinationRefused, match=r"ciso@example\.com"):
            probe(streams.get_stream(conn, "daily"))
        assert not box.messages


def mail_url(box: Mailbox) -> str:
    """Returns the URL of reports by e-mail."""
    return f"report+smtp://127.0.0.1:{box.port}?from=audit@example.com&to=ciso@example.com"


def test_nothing_hostile_gets_out(dsn: str, tmp_path: Path) -> None:
    """Names of actors are anybody's: no markup in the HTML, no formula in a cell, no line that is not one."""
    evil = ('user:<script>alert("x")</script>', "user:=1+1", "=cmd|'/c calc'!A1:1", 'user:a\r\nb,"c', "@SUM(1):2")
    append(dsn, utc(28), *(event(actor=actor) for actor in evil))
    add(dsn, f"report+file:{tmp_path}/out")
    send_all(dsn, "daily")
    (html,), (table,) = ([*(tmp_path / "out").glob(f"*.{suffix}")] for suffix in ("html", "csv"))
    assert "<script" not in html.read_text()
    assert "&lt;script&gt;" in html.read_text()
    with table.open(newline="", encoding="utf-8-sig") as file:
        actors = {one["actor"] for one in csv.DictReader(file)}
    assert actors == {evil[0], evil[1], f"'{evil[2]}", evil[3], f"'{evil[4]}"}


def test_html_needs_nothing_from_elsewhere() -> None:
    """No address, no script, no style sheet: it looks the same in ten years."""
    html = render_report(summary(events=1, outcomes={"success": 1}, actions=[Group("a.b", 1, 0, 0)])).html
    for needed in ("http:", "https:", "src=", "<link", "<script", "url("):
        assert needed not in html


def test_many_kinds_are_bounded(three_days: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent ones are listed, the others are one record, and the sum is that of all events."""
    monkeypatch.setattr(daily_counts, "MOST_COUNTS", 2)
    monkeypatch.setattr(daily_counts, "MOST_GROUPS", 1)
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    send_all(three_days, "daily")
    first = min((tmp_path / "out").glob("*.csv"))
    listed = records(first.read_text())
    assert [one["action"] for one in listed] == ["claim.approved", "claim.approved", "(others)"]
    assert sum(int(one["events"]) for one in listed) == 4
    html = first.with_suffix(".html").read_text()
    assert "The 1 most frequent of 2." in html
    assert "the 2 most frequent of 3" in html


def test_same_numbers_are_the_same_document() -> None:
    """So that a report that is sent again is recognized; other numbers are another one."""
    one = render_report(summary(events=1, counts=[Count("a.b", "success", None, 1, 0, 0)]))
    assert one == render_report(summary(events=1, counts=[Count("a.b", "success", None, 1, 0, 0)]))
    assert one.identity != render_report(summary(events=2, counts=[Count("a.b", "success", None, 2, 0, 1)])).identity


def test_waiting_for_the_day_is_healthy(dsn: str, tmp_path: Path) -> None:
    """A report is late after two days, and not after the hours that a stream of events may take."""
    append(dsn, datetime.now(UTC) - timedelta(hours=40), event())
    add(dsn, f"report+file:{tmp_path}/out")
    with psycopg.connect(dsn, autocommit=True) as conn:
        for age, status in ((40, health.Status.HEALTHY), (60, health.Status.UNHEALTHY)):
            tamper(conn, f"UPDATE pgaudit.batch SET persisted_at = clock_timestamp() - interval '{age} hours'")
            checks = health.check(conn, Settings(dsn=dsn)).checks
            verdict = next(check for check in checks if check.name == "streams")
            assert verdict.status is status, verdict.message


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("report+file:/a?at=25:00", "at is a time of day such as 06:00"),
        ("report+file:/a?zone=Mars/Olympus", "zone is a time zone such as Europe/Berlin"),
        ("report+file:/a?zone=/etc/passwd", "zone is a time zone"),
        ("report+file:/a?zone=Europe", "zone is a time zone"),
        ("report+file:/a?gzip=true", "has no option 'gzip'"),
        ("report+syslog+tls://a", "is no kind of destination"),
        ("report+smtps://a?to=b@example.com", r"\?from=… is missing: write report\+smtp"),
        ("report+https://a/b", r"\?secret=… is missing"),
    ],
)
def test_options_that_cannot_be_used(url: str, reason: str) -> None:
    """They are refused when the stream is added."""
    with pytest.raises(InvalidStream, match=reason):
        StreamURL.parse(url)


def test_another_form_is_refused(dsn: str) -> None:
    """A report has none."""
    with psycopg.connect(dsn) as conn, pytest.raises(InvalidStream, match="form native alone"):
        streams.add(conn, "daily", to="report+file:/a", form="ocsf")


def test_log_of_an_older_backup(three_days: str, tmp_path: Path) -> None:
    """The report of a day whose last event is another one now is not continued in silence."""
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    send_all(three_days, "daily")
    with psycopg.connect(three_days) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET last_hash = '\\x00'")
    send_all(three_days, "daily")
    assert (found(three_days).state, found(three_days).pause_kind) == ("paused", "mismatch")


def test_position_is_that_of_the_last_event(three_days: str, tmp_path: Path) -> None:
    """So that a log of an older backup is noticed."""
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    send_all(three_days, "daily")
    with psycopg.connect(three_days) as conn:
        position = conn.execute("SELECT last_index, last_hash FROM pgaudit.stream_position").fetchone()
        event_there = conn.execute("SELECT index, leaf_hash FROM pgaudit.audit_log WHERE index = 5").fetchone()
    assert position == event_there


def test_policies_that_hide_events(three_days: str, tmp_path: Path) -> None:
    """A worker that may not see all events sends no report of a part: as a plain worker, it sends the whole one."""
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    with temporary_roles(three_days, "report_worker"):
        worker = f"{three_days} user=report_worker"
        with psycopg.connect(three_days) as conn:
            grants.grant(conn, worker="report_worker")
            conn.execute("ALTER TABLE pgaudit.audit_log ENABLE ROW LEVEL SECURITY")
            conn.execute("CREATE POLICY few ON pgaudit.audit_log FOR SELECT USING (index <> 2)")
        send_all(worker, "daily")
        assert (found(three_days).pause_kind, found(three_days).next_index) == ("mismatch", 0)
        with psycopg.connect(three_days) as conn:
            conn.execute("ALTER TABLE pgaudit.audit_log DISABLE ROW LEVEL SECURITY")
            streams.resume(conn, "daily")
        send_all(worker, "daily")
        assert found(three_days).next_index == 6


def test_two_workers(three_days: str, tmp_path: Path) -> None:
    """While one sends a report, another one does nothing; and what that one has counted before is not sent again."""
    add(three_days, f"report+file:{tmp_path}/out?zone={ZONE}")
    settings = Settings(dsn=three_days)
    reporter = open_destination(request_to(f"report+file:{tmp_path}/other?zone={ZONE}"))
    assert isinstance(reporter, DailyReport)
    with psycopg.connect(three_days, autocommit=True) as one, psycopg.connect(three_days, autocommit=True) as other:
        due = positions.look(one, "daily")
        assert due is not None
        with other.transaction():
            assert positions.lock(other, due)
            assert not send_report(one, settings, reporter, due)
        send_all(three_days, "daily")
        assert not send_report(one, settings, reporter, due)
    assert not (tmp_path / "other").exists()
