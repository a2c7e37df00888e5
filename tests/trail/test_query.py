"""The text form of a query: what is written is what is read, and a mistake is named with its place."""

import json

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgaudit import trail
from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query, Term, parse
from pgaudit.trail.fields import FIELDS, TIMES
from pgaudit.trail.query import LONGEST, MOST_TERMS
from tests.trail.conftest import EVENTS
from tests.trail.oracle import matching

# Text that an event can have: no NUL, no surrogate.
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=12)
KEYS = st.text(st.sampled_from("aäZ0_-$'\\{}日😀"), min_size=1, max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.just(""),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=5,
)
JSON_OBJECTS = st.builds(json.dumps, st.dictionaries(TEXTS, JSON, max_size=3), indent=st.sampled_from([None, 1]))
VALUES = {
    "id": st.uuids().map(str),
    "action": st.sampled_from(["claim.approved", "claim.*", "*", "a.b_c.d9"]),
    "actor": st.builds("{}:{}".format, TEXTS.filter(lambda text: ":" not in text), TEXTS),
    "target": st.builds("{}:{}".format, TEXTS.filter(lambda text: ":" not in text), TEXTS),
    "outcome": st.sampled_from(["success", "failure", "denied"]),
    "data": JSON_OBJECTS | JSON_OBJECTS.map(lambda text: f" {text}\n"),
    "changes": JSON_OBJECTS | TEXTS.filter(lambda text: text[0] not in "{["),
} | dict.fromkeys(TIMES, st.datetimes().map(lambda moment: moment.isoformat()) | st.sampled_from(["7d", "90s"]))
NAMES = st.sampled_from(list(FIELDS)) | st.lists(KEYS, min_size=1, max_size=3).map(
    lambda keys: f"data.{'.'.join(keys)}"
)


@st.composite
def terms(draw: st.DrawFn) -> Term:
    """Returns a term of any field."""
    field = draw(NAMES)
    values = VALUES.get(field, TEXTS)
    if field in TIMES:
        return Term(field, (draw(values),))
    return Term(field, tuple(draw(st.lists(values, min_size=1, max_size=3))), draw(st.booleans()))


QUERIES = st.lists(terms(), max_size=4).map(lambda found: Query(tuple(found)))


@given(QUERIES.filter(lambda query: len(str(query)) <= LONGEST))
def test_the_text_of_a_query_is_read_as_the_same_query(query: Query) -> None:
    """Whatever a value holds, its text form stands for that value."""
    assert parse(str(query)) == query


PIECES = st.sampled_from(
    [
        *FIELDS,
        "data.a",
        "-",
        ":",
        ",",
        " ",
        '"',
        "\\",
        "{",
        "}",
        "[",
        '{"a": 1e9999999}',
        '"\\ud800"',
        "NaN",
        "2026",
        "7d",
        "*",
    ]
)


