"""Each format has exactly the events that a query finds, and their values to the last digit."""

import csv
import hashlib
import io
import json
import sys
from datetime import UTC
from typing import Any

import psycopg
import pytest
from pyarrow import parquet

from pgaudit import AuditEvent, AuditLog, Change, Settings, trail
from pgaudit.errors import MissingExtra
from pgaudit.events import Actor, AuditContext, Target
from pgaudit.trail import export
from pgaudit.trail.export import parquet as parquet_format
from pgaudit.trail.export.plans import Format
from tests.support.jobs import record_persist_and_commit
from tests.trail.conftest import EVENTS
from tests.trail.oracle import matching

QUERIES = [
    "",
    "action:claim.*",
    "tenant:north -outcome:success",
    "data.n:3",
    "target:claim:99",
    "after:2h actor:user:1",
]


def exported(conn: psycopg.Connection, query: str = "", **choices: Any) -> bytes:
    """Returns a whole export."""
    plan = export.plan(conn, query, **choices)
    return b"".join(export.chunks(export.Stream(plan), lambda position: export.portion(conn, plan, position)))


def rows_of_csv(data: bytes) -> list[dict[str, str]]:
    """Returns the records of a CSV file."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def append(conn: psycopg.Connection, *events: AuditEvent) -> None:
    """Appends events to the log."""
    AuditLog(Settings(mode="inline")).record(conn, *events)
    conn.commit()


@pytest.mark.parametrize("query", QUERIES)
def test_an_export_is_exactly_the_filtered_view(log: psycopg.Connection, query: str) -> None:
    """All formats have the same events, which are those that the query means, in the order of the log."""
    expected = matching(trail.last(log, EVENTS), trail.parse(query))[::-1]
    texts = [entry.text for page in trail.pages(log, query) for entry in page]
    assert exported(log, query).decode().splitlines() == texts
    assert [int(row["index"]) for row in rows_of_csv(exported(log, query, format="csv"))] == expected
    table = parquet.read_table(io.BytesIO(exported(log, query, format="parquet")))
    assert table["index"].to_pylist() == expected
    assert table["event"].to_pylist() == texts


def test_each_line_hashes_to_its_leaf(log: psycopg.Connection) -> None:
    """An export of everything is byte for byte the stored text, so that anyone can check it against the log."""
    stored = log.execute("SELECT event::text, leaf_hash FROM pgaudit.audit_log ORDER BY index").fetchall()
    lines = exported(log).split(b"\n")
    assert lines.pop() == b""
    assert lines == [text.encode() for text, _ in stored]
    assert [hashlib.sha256(b"\0" + line).digest() for line in lines] == [leaf_hash for _, leaf_hash in stored]


def test_events_appended_meanwhile_are_left_out(conn: psycopg.Connection) -> None:
    """The end of the log at the start of the export is the end of the export."""
    append(conn, AuditEvent(action="claim.approved"))
    plan = export.plan(conn)
    append(conn, AuditEvent(action="claim.denied"))
    data = b"".join(export.chunks(export.Stream(plan), lambda position: export.portion(conn, plan, position)))
    assert [json.loads(line)["action"] for line in data.splitlines()] == ["claim.approved"]


def test_an_age_means_the_same_on_each_page(conn: psycopg.Connection) -> None:
    """A query with an age is fixed at the start of the export."""
    plan = export.plan(conn, "before:7d action:claim.*")
    assert plan.asked == "before:7d action:claim.*"
    assert str(plan.query).startswith("before:20")
    assert str(trail.parse(str(plan.query))) == str(plan.query)


EVERYTHING = AuditEvent(
    action="claim.approved",
    actor=Actor(type="user", id="42", name="Ann", on_behalf_of="user:1"),
    targets=[Target(type="claim", id="7", name="Claim 7", role="main"), Target(type="policy", id="3")],
    outcome="denied",
    reason="over the limit",
    tenant="north",
    context=AuditContext(request_id="r-1", ip="10.0.0.1", user_agent="curl/8"),
    changes=[Change(path="status", before="open", after=None)],
    data={"amount": "1.10", "big": 12345678901234567890, "lines": [{"net": 7}], "none": None, "ok": True},
    schema_version=3,
)


def test_csv_has_a_column_for_each_field(conn: psycopg.Connection) -> None:
    """Columns have what the event says, times in UTC; objects are JSON as it is stored."""
    append(conn, EVERYTHING)
    (entry,) = trail.last(conn, 1)
    columns = ["data.amount", "data.big", "data.lines.0.net", "data.none", "data.ok", "data.lines", "data.nothing"]
    (row,) = rows_of_csv(exported(conn, format="csv", columns=columns))
    assert row["occurred_at"] == f"{entry.occurred_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    assert row["leaf_hash"] == entry.leaf_hash.hex()
    assert json.loads(row["changes"]) == [{"path": "status", "after": None, "before": "open"}]
    assert row["data"] in entry.text
    assert row["targets"] in entry.text
    expected = {
        "index": "0", "event_id": str(EVERYTHING.id), "action": "claim.approved", "outcome": "denied",
        "actor_type": "user", "actor_id": "42", "actor_name": "Ann", "actor_on_behalf_of": "user:1",
        "target_type": "claim", "target_id": "7", "target_name": "Claim 7", "tenant": "north",
        "reason": "over the limit", "request_id": "r-1", "trace_id": "", "ip": "10.0.0.1", "user_agent": "curl/8",
        "schema_version": "3", "recorded_by": "postgres", "conflicts_with": "", "data.amount": "1.10",
        "data.big": "12345678901234567890", "data.lines.0.net": "7", "data.none": "", "data.ok": "true",
        "data.lines": '[{"net": 7}]', "data.nothing": "",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_numbers_keep_their_digits(conn: psycopg.Connection) -> None:
    """1.10 stays 1.10 and a long integer is not rounded, in every format and column."""
    number = "1" * 4_000
    event = {"id": "0198c0de-0000-7000-8000-000000000001", "action": "a.b", "outcome": "success", "schema_version": 1,
             "occurred_at": "2026-01-01T00:00:00Z", "data": {}}  # fmt: skip
    text = json.dumps([event]).replace("{}", f'{{"rate": 1.10, "big": 12345678901234567890, "huge": {number}}}')
    conn.execute("SELECT pgaudit.record(%s)", [text])
    conn.execute("SELECT pgaudit.persist(NULL, NULL, 10)")
    paths = ["data.rate", "data.big", "data.huge"]
    (row,) = rows_of_csv(exported(conn, format="csv", columns=paths))
    assert [row[path] for path in paths] == ["1.10", "12345678901234567890", number]
    (row,) = parquet.read_table(io.BytesIO(exported(conn, format="parquet", columns=paths))).to_pylist()
    assert [row[path] for path in paths] == ["1.10", "12345678901234567890", number]
    assert '"rate": 1.10' in row["data"]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])  # noqa: RUF001
def test_no_cell_is_a_formula(conn: psycopg.Connection, begin: str) -> None:
    """What a spreadsheet would compute begins with an apostrophe, wherever a user can put it."""
    evil = f'{begin}HYPERLINK("http://x","a,b")'
    append(
        conn,
        AuditEvent(
            action="claim.approved", tenant=evil, reason=evil, data={"note": evil},
            actor=Actor(type=evil, id=evil, name=evil, on_behalf_of=evil),
            targets=[Target(type=evil, id=evil, name=evil)],
            context=AuditContext(user_agent=evil, session_id=evil, ip=evil),
        ),
    )  # fmt: skip
    data = exported(conn, format="csv", columns=["data.note"])
    (row,) = rows_of_csv(data)
    assert {name for name, cell in row.items() if cell == f"'{evil}"} >= {
        "tenant", "reason", "actor_type", "actor_id", "actor_name", "target_id", "user_agent", "data.note",
    }  # fmt: skip
    assert [cell for cell in row.values() if cell.startswith(begin)] == []


def test_excel_knows_utf8_by_the_mark(conn: psycopg.Connection) -> None:
    """With --bom the file begins with the byte order mark; lines end as RFC 4180 says; cells may have line breaks."""
    append(conn, AuditEvent(action="claim.approved", reason='Zürich\r\n"two", lines', tenant="n\rx"))
    data = exported(conn, format="csv", bom=True)
    assert data.startswith(b"\xef\xbb\xbfindex,")
    assert not exported(conn, format="csv").startswith(b"\xef\xbb\xbf")
    assert data.endswith(b"\r\n")
    (row,) = rows_of_csv(data)
    assert (row["reason"], row["tenant"]) == ('Zürich\r\n"two", lines', "n\rx")


def test_parquet_has_types(conn: psycopg.Connection) -> None:
    """Indexes are integers, times timestamps in UTC, hashes bytes; the exact text is a column."""
    append(conn, EVERYTHING)
    (entry,) = trail.last(conn, 1)
    (row,) = parquet.read_table(io.BytesIO(exported(conn, format="parquet", columns=["data.amount"]))).to_pylist()
    assert (row["index"], row["leaf_hash"], row["event"]) == (0, entry.leaf_hash, entry.text)
    assert (row["occurred_at"], row["recorded_at"]) == (entry.occurred_at, entry.recorded_at)
    assert row["persisted_at"] == entry.persisted_at
    assert (row["conflicts_with"], row["trace_id"], row["data.amount"]) == (None, None, "1.10")


def test_row_groups_are_bounded(log: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups have so many events or bytes, however the events are handed in."""
    monkeypatch.setattr(parquet_format, "GROUP_ROWS", 400)
    file = parquet.ParquetFile(io.BytesIO(exported(log, format="parquet")))
    groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    assert groups == [400, 400, 400, 300]
    monkeypatch.setattr(parquet_format, "GROUP_BYTES", 1)
    assert parquet.ParquetFile(io.BytesIO(exported(log, format="parquet"))).metadata.num_row_groups == EVENTS


