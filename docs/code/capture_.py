"""Captures and guards a table, as the owner of schema and table."""

import psycopg

from pgaudit.guard import captures, guards


def begin(conn: psycopg.Connection) -> None:
    """In the transaction of the connection: commit it."""
    captures.add(conn, "claims", target="claim", key="id", mask="iban")
    guards.add(conn, "payments", target="payment", key="id", actions="payment.*")


def broken(conn: psycopg.Connection) -> list[str]:
    """Returns the tables whose changes may pass, and why."""
    watched = [*captures.list_captures(conn), *guards.list_guards(conn)]
    return [f"{each.table} {each.problem}" for each in watched if each.problem]
