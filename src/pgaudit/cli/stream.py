"""``pgaudit stream``: where events are sent after they are in the log."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from pgaudit import streams
from pgaudit.cli.database import connect
from pgaudit.cli.output import AsJson, cell, print_indented, print_json, print_rows
from pgaudit.cli.stream_details import INDENT, StreamRow, facts
from pgaudit.cli.terminal import say
from pgaudit.streams import Stream

app = typer.Typer(
    help="Send what is in the log to other systems, and see how far each of them is.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Name of the stream.")]


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
    """Send events to a destination, from the next one on.

    With --from also events that are already in the log. A URL never contains a secret, only a reference to one:
    token=env:VARIABLE or token=file:/PATH. Adding a stream is recorded as an event.
    """
    first = start_of(start)
    with connect("owner") as conn, conn.transaction():
        stream = streams.add(
            conn, name, to=to, query=match, start=first, form=form, ordered=ordered, allow_private=allow_private
        )
        streams.note_added(conn, stream)
    print_result(
        stream,
        f"{name} begins with the event at index {stream.next_index}. Try it: pgaudit stream test {name}",
        json=json,
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
    """List the streams with their state and lag. A stream is active, failing or paused; the list says why."""
    with connect("reader") as conn:
        found = streams.list_streams(conn)
    if json:
        print_json([asdict(stream) for stream in found])
    elif not found:
        say("There is no stream: add one with pgaudit stream add NAME --to URL.")
    else:
        print_rows(StreamRow, [StreamRow.of(stream) for stream in found], as_json=False)


@app.command()
def show(name: Name, *, json: AsJson = False) -> None:
    """Show a stream. With its destination, position and rate, and why it does not send."""
    with connect("reader") as conn:
        stream = streams.get_stream(conn, name)
    if json:
        print_json(asdict(stream))
        return
    for title, value in facts(stream):
        print_indented(cell(value), INDENT, title)


@app.command()
def remove(name: Name, *, json: AsJson = False) -> None:
    """Remove a stream with its position, history and parked events. This is recorded as an event."""
    with connect("owner") as conn, conn.transaction():
        stream = streams.get_stream(conn, name)
        streams.remove(conn, name)
        streams.note_removed(conn, stream)
    if json:
        print_json({"removed": name})
    else:
        say(f"{name} is removed. Its next event would have been index {stream.next_index}.")


def print_result(stream: Stream, sentence: str, *, json: bool) -> None:
    """Prints a sentence about a stream, or the stream as JSON."""
    if json:
        print_json(asdict(stream))
    else:
        say(sentence)
