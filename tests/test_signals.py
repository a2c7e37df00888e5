"""Signals of workers: connecting receivers, and calling them."""

import gc
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pgaudit.signals import WorkerSignal


@pytest.fixture
def signal() -> WorkerSignal:
    """A signal without receivers."""
    return WorkerSignal("something_happened", logging.WARNING, "something happened to %(job_id)d")


class Receiver:
    """Collects what it receives."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, **details: Any) -> None:
        self.received.append((name, details))

    def receive(self, name: str, **details: Any) -> None:
        """Receives as a method does."""
        self(name, **details)


def test_a_receiver_is_called_until_it_is_disconnected(signal: WorkerSignal) -> None:
    """Each connected receiver is called once, with the signal's name and details."""
    first, second = Receiver(), Receiver()
    for receiver in (first, second, second):
        assert signal.connect(receiver) is receiver
    signal.send(job_id=7)
    signal.disconnect(second)
    signal.disconnect(second)
    signal.send(job_id=8)
    assert first.received == [("something_happened", {"job_id": 7}), ("something_happened", {"job_id": 8})]
    assert second.received == first.received[:1]


def test_connect_is_a_decorator(signal: WorkerSignal) -> None:
    """connect() returns the function that it decorates."""
    received: list[int] = []

    @signal.connect
    def receiver(_name: str, *, job_id: int) -> None:
        received.append(job_id)

    signal.send(job_id=7)
    receiver("called", job_id=8)
    assert received == [7, 8]


def test_a_receiver_is_kept_alive_unless_it_is_weak(signal: WorkerSignal) -> None:
    """A weak receiver is called as long as something else refers to it; of a method, to its object."""
    received: list[str] = []
    kept, dropped = Receiver(), Receiver()
    signal.connect(lambda *_, **__: received.append("strong"))
    signal.connect(kept.receive, weak=True)
    signal.connect(dropped, weak=True)
    del dropped
    gc.collect()
    signal.send(job_id=7)
    assert received == ["strong"]
    assert len(kept.received) == 1
    signal.disconnect(kept.receive)
    signal.send(job_id=8)
    assert len(kept.received) == 1


def test_a_receiver_that_raises_does_not_stop_the_others(
    signal: WorkerSignal, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged with its traceback, and the other receivers are called."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of pagers")

    receiver = Receiver()
    signal.connect(broken)
    signal.connect(receiver)
    signal.send(job_id=7)
    assert len(receiver.received) == 1
    (entry,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert entry.__dict__["action"] == "receiver_failed"
    assert entry.__dict__["signal"] == "something_happened"
    assert "out of pagers" in caplog.text


async def page(*_: Any, **__: Any) -> None:
    """A receiver that would have to be awaited."""


class Pager:
    """A callable object that would have to be awaited."""

    async def __call__(self, *_: Any, **__: Any) -> None:
        """As above."""


@pytest.mark.parametrize("receiver", [page, partial(page, 7), Pager(), Pager().__call__])
def test_an_asynchronous_receiver_is_refused(signal: WorkerSignal, receiver: Callable[..., Any]) -> None:
    """An asynchronous receiver would never be awaited, so connecting it raises TypeError."""
    with pytest.raises(TypeError, match="asynchronous"):
        signal.connect(receiver)
    assert not signal.receivers


def test_connected_to_and_muted_work(signal: WorkerSignal, caplog: pytest.LogCaptureFixture) -> None:
    """connected_to() connects for a block; muted() suppresses the receivers but not the line of the log."""
    receiver = Receiver()
    with signal.connected_to(receiver):
        signal.send(job_id=7)
        with signal.muted():
            signal.send(job_id=8)
    signal.send(job_id=9)
    assert [details["job_id"] for _, details in receiver.received] == [7]
    assert len(caplog.records) == 3


def test_a_signal_is_one_line_of_the_log(signal: WorkerSignal, caplog: pytest.LogCaptureFixture) -> None:
    """A signal is logged once, with its details as attributes of the record and its name as action."""
    signal.send(job_id=7, sqlstate=None)
    (entry,) = caplog.records
    assert entry.name == "pgaudit.worker"
    assert entry.levelname == "WARNING"
    assert entry.getMessage() == "something happened to 7"
    details = {name: entry.__dict__[name] for name in ("action", "job_id", "sqlstate")}
    assert json.loads(json.dumps(details)) == {"action": "something_happened", "job_id": 7, "sqlstate": None}