@pytest.mark.parametrize(
    ("query", "choices", "message"),
    [
        ("", {"format": "xlsx"}, "no format 'xlsx': ndjson, csv, parquet"),
        ("", {"columns": ["data.a"]}, "NDJSON has no columns"),
        ("", {"format": "parquet", "bom": True}, "only CSV"),
        ("", {"format": "csv", "columns": ["amount"]}, "'amount' cannot be a column"),
        ("", {"format": "csv", "columns": ["data."]}, "'data.' cannot be a column"),
    ],
)
def test_what_a_format_does_not_have_is_refused(
    conn: psycopg.Connection, query: str, choices: dict[str, Any], message: str
) -> None:
    """The message says what to write."""
    with pytest.raises(export.ExportRefused, match=message):
        export.plan(conn, query, **choices)


def test_parquet_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the other formats work, and this one says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pgaudit.trail.export.parquet")
    with pytest.raises(MissingExtra, match=r'pip install "pgaudit\[parquet\]"'):
        export.Stream(export.Plan(query=trail.Query(), format="parquet", size=0))
    export.Stream(export.Plan(query=trail.Query(), format="csv", size=0))


def masked(entry: trail.Entry) -> export.Row:
    """Returns an entry without the amount in its data."""
    return export.MaskedRow.of(entry, {**entry.event, "data": {**entry.event["data"], "amount": "***"}})


