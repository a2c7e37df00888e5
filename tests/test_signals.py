"""Signals: which receivers, in the process, hear what happens in a worker."""

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
    """A signal that nobody is connected to."""
    return WorkerSignal("something_happened", logging.WARNING, "something happened to %(job_id)d")


class Receiver:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, **details: Any) -> None:
        self.told.append((name, details))

    def hear(self, name: str, **details: Any) -> None:
        """A method does, too."""
        self(name, **details)


def test_receivers_are_told_until_they_are_disconnected(signal: WorkerSignal) -> None:
    """Once each, with the signal's name and the details."""
    first, second = Receiver(), Receiver()
    for receiver in (first, second, second):
        assert signal.connect(receiver) is receiver
    signal.send(job_id=7)
    signal.disconnect(second)
    signal.disconnect(second)
    signal.send(job_id=8)
    assert first.told == [("something_happened", {"job_id": 7}), ("something_happened", {"job_id": 8})]
    assert second.told == first.told[:1]


def test_connect_is_a_decorator(signal: WorkerSignal) -> None:
    """And what it decorates stays what it was."""
    told: list[int] = []

    @signal.connect
    def receiver(_name: str, *, job_id: int) -> None:
        told.append(job_id)

    signal.send(job_id=7)
    receiver("called", job_id=8)
    assert told == [7, 8]


def test_a_receiver_is_kept_alive_unless_it_is_weak(signal: WorkerSignal) -> None:
    """A weak one hears signals for as long as something else holds it; a method, its object."""
    told: list[str] = []
    kept, dropped = Receiver(), Receiver()
    signal.connect(lambda *_, **__: told.append("strong"))
    signal.connect(kept.hear, weak=True)
    signal.connect(dropped, weak=True)
    del dropped
    gc.collect()
    signal.send(job_id=7)
    assert told == ["strong"]
    assert len(kept.told) == 1
    signal.disconnect(kept.hear)
    signal.send(job_id=8)
    assert len(kept.told) == 1


def test_a_receiver_that_raises_disturbs_nobody(signal: WorkerSignal, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, and the others are told."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of pagers")

    receiver = Receiver()
    signal.connect(broken)
    signal.connect(receiver)
    signal.send(job_id=7)
    assert len(receiver.told) == 1
    (entry,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert entry.__dict__["action"] == "receiver_failed"
    assert entry.__dict__["signal"] == "something_happened"
    assert "out of pagers" in caplog.text


async def page(*_: Any, **__: Any) -> None:
    """A receiver that its sender would have to await."""


class Pager:
    """Another one."""

    async def __call__(self, *_: Any, **__: Any) -> None:
        """As above."""


@pytest.mark.parametrize("receiver", [page, partial(page, 7), Pager(), Pager().__call__])
def test_an_asynchronous_receiver_is_refused(signal: WorkerSignal, receiver: Callable[..., Any]) -> None:
    """Nobody would await it, and no alert would ever come."""
    with pytest.raises(TypeError, match="asynchronous"):
        signal.connect(receiver)
    assert not signal.receivers


def test_what_blinker_offers_for_tests_works(signal: WorkerSignal, caplog: pytest.LogCaptureFixture) -> None:
    """Connected for a block, and muted for one: then the line of the log is all."""
    receiver = Receiver()
    with signal.connected_to(receiver):
        signal.send(job_id=7)
        with signal.muted():
            signal.send(job_id=8)
    signal.send(job_id=9)
    assert [details["job_id"] for _, details in receiver.told] == [7]
    assert len(caplog.records) == 3


def test_a_signal_is_one_line_of_the_log(signal: WorkerSignal, caplog: pytest.LogCaptureFixture) -> None:
    """Its details are attributes of the record, ready for JSON, with its name as the action."""
    signal.send(job_id=7, sqlstate=None)
    (entry,) = caplog.records
    assert entry.name == "pgaudit.worker"
    assert entry.levelname == "WARNING"
    assert entry.getMessage() == "something happened to 7"
    details = {name: entry.__dict__[name] for name in ("action", "job_id", "sqlstate")}
    assert json.loads(json.dumps(details)) == {"action": "something_happened", "job_id": 7, "sqlstate": None}
