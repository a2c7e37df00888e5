"""What the middlewares take from headers and peers, which they trust as little as possible."""

from ipaddress import ip_network
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgaudit import Settings
from pgaudit.middleware.request import client_address, context_of, headers_of, request_id, trace_of
from pgaudit.recording.context import Request

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize("given", ["r-1", "a b", "x" * 200, "~!@#"])
def test_a_printable_request_id_is_used(given: str) -> None:
    """A printable request id is used as it is."""
    assert request_id(given) == given


@pytest.mark.parametrize("given", ["", "  ", "x" * 201, "r\n1", "r\0", "é", "\x7f"])
def test_any_other_request_id_is_replaced(given: str) -> None:
    """A missing, too long or unprintable request id is replaced by a UUID."""
    made = request_id(given)
    assert str(UUID(made)) == made
    assert request_id(given) != made


@pytest.mark.parametrize(
    "header",
    [f"00-{TRACE}-{SPAN}-01", f" 00-{TRACE}-{SPAN}-00\t", f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-later"],
)
def test_a_valid_traceparent_is_used(header: str) -> None:
    """Version 00 is read completely, later versions as far as they are known."""
    assert trace_of(header) == {"trace_id": TRACE, "span_id": SPAN}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-later",
        f"cc-{TRACE}-{SPAN}-01later",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_is_ignored(header: str) -> None:
    """Version ff, ids of zeros, upper case, something appended to version 00, two headers."""
    assert trace_of(header) == {}


def test_no_proxy_is_trusted_by_default() -> None:
    """Without trusted proxies the peer is the client, whatever the headers say."""
    assert client_address("10.0.0.1", "203.0.113.9", []) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "6.6.6.6, nonsense, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "\0, \ud800", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("fd00::1", "2001:DB8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "", "fe80::1"),
        ("", "203.0.113.9", None),
        (None, "203.0.113.9", None),
        ("/run/app.sock", "203.0.113.9", None),
    ],
)
def test_the_client_is_the_nearest_address_of_no_trusted_proxy(
    peer: str | None, forwarded: str, expected: str | None
) -> None:
    """Addresses are read from the right, until one is no trusted proxy or no address."""
    assert client_address(peer, forwarded, PROXIES) == expected


def test_a_user_agent_is_cut_and_cleaned() -> None:
    """500 characters, none of them a control character."""
    known = context_of(None, {"user-agent": "A\0g\x85ent\ud800/1" + "x" * 1_000}, Settings())
    assert known["user_agent"] == "Agent/1" + "x" * 493


def test_what_is_not_known_is_left_out() -> None:
    """Only the request's id always is."""
    assert set(context_of(None, {}, Settings())) == {"request_id"}


def test_headers_are_found_in_an_environ() -> None:
    """Headers are read by their CGI names, and no other ones than those that are used."""
    environ = {"HTTP_X_REQUEST_ID": "r-1", "HTTP_USER_AGENT": "Agent", "HTTP_COOKIE": "secret", "REMOTE_ADDR": "::1"}
    assert headers_of(environ) == {"x-request-id": "r-1", "user-agent": "Agent"}


@given(st.dictionaries(st.sampled_from(["x-request-id", "traceparent", "x-forwarded-for", "user-agent"]), st.text()))
def test_no_header_breaks_a_request(headers: dict[str, str]) -> None:
    """Headers with any text give a context that can be bound."""
    Request(context_of("10.0.0.1", headers, Settings(trusted_proxies=PROXIES)))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("203.0.113.9", "203.0.113.0"), ("2001:db8:1:2::9", "2001:db8:1::"), ("::ffff:203.0.113.9", "203.0.113.0")],
)
def test_an_address_is_shortened_or_left_out(address: str, expected: str) -> None:
    """PGAUDIT_CLIENT_ADDRESS keeps the network of a client's address, or nothing."""
    kept = [context_of(address, {}, Settings(client_address=how)).get("ip") for how in ("network", "none")]
    assert kept == [expected, None]


def test_a_user_agent_is_shortened_or_left_out() -> None:
    """PGAUDIT_USER_AGENT_LENGTH is the maximum length; 0 leaves the user agent out."""
    headers = {"user-agent": "Agent/1"}
    kept = [context_of(None, headers, Settings(user_agent_length=length)).get("user_agent") for length in (5, 0)]
    assert kept == ["Agent", None]
