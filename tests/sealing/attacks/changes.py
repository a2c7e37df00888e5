"""Attacks as SQL: what the owner of the tables, or a superuser, does with all triggers off."""

EDIT = "UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{{reason}}', '\"forged\"') WHERE index = {}"
REHASH = """UPDATE pgaudit.audit_log SET leaf_hash = sha256('\\x00'::bytea || convert_to(event::text, 'UTF8'))
             WHERE index = {}"""
ADD_TO_LAST_BATCH = """UPDATE pgaudit.batch SET count = count + {}
                        WHERE first_index = (SELECT max(first_index) FROM pgaudit.batch)"""
COLUMNS = """event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id, target_type,
             target_id, tenant"""
# The last 500 of 1,100 events, with their batch.
CUT = ["DELETE FROM pgaudit.audit_log WHERE index >= 600", "DELETE FROM pgaudit.batch WHERE first_index >= 600"]


def edited(index: int) -> list[str]:
    """An event with another content, and its old hash."""
    return [EDIT.format(index)]


def recomputed(index: int) -> list[str]:
    """An event with another content, and the hash of that."""
    return [EDIT.format(index), REHASH.format(index)]


def column(name: str, value: str) -> list[str]:
    """An event with another value in a column."""
    return [f"UPDATE pgaudit.audit_log SET {name} = {value} WHERE index = 700"]


def deleted(*indexes: int) -> list[str]:
    """Events less."""
    return [f"DELETE FROM pgaudit.audit_log WHERE index IN ({', '.join(map(str, indexes))})"]


def renumbered(where: str, index: str) -> list[str]:
    """Events under other indexes."""
    return [
        f"CREATE TEMPORARY TABLE moved AS SELECT * FROM pgaudit.audit_log WHERE {where}",
        f"DELETE FROM pgaudit.audit_log WHERE {where}",
        f"UPDATE moved SET index = {index}",
        "INSERT INTO pgaudit.audit_log SELECT * FROM moved",
    ]


def closed_up(index: int) -> list[str]:
    """An event less; those behind it move up, and the last batch is one smaller."""
    return [*deleted(index), *renumbered(f"index > {index}", "index - 1"), ADD_TO_LAST_BATCH.format(-1)]


def swapped(one: int, other: int) -> list[str]:
    """Two events in each other's place."""
    return renumbered(f"index IN ({one}, {other})", f"{one + other} - index")


def forged(index: int) -> str:
    """A forged event at an index, made after the one of index 1."""
    return f"""INSERT INTO pgaudit.audit_log (index, {COLUMNS}, event, leaf_hash)
               SELECT {index}, gen_random_uuid(), {COLUMNS.removeprefix("event_id, ")}, event, leaf_hash
                 FROM pgaudit.audit_log WHERE index = 1;
               UPDATE pgaudit.audit_log SET event = event || jsonb_build_object('id', event_id, 'reason', 'forged')
                WHERE index = {index};
               {REHASH.format(index)}"""


def inserted(index: int) -> list[str]:
    """A forged event more; those behind it move."""
    return [*renumbered(f"index >= {index}", "index + 1"), forged(index), ADD_TO_LAST_BATCH.format(1)]


def appended(index: int) -> list[str]:
    """A forged event at the end, with a batch: what a worker appends looks like this."""
    return [
        forged(index),
        f"""INSERT INTO pgaudit.batch (first_index, count, persisted_at, oldest_recorded, newest_recorded,
                                       recorded_until, late)
            VALUES ({index}, 1, now(), now(), now(), now(), false)""",
    ]


def of_partition(first: int, *statements: str) -> list[str]:
    """Statements about the partition that begins at an index: ``{0}`` stands for its name."""
    return [statement.format(f"pgaudit.audit_log_{first}") for statement in statements]


def reattached(first: int) -> list[str]:
    """A partition that is detached, edited where nothing guards it, and attached again with all its triggers."""
    bounds = f"FROM ({first}) TO ({first + 256})"
    return of_partition(
        first,
        "ALTER TABLE pgaudit.audit_log DETACH PARTITION {0}",
        EDIT.format(first).replace("pgaudit.audit_log", "{0}").replace("{reason}", "{{reason}}"),
        REHASH.format(first).replace("pgaudit.audit_log", "{0}"),
        f"ALTER TABLE pgaudit.audit_log ATTACH PARTITION {{0}} FOR VALUES {bounds}",
        "SELECT pgaudit.guard_partition('{0}')",
    )
