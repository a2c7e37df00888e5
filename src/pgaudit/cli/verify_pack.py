"""``pgaudit verify-pack``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgaudit.cli.exit_codes import Code, sentence_of
from pgaudit.cli.pack_policy import given_policy, with_sealing
from pgaudit.cli.terminal import say
from pgaudit.cli.verify_options import PolicyFile, Vkeys
from pgaudit.errors import InvalidNote, InvalidPolicy, PackAltered, PackUnreadable

if TYPE_CHECKING:
    from pgaudit.sealing.packs.checking import Verified

CANNOT_CHECK = Code.USAGE


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(verify_pack)


def verify_pack(
    pack: Annotated[Path, typer.Argument(help="A directory or a zip file, from `pgaudit export --proof`.")],
    *,
    policy: PolicyFile = None,
    vkey: Vkeys = None,
) -> None:
    """Verify a pack of events, offline: its files, each event, the signed checkpoint, and witnesses.

    Exit with 0 when verified, 1 when not, 2 when it could not be checked, or there was nothing to check.
    """
    try:
        verified(pack, given_policy(policy, vkey))
    except PackAltered as error:
        say(f"NOT VERIFIED: {sentence_of(error)}")
        raise typer.Exit(Code.BAD) from None
    except (PackUnreadable, InvalidPolicy, InvalidNote, OSError) as error:
        say(f"COULD NOT CHECK: {sentence_of(error)}")
        raise typer.Exit(CANNOT_CHECK) from None


def verified(pack: Path, policy: str | None) -> None:
    """Verifies a pack, and prints what was verified."""
    with with_sealing():
        from pgaudit.sealing.packs import checking  # noqa: PLC0415 - its packages are an extra
        from pgaudit.sealing.policy import Policy  # noqa: PLC0415 - as above

    found = checking.check(pack, None if policy is None else Policy.parse(policy))
    for sentence in in_words(found):
        say(sentence)
    if policy is None:
        say("Not shown: who signed. The keys are from the pack itself: use --policy FILE, with keys from elsewhere.")
    say("VERIFIED.")


def in_words(found: "Verified") -> Iterator[str]:
    """Yields what was verified."""
    about, checkpoint = found.about, found.checkpoint
    yield f"The {len(about.files)} files are those that pack.json lists, and there are no others."
    names = ", ".join(f"{key.name}+{key.key_id.hex()}" for key in found.signed_by)
    yield f"A checkpoint of the first {checkpoint.size:,} events of {checkpoint.origin} is signed by {names}."
    if about.count:
        events = "The 1 event" if about.count == 1 else f"Each of the {about.count:,} events"
        yield f"{events}, index {about.first_index} to {about.last_index}, is one of these, exactly."
    if found.complete:
        yield found.complete.statement
        yield found.complete.reservation(about.count)
        yield found.complete.origin
    elif about.query:
        yield f"Not shown: that these are all events for the query {about.query}"
    else:
        yield "The pack has all of them."
