"""Tables of many columns, and columns of any name."""

import pytest

from pgaudit.testing import run_worker_once
from tests.guard.database.capturing import changes
from tests.guard.database.replay import captured
from tests.support.queries import Connection


def create_wide(owner: Connection, names: list[str]) -> None:
    """Creates a captured table of such columns, beside its key."""
    columns = ", ".join(f"{name} int" for name in names)
    owner.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {columns}); GRANT ALL ON wide TO claims_app".encode())
    owner.execute("SELECT pgaudit.add_capture('wide', 'wide', '{id}')")


def test_small_values_are_left_out_where_they_do_not_fit(owner: Connection, app: Connection) -> None:
    """The event says how many, with size and hash of their text; a guard captures the same."""
    names = [f"column_with_a_name_of_some_length_{n}" for n in range(1_500)]
    create_wide(owner, names)
    owner.execute("SELECT pgaudit.add_guard('wide', 'wide', '{id}', 'capture')")
    app.execute(f"INSERT INTO wide VALUES (1, {', '.join(map(str, range(1_500)))})".encode())
    app.execute(f"UPDATE wide SET {', '.join(f'{name} = -1' for name in names)}".encode())
    events = captured(owner, "wide.%")
    assert [event["action"] for event in events] == [*["wide.created"] * 2, *["wide.updated"] * 2]
    for event in events:
        created = event["action"] == "wide.created"
        kept, left_out = list(changes(event)), event["data"]["omitted_changes"]
        assert kept == [*["id"] * created, *names][: len(kept)]
        assert len(kept) + left_out["count"] == 1_500 + created
        assert (left_out["bytes"] > 10_000, len(left_out["sha256"])) == (True, 64)
    sizes = owner.execute("SELECT min(event_bytes), max(event_bytes) FROM pgaudit.audit_jobs WHERE event ? 'data'")
    assert "data" in events[0]
    assert [size <= 49_152 for size in sizes.fetchone() or ()] == [True, True]
    assert run_worker_once(owner) == 6


@pytest.mark.parametrize("name", ["pgaudit row", "n", "key", "changes", "event", "single", "captured", "old", "new"])
@pytest.mark.parametrize("rows", [1, 3])
def test_no_name_of_a_column_is_taken(owner: Connection, app: Connection, name: str, rows: int) -> None:
    """Not by what the trigger calls its own columns and variables."""
    owner.execute(f'ALTER TABLE claims ADD "{name}" text'.encode())
    owner.execute("INSERT INTO claims (id) SELECT generate_series(1, %s)", [rows])
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    app.execute(f"""UPDATE claims SET "{name}" = 'x'""".encode())
    assert [changes(event) for event in captured(owner)] == [{name: (None, "x")}] * rows


@pytest.mark.parametrize("rows", [1, 2])
def test_each_of_hundreds_of_columns_is_captured(owner: Connection, app: Connection, rows: int) -> None:
    """Although a function of PostgreSQL takes 100 arguments."""
    names = [f"c{n}" for n in range(300)]
    create_wide(owner, names)
    app.execute("INSERT INTO wide SELECT generate_series(1, %s)", [rows])
    app.execute(f"UPDATE wide SET {', '.join(f'{name} = 1' for name in names)}".encode())
    app.execute("UPDATE wide SET c7 = 0, c250 = NULL WHERE id = 1")
    *whole, last = captured(owner, "wide.updated")
    assert [list(changes(event)) for event in whole] == [names] * rows
    assert changes(last) == {"c7": (1, 0), "c250": (1, None)}