@pytest.mark.parametrize("format_", ["ndjson", "csv", "parquet"])
def test_a_masked_value_is_in_no_format(conn: psycopg.Connection, format_: Format) -> None:
    """What is handed in masked is written masked, without the hash that would confirm a guess."""
    append(conn, EVERYTHING)
    columns = [] if format_ == "ndjson" else ["data.amount"]
    plan = export.plan(conn, format=format_, columns=columns, masked=True)
    stream = export.Stream(plan)

    def read(position: int) -> export.Portion[export.Row]:
        return export.portion(conn, plan, position).masked(masked)

    data = b"".join(export.chunks(stream, read))
    if format_ == "parquet":
        (row,) = parquet.read_table(io.BytesIO(data)).to_pylist()
        assert (row["leaf_hash"], row["data.amount"]) == (None, "***")
        data = json.dumps(row, default=str).encode()
    (entry,) = trail.last(conn, 1)
    assert b"***" in data
    assert b"1.10" not in data
    assert entry.leaf_hash.hex().encode() not in data


async def test_portions_are_read_without_blocking(dsn: str) -> None:
    """An asynchronous connection serves one portion, another one the next; the bytes are the same."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        record_persist_and_commit(conn, *(AuditEvent(action="claim.approved", target=f"claim:{n}") for n in range(30)))
        whole = exported(conn)
    async with await psycopg.AsyncConnection.connect(dsn) as first:
        plan = await export.plan_async(first)

    async def read(position: int) -> export.Portion[trail.Entry]:
        async with await psycopg.AsyncConnection.connect(dsn) as another:
            return await export.portion_async(another, plan, position)

    stream = export.Stream(plan)
    assert b"".join([chunk async for chunk in export.chunks_async(stream, read)]) == whole
    assert (stream.count, stream.first_index, stream.last_index) == (30, 0, 29)
    assert stream.sha256 == hashlib.sha256(whole).hexdigest()
