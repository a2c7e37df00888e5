"""``pgaudit stream``: where events are sent after they are in the log."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal, Self

import typer
from rich.text import Text

from pgaudit import streams
from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, cell, print_indented, print_json, print_rows
from pgaudit.cli.terminal import say
from pgaudit.streams import Stream

app = typer.Typer(
    help="Send what is in the log to other systems, and see how far each of them is.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Name of the stream.")]
INDENT: Final = 14


@dataclass(frozen=True, slots=True)
class Line:
    """A stream in a list."""

    name: str
    state: str
    to: str
    next_index: int
    lag_events: int
    lag_seconds: float
    parked: int
    problem: str | None

    @classmethod
    def of(cls, stream: Stream) -> Self:
        """The line of a stream."""
        to = (stream.url or "").partition("?")[0]
        return cls(
            stream.name, stream.state, to, stream.next_index, stream.lag_events, stream.lag_seconds, stream.parked,
            problem_of(stream),
        )  # fmt: skip


@app.command()
def add(  # noqa: PLR0913 - each is an option
    name: Name,
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where to: file:/DIRECTORY, https://…, splunk+https://…, datadog+https://…, otlp+https://…, "
            "smtp+starttls://…, syslog+tls://…, s3://…, parquet:/DIRECTORY, nats://…, kafka://…, or report+… for daily "
            "reports. The guide to streams has the options of each.",
        ),
    ],
    match: Annotated[
        str, typer.Option(metavar="QUERY", help="Which events, as for `pgaudit search`, without times; all by default.")
    ] = "",
    start: Annotated[
        str, typer.Option("--from", metavar="now|beginning|INDEX", help="The first event: the next one, or an old one.")
    ] = "now",
    form: Annotated[
        Literal["native", "cloudevents", "ocsf", "ecs"], typer.Option(help="The form of the events.")
    ] = "native",
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Let later events of a target wait behind one that was refused.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow a destination in a private network.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Send events to a destination from now on; with --from also those that are in the log already.

    Adding a stream is an event itself. A URL never holds a secret,
    but names where it is: token=env:VARIABLE, or token=file:/PATH.
    """
    first = start_of(start)
    with connect("owner") as conn, conn.transaction():
        stream = streams.add(
            conn, name, to=to, query=match, start=first, form=form, ordered=ordered, allow_private=allow_private
        )
        streams.note_added(conn, stream)
    report(
        stream, f"{name} begins with the event at index {stream.next_index}. Try it: pgaudit stream test {name}", json
    )


def start_of(text: str) -> int | None:
    """Returns the index of the first event; None for the next one that is appended.

    :raises typer.BadParameter: the text says nothing of the kind.
    """
    if text in {"now", "beginning"}:
        return None if text == "now" else 0
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"--from is now, beginning or an index, and not {text!r}")
    return int(text)


@app.command("list")
def list_(*, json: AsJson = False) -> None:
    """List the streams, and how far each is. They are active, failing or paused; the list says why."""
    with connect("reader") as conn:
        found = streams.listed(conn)
    if json:
        print_json([asdict(stream) for stream in found])
    elif not found:
        say("There is no stream: add one with pgaudit stream add NAME --to URL.")
    else:
        print_rows(Line, [Line.of(stream) for stream in found], as_json=False)


@app.command()
def show(name: Name, *, json: AsJson = False) -> None:
    """Show where a stream goes, how far it is, at which rate, and why it does not go on."""
    with connect("reader") as conn:
        stream = streams.found(conn, name)
    if json:
        print_json(asdict(stream))
        return
    for title, value in facts(stream):
        print_indented(cell(value), INDENT, title)


@app.command()
def remove(name: Name, *, json: AsJson = False) -> None:
    """Remove a stream with its position, history and parked events. This is an event itself."""
    with connect("owner") as conn, conn.transaction():
        stream = streams.found(conn, name)
        streams.remove(conn, name)
        streams.note_removed(conn, stream)
    if json:
        print_json({"removed": name})
    else:
        say(f"{name} is removed. It had come to index {stream.next_index}.")


def facts(stream: Stream) -> Iterator[tuple[str, Any]]:
    """Yields what there is to say of a stream, each with its title."""
    yield "name", stream.name
    yield "state", stream.state
    yield "problem", problem_of(stream)
    yield "to", stream.url
    yield "match", stream.query or "every event"
    yield "form", stream.form + (", in order of each target" if stream.ordered else "")
    yield "next index", stream.next_index
    yield "behind", f"{stream.lag_events:,} events, {stream.lag_seconds:,.0f} s"
    yield "delivered", f"{stream.delivered:,} events, {stream.events_per_second:,.1f}/s in the last 5 minutes"
    yield "last", stream.delivered_at
    yield "failures", f"{stream.failures_last_day:,} in the last day"
    yield "parked", stream.parked
    yield "replay", replay_of(stream)
    yield "added", Text(f"by {stream.added_by} at {cell(stream.added_at)}").plain


def problem_of(stream: Stream) -> str | None:
    """Returns why a stream is paused or failing; None while it is neither."""
    if stream.state == "paused":
        return f"paused by {stream.paused_by} ({stream.pause_kind}): {stream.pause_reason or 'no reason given'}"
    return stream.error


def replay_of(stream: Stream) -> str | None:
    """Returns how far a replay is; None without one."""
    if stream.replay_from is None:
        return None
    error = f"; {stream.replay_error}" if stream.replay_error else ""
    return f"{stream.replay_from} to {stream.replay_to}, next {stream.replay_next}{error}"


def report(stream: Stream, sentence: str, in_json: bool) -> None:  # noqa: FBT001 - the last of each command
    """Prints a sentence about a stream, or the stream as JSON."""
    if in_json:
        print_json(asdict(stream))
    else:
        say(sentence)
