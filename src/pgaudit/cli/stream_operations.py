"""Operates a stream: pause, resume, rewind, replay, retry and discard parked events, test."""

import time
from typing import Annotated, Final

import psycopg
import typer

from pgaudit import streams
from pgaudit.cli.database import connect
from pgaudit.cli.output import BIGINT, AsJson, print_json
from pgaudit.cli.progress import Progress
from pgaudit.cli.stream import Name, print_result
from pgaudit.cli.terminal import say
from pgaudit.streams import Stream

LOOK_EVERY_SECONDS: Final = 0.5
Index = Annotated[int, typer.Argument(min=0, max=BIGINT, help="Index of an event in the log.")]
Reason = Annotated[str, typer.Option(help="Why; recorded with your database role.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (pause, resume, rewind, replay, stop_replay, retry, discard):
        app.command(command.__name__.replace("_", "-"))(command)
    app.command("test")(probe)


def pause(
    name: Name,
    *,
    reason: Annotated[str | None, typer.Option(help="Why; shown with the stream.")] = None,
    json: AsJson = False,
) -> None:
    """Pause a stream. Nothing is lost: it continues where it stopped. The pause is recorded as an event."""
    with connect("operator") as conn:
        streams.pause(conn, name, reason)
        stream = streams.found(conn, name)
    print_result(stream, f"{name} is paused. It will continue with the event at index {stream.next_index}.", json=json)


def resume(name: Name, *, json: AsJson = False) -> None:
    """Resume a stream, and try to send at once. This is recorded as an event."""
    with connect("operator") as conn:
        streams.resume(conn, name)
        stream = streams.found(conn, name)
    print_result(stream, f"{name} continues with the event at index {stream.next_index}.", json=json)


def rewind(name: Name, index: Index, *, json: AsJson = False) -> None:
    """Move a stream to another event of the log.

    To an earlier event: all events from there on are sent again. To a later one: the events in between are never sent.
    Waits for the chunk that is being sent. To send only a range again, use replay.
    """
    with connect("operator") as conn:
        streams.rewind(conn, name, index)
        stream = streams.found(conn, name)
    sentence = f"{name} continues with the event at index {index}: {stream.lag_events:,} to look at."
    paused = f" It is paused, until you run: pgaudit stream resume {name}" if stream.state == "paused" else ""
    print_result(stream, sentence + paused, json=json)


def replay(
    name: Name,
    first: Annotated[int, typer.Argument(min=0, max=BIGINT, help="Index of the first event to send again.")],
    last: Annotated[int, typer.Argument(min=0, max=BIGINT, help="Index of the last one.")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and show the progress.")] = False,
    json: AsJson = False,
) -> None:
    """Send a range of events again. New events are sent first; the stream keeps its position.

    Files, buckets and NATS, which keep each event once, are given what they lack.
    """
    with connect("operator") as conn:
        streams.replay(conn, name, first, last)
        stream = streams.found(conn, name)
        if wait:
            stream = ended(conn, stream, quiet=json)
    print_result(stream, f"{name} {'went' if wait else 'goes'} through index {first} to {last} again.", json=json)


def ended(conn: psycopg.Connection, stream: Stream, *, quiet: bool) -> Stream:
    """Returns the stream when its replay has ended; shows meanwhile how far it is."""
    progress = Progress(stream.replay_from or 0, (stream.replay_to or 0) + 1, quiet=quiet)
    while stream.replay_next is not None:
        waits = stream.replay_error or ("the stream is paused" if stream.state == "paused" else "")
        progress.show(stream.replay_next, waits or f"index {stream.replay_next:,}")
        time.sleep(LOOK_EVERY_SECONDS)
        stream = streams.found(conn, stream.name)
    progress.clear()
    return stream


def stop_replay(name: Name, *, json: AsJson = False) -> None:
    """Stop a replay. Exit with 1 if there is none."""
    with connect("operator") as conn:
        is_stopped = streams.stop_replay(conn, name)
    if json:
        print_json({"stopped": is_stopped})
    else:
        say(f"The replay of {name} is stopped." if is_stopped else f"There is no replay of {name}.")
    raise typer.Exit(0 if is_stopped else 1)


def retry(
    name: Name,
    *,
    index: Annotated[int | None, typer.Option(min=0, max=BIGINT, help="This event only.")] = None,
    json: AsJson = False,
) -> None:
    """Send parked events again: all, or one. Events that wait for them follow.

    Exit with 1 if the event of --index is not parked.
    """
    with connect("operator") as conn:
        retried = streams.retry(conn, name, index)
    if json:
        print_json({"retried": retried})
    elif index is not None and not retried:
        say(not_parked(name, index))
    else:
        say(f"{retried:,} parked event(s) of {name} are sent again.")
    raise typer.Exit(1 if index is not None and not retried else 0)


def discard(name: Name, index: Index, *, reason: Reason, json: AsJson = False) -> None:
    """Discard a parked event; events that wait for it are sent. This is recorded as an event."""
    with connect("operator") as conn:
        is_discarded = streams.discard(conn, name, index, reason)
    if json:
        print_json({"discarded": is_discarded})
    else:
        say(f"Event {index} is discarded: it will not be sent to {name}." if is_discarded else not_parked(name, index))
    raise typer.Exit(0 if is_discarded else 1)


def not_parked(name: str, index: int) -> str:
    """Returns what to do about an event that cannot be retried or discarded."""
    return f"Event {index} is not parked in {name}: pgaudit stream parked {name} lists the parked events."


def probe(name: Name, *, json: AsJson = False) -> None:
    """Send a test event to the destination of a stream.

    It is sent from this machine, with its secrets and its network. Files, buckets and brokers are only opened: nothing
    is written there. The stream keeps its position, and may be paused. Exit with 1 if the destination refuses the
    event.
    """
    from pgaudit.streams import probing  # noqa: PLC0415 - needs the packages of the destination

    if not json:
        say(f"Testing {name} …", error=True)  # a destination has up to half a minute to answer
    with connect("reader") as conn:
        stream = streams.found(conn, name)
    result = probing.probe(stream)
    if json:
        print_json({"result": result})
    else:
        say(f"{result}.")
