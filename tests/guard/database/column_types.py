"""A table with a column of each type, and values of each."""

from typing import Final, LiteralString

TYPES: Final[LiteralString] = """
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN iban AS text CHECK (length(VALUE) < 40);
    CREATE TYPE address AS (street text, number integer, since timestamptz);
    CREATE DOMAIN home AS address;
    CREATE TYPE floatrange AS RANGE (subtype = float8);
"""
# For each type some values that are close to each other, or hard to write.
VALUES: Final[dict[LiteralString, tuple[LiteralString, ...]]] = {
    "boolean": ("true", "false"),
    "smallint": ("0", "-32768"),
    "integer": ("1", "2147483647"),
    "bigint": ("7", "9223372036854775807"),
    "numeric": ("1.0", "1.00", "'NaN'", "'-Infinity'", "1e-20", "12345678901234567890.123456789", "'1e900'"),
    "numeric(12,2)": ("0.10", "-9999999999.99", "'NaN'"),
    "real": ("0.1", "'-0'", "'NaN'", "3.4e38"),
    "double precision": ("0.1", "0", "'-0'", "'Infinity'", "1e-300", "0.30000000000000004"),
    "money": ("12.34", "-0.01"),
    "text": ("''", "'a'", "'A'", "'quote \" and \\ and newline\n'", "'ä𝄞\u2028'", "'{\"a\": 1}'", "'null'", "'***'"),
    'text COLLATE "C"': ("'x'", "'X'"),
    "varchar(20)": ("'short'", "' '"),
    "char(5)": ("'a'", "'b'"),
    '"char"': ("'c'", "'\\001'"),
    "name": ("'n'", "'N'"),
    "iban": ("'DE02120300000000202051'", "'x'"),
    "mood": ("'sad'", "'happy'"),
    "uuid": ("'0190a5b4-7c3e-7d3a-8f00-0123456789ab'", "'00000000-0000-0000-0000-000000000000'"),
    "bytea": ("'\\x'", "'\\x00ff'", "'\\x5c'"),
    "date": ("'2026-02-28'", "'infinity'", "'4713-01-01 BC'"),
    "time": ("'12:00'", "'24:00'", "'00:00:00.000001'"),
    "timetz": ("'12:00+02'", "'12:00+03'"),
    "timestamp": ("'2026-01-01 00:00'", "'-infinity'", "'2026-01-01 00:00:00.000001'"),
    "timestamptz": ("'2026-01-01 00:00+02'", "'infinity'", "'0044-03-15 BC'", "'2026-06-30 23:59:59.999999Z'"),
    "interval": ("'1 day'", "'24 hours'", "'1 mon -3 days 00:00:01.5'"),
    "json": ('\'{"b": 1, "a": [1, 2.50]}\'', "'{\"b\":1}'", "'null'", "'\"text\"'"),
    "jsonb": ("'{}'", '\'{"a": {"b": [null, true, 1.10]}}\'', "'1'", "'null'"),
    "inet": ("'10.0.0.1'", "'10.0.0.1/8'", "'::1'"),
    "cidr": ("'10.0.0.0/8'",),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "bit(3)": ("'101'", "'000'"),
    "varbit": ("''", "'1'"),
    "point": ("'(1,2)'", "'(1,-0)'"),
    "box": ("'(2,2),(0,0)'", "'(4,1),(0,0)'"),
    "polygon": ("'((0,0),(1,1),(2,0))'", "'((1,1),(2,0),(0,0))'"),
    "circle": ("'<(0,0),1>'",),
    "tsvector": ("'a:1 b:2'", "''"),
    "tsquery": ("'a & b'",),
    "xid8": ("'7'",),
    "oid": ("1", "4294967295"),
    "pg_lsn": ("'16/B374D848'",),
    "jsonpath": ("'$.a'",),
    "int4range": ("'[1,5)'", "'empty'", "'(,)'"),
    "numrange": ("'[1.0,2]'", "'[1.00,2]'"),
    "tstzrange": ("'[2026-01-01 00:00+02,)'",),
    "floatrange": ("'[0.1,0.2)'",),
    "int4multirange": ("'{[1,3),[5,7)}'", "'{}'"),
    "text[]": ("'{}'", "'{a,NULL,\"b,c\"}'", "'[2:3]={x,y}'"),
    "numeric[]": ("'{1.0,NaN}'", "'{{1,2},{3,4}}'"),
    "timestamptz[]": ("'{2026-01-01 00:00+02}'",),
    "bytea[]": ("'{\"\\\\x00\"}'",),
    "jsonb[]": ("ARRAY['{\"a\": 1}']::jsonb[]",),
    "address": ("ROW('a', 1, '2026-01-01 00:00+02')", "ROW(NULL, NULL, NULL)", "ROW('', NULL, NULL)"),
    "address[]": ("ARRAY[ROW('a', 1, NULL)]::address[]",),
    "home": ("ROW('b', 2, NULL)::address",),
    "regclass": ("'pg_class'",),
}
NAMES: Final = {f"c{number}": kind for number, kind in enumerate(VALUES)}
COLUMNS: Final = ", ".join(f"{name} {kind}" for name, kind in NAMES.items())
TABLE: Final = f'id bigint, {COLUMNS}, total numeric GENERATED ALWAYS AS (c5 * 2) STORED, "odd "" näme" text'
