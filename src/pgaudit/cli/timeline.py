"""``pgaudit timeline``: the events of one target, and the state that they tell."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from pgaudit import trail
from pgaudit._exact_json import to_json
from pgaudit.cli.database import connect
from pgaudit.cli.entries import INDENT, STYLES, change_of, print_cells
from pgaudit.cli.output import BIGINT, AsJson, console, in_utc, print_indented, print_json
from pgaudit.cli.terminal import end_with_reader, escaped, say
from pgaudit.trail import FieldDifference, Moment, Timeline, Told
from pgaudit.trail.fields import moment as time_of

WHEN: Final = "a time (ISO 8601, in UTC without an offset), an age such as 7d, or an index of the log"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(timeline)


def timeline(
    target: Annotated[str, typer.Argument(metavar="TYPE:ID", help="The thing, such as claim:7.")],
    *,
    as_of: Annotated[
        str | None, typer.Option(metavar="WHEN", help=f"Only what had occurred, or was in the log, by then: {WHEN}.")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="EARLIER LATER", help="Only what differs between two moments, each as for --as-of."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Print the events of a thing in the order of the log, and below them what they have told of its fields.

    A value that no event has told is not there. Of more than 20,000 events, the newest are read.
    """
    end_with_reader()
    if as_of and compare:
        raise typer.BadParameter("--as-of and --compare exclude each other")
    until = when(as_of) if as_of else None
    moments = [when(one) for one in compare or ()]
    with connect("reader") as conn:
        life = trail.timeline(conn, target)
        if life.stopped and until is not None:
            life = trail.timeline(conn, target, until)
    if moments:
        print_difference(life.difference(*moments), as_json=json)
    elif json:
        print_json(document_of(life, until))
    else:
        print_life(life, until)
    if life.stopped and not json:
        first = life.stopped.index
        say(f"Events before index {first} were not read; go on with --as-of {first - 1}.")


def when(text: str) -> datetime | int:
    """Returns a moment: a time, or an index of the log.

    :raises typer.BadParameter: it is neither.
    """
    if text.isascii() and text.isdigit() and int(text) <= BIGINT:
        return int(text)
    try:
        return time_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or as an index of the log") from None


def moments_of(life: Timeline, until: datetime | int | None) -> list[Moment]:
    """Returns the moments up to a time or an index."""
    if isinstance(until, datetime):
        return [moment for moment in life.moments if moment.occurred_at <= until]
    return [moment for moment in life.moments if until is None or moment.index <= until]


def document_of(life: Timeline, until: datetime | int | None) -> dict[str, Any]:
    """Returns a timeline for JSON."""
    return {
        "target": life.target,
        "moments": [asdict(moment) for moment in moments_of(life, until)],
        "state": {path: told_of(told) for path, told in life.state(until).items()},
        "stopped": life.stopped and asdict(life.stopped),
    }


def told_of(told: Told | None) -> dict[str, Any] | None:
    """Returns a field's value for JSON, with the indexes of its events."""
    if told is None:
        return None
    other = told.contradicted_by
    return {
        "value": told.value,
        "known": told.known,
        "by": told.by.index,
        "source": told.source,
        "contradicted_by": other and other.index,
    }


def print_life(life: Timeline, until: datetime | int | None) -> None:
    """Prints the events, and the state after them."""
    moments = moments_of(life, until)
    if not moments:
        say("No event of the log has this target.")
    for moment in moments:
        print_moment(moment)
    state = life.state(until)
    if state:
        console.print(Text("\nstate", "bold"))
        print_state(state)


def print_moment(moment: Moment) -> None:
    """Prints an event with its reason and its changes."""
    cells = [
        Text(str(moment.index), "dim"),
        Text(in_utc(moment.occurred_at, "seconds")),
        Text(escaped(moment.action), "bold"),
        Text(escaped(moment.outcome), STYLES.get(moment.outcome, "")),
        Text(escaped(moment.actor or "-")),
    ]
    print_cells(cells)
    if moment.reason:
        print_indented(Text(escaped(moment.reason)), INDENT)
    whose = "" if moment.is_subject else f"{moment.target} "
    for change in moment.changes:
        print_indented(Text(escaped(whose + change_of(change))), INDENT)


def print_state(state: Mapping[str, Told]) -> None:
    """Prints the value of each field, and the event that tells it."""
    for path, told in state.items():
        source = "told before the change of index" if told.source == "before" else "index"
        note = f"  {source} {told.by.index}, {in_utc(told.by.occurred_at, 'seconds')}, {told.by.actor or '-'}"
        print_indented(Text.assemble(escaped(f"{path}: {in_words(told)}"), (escaped(note), "dim")), INDENT)
        if told.contradicted_by:
            warning = (
                f"index {told.contradicted_by.index} says that it was another value: it was changed without an event"
            )
            print_indented(Text(warning, "yellow"), 2 * INDENT)


def in_words(told: Told | None) -> str:
    """Returns the value of a field in words."""
    if told is None:
        return "unknown"
    if not told.known:
        return "changed, but not told to what"
    return to_json(told.value)


def print_difference(found: Iterable[FieldDifference], *, as_json: bool) -> None:
    """Prints the fields that differ."""
    if as_json:
        print_json([{"path": one.path, "before": told_of(one.before), "after": told_of(one.after)} for one in found])
        return
    differences = list(found)
    if not differences:
        say("Nothing that an event has told differs.")
    for one in differences:
        print_indented(Text(escaped(f"{one.path}: {in_words(one.before)} → {in_words(one.after)}")), 0)
