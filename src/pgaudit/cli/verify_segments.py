"""``pgaudit verify-segments``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pgaudit.cli.exit_codes import Code, sentence_of
from pgaudit.cli.pack_policy import given_policy, with_sealing
from pgaudit.cli.terminal import say
from pgaudit.cli.verify_options import PolicyFile, Vkeys
from pgaudit.errors import InvalidNote, InvalidPolicy, InvalidStream

if TYPE_CHECKING:
    from pgaudit.streams.segment_findings import VerifiedSegments

CANNOT_CHECK = Code.USAGE


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(verify_segments)


def verify_segments(
    place: Annotated[
        str, typer.Argument(help="s3://BUCKET/PREFIX, as in the stream, or a directory with a copy of its objects.")
    ],
    *,
    policy: PolicyFile = None,
    vkey: Vkeys = None,
    part: Annotated[
        bool,
        typer.Option("--part", help="The stream has a query, or did not begin with event 0: events may be missing."),
    ] = False,
) -> None:
    """Verify the segments that a stream has put into a bucket, without the database.

    Exit with 0 when verified, 1 when something was altered or is missing, 2 when it could not be checked.
    """
    from pgaudit.streams.outcomes import DeliveryFailed  # noqa: PLC0415 - streams are slow to import

    try:
        found = checked(place, given_policy(policy, vkey), is_part=part)
    except (DeliveryFailed, InvalidStream, InvalidPolicy, InvalidNote, OSError) as error:
        say(f"COULD NOT CHECK: {sentence_of(error)}")
        raise typer.Exit(CANNOT_CHECK) from None
    if not found.segments:
        say(f"COULD NOT CHECK: {place} has no segment")
        raise typer.Exit(CANNOT_CHECK)
    tell(found, has_policy=bool(policy or vkey), is_part=part)


def checked(place: str, policy: str | None, *, is_part: bool) -> "VerifiedSegments":
    """Verifies an archive."""
    with with_sealing():
        from pgaudit.sealing.policy import Policy  # noqa: PLC0415 - its packages are an extra
        from pgaudit.streams.segment_storage import open_storage  # noqa: PLC0415 - as above
        from pgaudit.streams.segment_verification import verify_segments as verify  # noqa: PLC0415 - as above

    return verify(open_storage(place), None if policy is None else Policy.parse(policy), is_part=is_part)


def tell(found: "VerifiedSegments", *, has_policy: bool, is_part: bool) -> None:
    """Prints what was found, and ends the command."""
    if found.findings:
        for finding in found.findings:
            say(f"- {finding}")
        say("NOT VERIFIED: the first one is where the archive differs from the log.")
        raise typer.Exit(Code.BAD)
    for sentence in in_words(found, has_policy=has_policy, is_part=is_part):
        say(sentence)
    say("VERIFIED.")


def in_words(found: "VerifiedSegments", *, has_policy: bool, is_part: bool) -> Iterator[str]:
    """Yields what was verified, and what was not."""
    indexes = f"{found.first} to {found.last}"
    yield f"{found.segments:,} segments have the events that their names state: {found.events:,}, index {indexes}."
    if is_part:
        yield "Not shown: that none is missing. With --part, no root can be computed."
        return
    yield "No event before the last one is missing."
    if found.covered:
        signed = ", ".join(f"{key.name}+{key.key_id.hex()}" for key in found.signed_by)
        by = f", signed by {signed}" if signed else ""
        yield f"The first {found.covered:,} are those of a checkpoint of {found.origin}{by}."
    if found.covered < found.events:
        yield f"Not shown: {found.events - found.covered:,} events are not covered by a checkpoint in the archive."
    if not has_policy:
        yield "Not shown: who signed. Give the log's keys, from a source of your own: --policy FILE or --vkey KEY."
