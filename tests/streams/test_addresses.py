"""Where a stream may connect to: the public internet, unless private addresses are allowed; checked once, and used."""

import time
from pathlib import Path

import psycopg
import pytest

from pgaudit import streams
from pgaudit.streams.destinations import http_connections
from pgaudit.streams.destinations.addresses import is_public, resolve
from pgaudit.streams.destinations.http_client import open_client
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from tests.support.names import Names
from tests.support.receivers import Authority, Reply, Request, request_to, serving
from tests.support.streams import append, send_all

NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.1", "192.0.2.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "192.88.99.1", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254",
    "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "2002:7f00:1::", "2001::1", "100::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.63.255.255", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public(address: str) -> None:
    """Private, loopback, link-local, metadata, shared, multicast, reserved: also as an address of IPv6 around it."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    """Also behind a translator from IPv6."""
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "127.1", "::1", "0"])
def test_every_spelling_of_a_private_address_is_refused(host: str) -> None:
    """What the system makes of the name is what counts."""
    with pytest.raises(DestinationRefused, match=r"an address that is not public: .*--allow-private"):
        resolve(host, 443, allow_private=False)
    assert resolve(host, 443, allow_private=True)


def test_a_name_that_does_not_exist() -> None:
    """It may exist later: the stream is not paused."""
    with pytest.raises(DeliveryFailed, match=r"the name siem.invalid cannot be looked up") as raised:
        resolve("siem.invalid", 443, allow_private=False)
    assert not isinstance(raised.value, DestinationRefused)


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever comes first: nothing is connected to."""
    Names(monkeypatch, "siem.example", ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(DestinationRefused, match=r"siem.example is 10.0.0.1"):
        resolve("siem.example", 443, allow_private=False)


def test_a_name_that_changes_its_address_after_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DNS rebinding: the name is public when it is checked, and would be this machine a moment later."""
    monkeypatch.setattr(http_connections, "CONNECT_SECONDS", 0.3)
    inside: list[Request] = []

    def record(request: Request) -> Reply:
        inside.append(request)
        return Reply()

    authority = Authority(tmp_path, "siem.example")
    with serving(record, authority) as url:
        names = Names(monkeypatch, "siem.example", ["8.8.8.8"], ["127.0.0.1"])
        port = url.rpartition(":")[2]
        request = request_to(f"https://siem.example:{port}?secret=env:K&ca={authority.file}", allow_private=False)
        client = open_client(request)
        with pytest.raises(DeliveryFailed):
            client.post("/", b"{}", {})
        assert names.asked == 1
        with pytest.raises(DestinationRefused, match=r"siem.example is 127.0.0.1"):
            client.post("/", b"{}", {})
        client.close()
    assert inside == []


def test_the_connection_has_the_name_although_it_goes_to_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server sees the name in the handshake and in ``Host``, and its certificate is checked against the name."""
    seen: list[Request] = []

    def record(request: Request) -> Reply:
        seen.append(request)
        return Reply()

    authority = Authority(tmp_path, "siem.example")
    with serving(record, authority) as url:
        Names(monkeypatch, "siem.example", ["127.0.0.1"])
        place = f"siem.example:{url.rpartition(':')[2]}"
        client = open_client(request_to(f"https://{place}?secret=env:KEY&ca={authority.file}"))
        assert client.post("/audit", b"{}", {}).is_success
        client.close()
    assert [(request.headers["host"], request.server_name) for request in seen] == [(place, "siem.example")]


def test_the_next_address_is_tried_within_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host with two addresses, one of which is dead, the other one is found."""
    monkeypatch.setattr(http_connections, "CONNECT_SECONDS", 2.0)
    with serving(lambda _: Reply()) as url:
        Names(monkeypatch, "siem.example", ["192.0.2.1", "127.0.0.1"])
        started = time.monotonic()
        client = open_client(request_to(f"http://siem.example:{url.rpartition(':')[2]}?secret=env:KEY"))
        assert client.post("/", b"{}", {}).is_success
        client.close()
        assert time.monotonic() - started < 2.0


def test_a_stream_to_a_private_address_is_paused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent before its owner says that the address is meant."""
    monkeypatch.setenv("KEY", "whsec_" + "A" * 32)
    append(dsn, 1)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "inside", to="https://169.254.169.254/latest?secret=env:KEY", start=0)
        send_all(dsn, "inside")
        found = streams.get_stream(conn, "inside")
    assert (found.state, found.next_index) == ("paused", 0)
    assert found.pause_reason is not None
    assert "169.254.169.254 is an address that is not public" in found.pause_reason
