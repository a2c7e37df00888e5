"""Anchors behind HTTP: what is sent, what counts as taken, and what comes back."""

import re
import socket
from collections.abc import Iterator

import pytest

from pgaudit.errors import AnchorFailed, InvalidNote
from pgaudit.sealing.anchors.endpoint import Endpoint
from tests.support.anchor_servers import Inbox, Reply, Request, serving, serving_bytes
from tests.support.anchors import anchor_of, checkpoint, submit

TOKEN = "hunter2"


@pytest.fixture
def inbox() -> Inbox:
    """What the endpoint keeps."""
    return Inbox()


@pytest.fixture
def endpoint(inbox: Inbox) -> Iterator[Endpoint]:
    """An anchor on the endpoint, with a token."""
    with serving(inbox.answer) as url:
        yield anchor_of(with_token(f"{url}/claims?sig=a%2Bb"), Endpoint)


def with_token(url: str) -> str:
    """Returns the URL with the token of the tests."""
    return url.replace("http://", f"http://{TOKEN}@")


def test_a_checkpoint_is_posted_and_read_back(endpoint: Endpoint, inbox: Inbox) -> None:
    """The note is posted as it is, with the token and the query; GET returns all notes."""
    for size in (7, 9):
        submit(endpoint, checkpoint(size))
    request = inbox.requests[0]
    sent = (request.method, request.path, request.headers["Content-Type"], request.headers["Authorization"])
    assert sent == ("POST", "/claims?sig=a%2Bb", "text/plain; charset=utf-8", f"Bearer {TOKEN}")
    assert inbox.notes == [str(checkpoint(7)), str(checkpoint(9))]
    assert list(endpoint.read()) == [checkpoint(7), checkpoint(9)]


@pytest.mark.parametrize("status", [202, 250])
def test_each_status_of_success_counts(endpoint: Endpoint, inbox: Inbox, status: int) -> None:
    """2xx is success."""
    inbox.status = status
    submit(endpoint, checkpoint(7))


@pytest.mark.parametrize(("status", "shown"), [(401, "401 Unauthorized"), (500, "500 Internal"), (599, "599")])
def test_another_status_is_a_failure(endpoint: Endpoint, inbox: Inbox, status: int, shown: str) -> None:
    """The answer, which quotes the token, is not repeated."""
    inbox.status = status
    with pytest.raises(AnchorFailed, match=f"it answers {shown}") as failure:
        submit(endpoint, checkpoint(7))
    assert TOKEN not in str(failure.value)
    assert inbox.notes == []


def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    """A GET of the new place would answer 200 although nothing was written, and would show it the token."""
    seen = list[Request]()

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply(302, headers={"Location": "/elsewhere"}) if request.path != "/elsewhere" else Reply()

    with serving(answer) as url, pytest.raises(AnchorFailed, match="302 Found"):
        submit(anchor_of(with_token(url), Endpoint), checkpoint(7))
    assert [request.path for request in seen] == ["/"]


def test_a_server_that_is_down_or_speaks_no_http_is_a_failure() -> None:
    """The message says why, without the URL and what the server said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(AnchorFailed, match=r"^it does not answer: Connection refused$"):
        submit(anchor_of(f"http://{TOKEN}@127.0.0.1:{port}/", Endpoint), checkpoint(7))
    with (
        serving_bytes(f"{TOKEN}\r\n\r\n".encode()) as url,
        pytest.raises(AnchorFailed, match=r"answer: BadStatusLine$"),
    ):
        submit(anchor_of(url, Endpoint), checkpoint(7))


def test_a_slow_server_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a time limit for connecting and for each read."""
    monkeypatch.setattr("pgaudit.sealing.anchors.transport.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it never accepts
        anchor = anchor_of(f"http://127.0.0.1:{listener.getsockname()[1]}/", Endpoint)
        with pytest.raises(AnchorFailed, match="nothing within"):
            submit(anchor, checkpoint(7))


def test_an_endless_answer_is_a_failure() -> None:
    """No more than 64 KiB are read of an answer."""
    with (
        serving(lambda _: Reply(body=b"x" * 70_000)) as url,
        pytest.raises(AnchorFailed, match="more than 65,536 bytes"),
    ):
        submit(anchor_of(url, Endpoint), checkpoint(7))


@pytest.mark.parametrize("body", [b"<html>\n</html>\n", b"\xff\n", b"line\n" * 300])
def test_what_is_no_list_of_notes_cannot_be_read(body: bytes) -> None:
    """An endpoint that answers GET with something else has nothing to compare."""
    with serving(lambda _: Reply(body=body)) as url, pytest.raises(InvalidNote, match=r"not a (signed note|list)"):
        list(anchor_of(url, Endpoint).read())


def test_an_endpoint_that_lists_nothing_says_so() -> None:
    """Most endpoints only take notes."""
    with (
        serving(lambda _: Reply(405)) as url,
        pytest.raises(AnchorFailed, match=re.escape("it cannot be read: it answers 405 Method Not Allowed")),
    ):
        list(anchor_of(url, Endpoint).read())