@given(st.text() | st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
@example("after:0001-01-01T00:00+14:00")
@example("after:2026-03-01\ud80012:00")
@example("data.\ud800:x")
@example("data:" + '{"a":' * 700)
@example("data:" + '{"a":' * 120 + "1" + "}" * 120)
@example("data:" + "[" * LONGEST)
@example('data:{"a":1e99999999999999999999}')
@example("id:{00000000-0000-7000-8000-000000000000}")
@example("id:0000_0000-0000-7000-8000-000000000000")
def test_any_text_is_a_query_or_refused_with_a_place(text: str) -> None:
    """What cannot be understood raises InvalidQuery and nothing else; its place is in the text or at its end."""
    read = parsed(text)
    if isinstance(read, Query):
        assert parse(str(read)) == read
    else:
        assert read.position in range(len(text) + 1)
        line, caret = read.marked.split("\n")
        assert (len(line), caret) == (len(text), " " * (read.position or 0) + "^")


def parsed(text: str) -> Query | InvalidQuery:
    """Returns the query of a text, or why there is none."""
    try:
        return parse(text)
    except InvalidQuery as error:
        return error


@pytest.mark.parametrize(
    ("text", "pointed_at", "reason"),
    [
        ("action:claim.paid clam:7", "clam:7", "no field clam; for a thing or a person write target:clam:7"),
        ("action:claim.paid -tennant:x", "tennant:x", "no field tennant; did you mean tenant, or target:tennant:x?"),
        ("trade:7", "trade:7", "did you mean trace, or target:trade:7?"),
        ("Action:x", "Action:x", "did you mean action,"),
        ("since:7d", "since:7d", "did you mean after?"),
        ("tenant:north until:7d", "until:7d", "did you mean before?"),
        ("claim.paid", "claim.paid", "write each part of a query as field:value"),
        ("tenant:North Sea", "Sea", 'a value with spaces stands in double quotes: tenant:"North Sea"'),
        ('"tenant:x"', '"tenant:x"', "write each part of a query as field:value"),
        ("- tenant:x", " tenant:x", "write each part of a query as field:value"),
        ("tenant: x", " x", "tenant: a value is missing here"),
        ("tenant:", "", "tenant: a value is missing here"),
        ('tenant:""', '""', "tenant: the value is empty"),
        ("outcome:failure,,denied", ",denied", "outcome: a value is missing here"),
        ("outcome:failure,lost", "lost", "'lost' is not an outcome: write success, failure or denied"),
        ('tenant:"a b', '"a b', "the quote is not closed"),
        ('tenant:"a"b', "b", "a space is missing"),
        ('tenant:a"b"', '"b"', "a value with a quote in it stands in double quotes"),
        ("action:Claim", "Claim", "'Claim' is not an action: write claim.approved, or claim.*"),
        ("action:claim*", "claim*", "is not an action"),
        ("tenant:x target:claim", "claim", "'claim' is not of the form type:id"),
        ("id:7", "7", "'7' is not the id of an event"),
        ("after:soon", "soon", "'soon' is not a time: write it as 2026-03-01"),
        ("tenant:x -after:7d", "-after:7d", "after takes one time, and no minus"),
        ("before:7d,8d", "before:7d,8d", "before takes one time"),
        ('data:{"a":}', "}", "this is not JSON: expecting value"),
        ('data:{"a":NaN}', '{"a":NaN}', "data: NaN is not JSON"),
        ("data:[1]", "[1]", "data: write a JSON object"),
        ("data:7", "7", "data: write a JSON object"),
        ("changes:[1]", "[1]", "changes: write a path such as status"),
        ('data:{"a":"\\u0000"}', '{"a":"\\u0000"}', "no event can have the character U+0000"),
        ('data:{"a":1e20000}', '{"a":1e20000}', "1e20000 has more digits"),
        ("data:" + '{"a":' * 101 + "1" + "}" * 101, None, "nested too deeply"),
        ("data" + ".a" * 101 + ":1", "data" + ".a" * 101 + ":1", "nested so deeply"),
        ("data..a:1", "data..a:1", "there is no field data..a; a key of data.PATH has neither blanks"),
        ("tenant:a\x00", "\x00", "cannot contain the character NUL"),
        ("tenant:x" + " ip:1" * MOST_TERMS, "ip:1", f"at most {MOST_TERMS} parts"),
        ("ip:" + ",".join("1" * 101), None, "ip takes at most 100 alternatives"),
        ("tenant:" + "x" * LONGEST, "x" * 7, "at most 4,000 characters"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, pointed_at: str | None, reason: str) -> None:
    """The message says what to write, and the position is where it should stand."""
    with pytest.raises(InvalidQuery) as caught:
        parse(text)
    assert reason in str(caught.value)
    assert caught.value.position is not None
    if pointed_at is not None:
        assert text[caught.value.position :] == pointed_at
        assert str(caught.value).endswith(f", at character {caught.value.position + 1}")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        (" \t\n", ()),
        ("action:claim.*", (Term("action", ("claim.*",)),)),
        ("-outcome:success", (Term("outcome", ("success",), negated=True),)),
        ("outcome:failure,denied", (Term("outcome", ("failure", "denied")),)),
        (r'tenant:"a \"b\", \\c"', (Term("tenant", (r'a "b", \c',)),)),
        (r"tenant:a\b", (Term("tenant", (r"a\b",)),)),
        ('tenant:"a","b c",d', (Term("tenant", ("a", "b c", "d")),)),
        ("target:claim:7:x", (Term("target", ("claim:7:x",)),)),
        ("tenant:Zoë\u00a0ip:日本", (Term("tenant", ("Zoë",)), Term("ip", ("日本",)))),
        ('data:{"a": [1, "x y"]},{"b":2}', (Term("data", ('{"a": [1, "x y"]}', '{"b":2}')),)),
        ("data.a.b:1,2", (Term("data.a.b", ("1", "2")),)),
        ("changes:status", (Term("changes", ("status",)),)),
        ("tenant:-x", (Term("tenant", ("-x",)),)),
    ],
)
def test_a_text_is_read_as_its_terms(text: str, terms: tuple[Term, ...]) -> None:
    """Quotes, commas, minus and JSON have the meaning that the reference gives them."""
    assert parse(text).terms == terms


def test_a_term_made_in_code_is_checked_without_a_place() -> None:
    """A field or value that no search has is refused where the term is made."""
    for field, value in (("clam", "7"), ("data.a b", "7"), ("data.\ud800", "7"), ("action", "X"), ("tenant", "")):
        with pytest.raises(InvalidQuery) as caught:
            Term(field, (value,))
        assert (caught.value.position, caught.value.text, caught.value.marked) == (None, "", "")


@pytest.fixture(scope="module")
def entries(log: psycopg.Connection) -> list[trail.Entry]:
    """All entries of the log."""
    return trail.last(log, EVENTS)


@given(query=QUERIES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(query=parse('data:{"a":1e16000}'))
@example(query=parse('changes:{"after":1e400}'))
@example(query=parse("data.\\'{}:1"))
def test_postgres_takes_every_query(log: psycopg.Connection, entries: list[trail.Entry], query: Query) -> None:
    """What the parser accepts, the database accepts, too, and finds what it means."""
    page = trail.search(log, query, limit=5)
    assert [entry.index for entry in page.entries] == matching(entries, query)[:5]
