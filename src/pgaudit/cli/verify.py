"""``pgaudit verify``: whether the log is what was recorded and signed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

import psycopg
import typer

from pgaudit.cli.database import explained, open_connection
from pgaudit.cli.exit_codes import CannotLook, sentence_of
from pgaudit.cli.output import AsJson, print_json
from pgaudit.cli.pack_policy import given_policy
from pgaudit.cli.progress import Progress
from pgaudit.cli.terminal import say
from pgaudit.cli.verify_options import ALL, AnchorUrls, Jobs, PolicyFile, Quiet, Sample, Since, Vkeys
from pgaudit.cli.verify_result import as_json, is_verified, tell
from pgaudit.errors import AnchorFailed, InvalidNote, InvalidPolicy, InvalidSettings, LogDamaged
from pgaudit.sealing.anchoring import kept
from pgaudit.sealing.anchors import anchor_at, anchors_of
from pgaudit.sealing.keys import verifier_keys
from pgaudit.sealing.notes import Note
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.verify import Finding, Level, Verification, since_last, verify
from pgaudit.settings import Settings

COULD_NOT: Final = 2
COULD_NOT_CHECK: Final = (AnchorFailed, CannotLook, InvalidNote, InvalidPolicy, InvalidSettings, OSError, psycopg.Error)
HELPER: Final[dict[str, Any]] = {"autocommit": True, "prepare_threshold": None, "application_name": "pgaudit verify"}
UNSIGNED: Final = "no checkpoint is signed with a key that was given: none was made yet, or they were removed"
UNANCHORED: Final = "{} has no checkpoint: is it the place that PGAUDIT_ANCHORS names, or was it emptied?"
UNWITNESSED: Final = "no checkpoint has the signatures of witnesses that the policy asks for"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("verify")(verify_log)


def verify_log(  # noqa: PLR0913 - one for each option
    *,
    vkey: Vkeys = None,
    policy: PolicyFile = None,
    anchor: AnchorUrls = None,
    since: Since = False,
    sample: Sample = ALL,
    jobs: Jobs = 2,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Verify the log: its events, its tree, its checkpoints, and that the schema is the installed one.

    Exit with 0 when verified, 1 when something was found or there was nothing to verify, 2 when it cannot be verified.
    """  # fmt: skip
    try:
        text = given_policy(policy, vkey)
        trusted = None if text is None else Policy.parse(text)
        result = verified(trusted, anchor or (), jobs, quiet=quiet, since=since, percent=sample)
    except LogDamaged as error:
        say(f"pgaudit: {sentence_of(error)}", error=True)
        raise typer.Exit(1) from None
    except COULD_NOT_CHECK as error:
        say(f"pgaudit: {sentence_of(error)}", error=True)
        raise typer.Exit(COULD_NOT) from None
    if json:
        print_json(as_json(result))
    else:
        tell(result)
    raise typer.Exit(0 if is_verified(result) else 1)


def verified(  # noqa: PLR0913 - those of the command
    policy: Policy | None, anchor_urls: Sequence[str], jobs: int, *, quiet: bool, since: bool, percent: float
) -> Verification:
    """Verifies the log, with its progress.

    :param policy: by default, the keys beside the private one that the settings name.
    :param anchor_urls: by default, those of the settings.
    """
    settings, found = Settings(), Counter[str]()
    keys = [] if policy else verifier_keys(settings)
    with explained("reader") as conninfo, open_connection(conninfo) as conn, ExitStack() as stack:
        places = [anchor_at(url) for url in anchor_urls] or anchors_of(settings)
        result = verify(
            conn,
            keys=keys,
            policy=policy,
            anchors={place.name: counted_notes(place.name, kept(conn, place), found) for place in places},
            first=since_last(conn) if since else 0,
            percent=percent,
            helpers=helpers_of(stack, conninfo, jobs),
            progress=shown(stack, quiet=quiet),
        )
    result.add(*missing_signatures(result, policy, has_keys=bool(keys or policy)))
    if anchor_urls and result.level > Level.NOTHING:
        result.add(*(Finding("unanchored", UNANCHORED.format(place.name)) for place in places if not found[place.name]))
    return result


def helpers_of(stack: ExitStack, conninfo: str, count: int) -> list[psycopg.Connection[Any]]:
    """Returns that many connections, which the stack closes.

    Plain ones: the time limit of the other one is a signal, which threads cannot have.
    """
    return [stack.enter_context(psycopg.connect(conninfo, **HELPER)) for _ in range(count)]


def shown(stack: ExitStack, *, quiet: bool) -> Callable[[int, int], None]:
    """Returns what shows the progress, whose line the stack removes."""
    progress = Progress(quiet=quiet)
    stack.callback(progress.clear)

    def show(done: int, of: int) -> None:
        progress.show(done, f"{done:,} events", of)

    return show


def counted_notes(name: str, notes: Iterable[Note], found: Counter[str]) -> Iterator[Note]:
    """Yields the checkpoints of an anchor, and counts them."""
    for note in notes:
        found[name] += 1
        yield note


def missing_signatures(result: Verification, policy: Policy | None, *, has_keys: bool) -> list[Finding]:
    """Returns the finding that no checkpoint has the signatures that were asked for.

    A part of the log may be newer than the last checkpoint; and with other findings, what is signed is unknown.
    """
    if result.first > 0 or result.count or result.level is Level.NOTHING:
        return []
    if has_keys and result.level < Level.SIGNED:
        return [Finding("unsigned", UNSIGNED)]
    if policy and policy.asks_for_witnesses and result.level < Level.WITNESSED:
        return [Finding("unsigned", UNWITNESSED)]
    return []
