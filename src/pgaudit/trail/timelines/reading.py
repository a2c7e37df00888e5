"""Timelines: the life of one thing, and what one actor has done."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pgaudit._reading import Statement, Steps, run, run_async
from pgaudit.errors import InvalidQuery
from pgaudit.trail.bounded import MOST_EXAMINED, RECORDED, Stop, start_search
from pgaudit.trail.conditions import ANY
from pgaudit.trail.query import Query, Term
from pgaudit.trail.spans import ALL
from pgaudit.trail.timelines.fold import contradictions, differences, state_at
from pgaudit.trail.timelines.moment import Moment, moments_at
from pgaudit.trail.timelines.told import Contradiction, FieldDifference, Told

USUAL_LIMIT: Final = 20_000
INSTANT: Final = timedelta(microseconds=1)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)  # no event occurs later

Reference = str | tuple[str, str | int]
AsOf = datetime | int | None


@dataclass(frozen=True, slots=True)
class ActorTimeline:
    """What an actor has done: its moments in the order of the log. ``stopped`` is that of a Timeline."""

    actor: str
    moments: tuple[Moment, ...]
    stopped: Stop | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The life of one thing: the events of which it is any target, in the order of the log.

    ``stopped`` is None if all of them were read. Otherwise the newest were read, and none before ``stopped.index``;
    ``as_of=stopped.index - 1`` reads on there.
    """

    target: str
    moments: tuple[Moment, ...]
    stopped: Stop | None

    def state(self, as_of: AsOf = None) -> dict[str, Told]:
        """Returns what the events have told of each field, by its path. A field that is missing is unknown.

        The newest change of a field counts, by the time at which it occurred. If there was none yet, the next one may
        tell the value before it. An event that was denied or failed changed nothing.

        :param as_of: what had occurred by a time, or was in the log at an index; by default everything.
        """
        leaves = state_at(self.moments, valid_moment(as_of), is_whole=self.stopped is None).leaves()
        return {path: leaf.told for path, leaf in leaves if leaf.told}

    def difference(self, earlier: AsOf, later: AsOf = None) -> list[FieldDifference]:
        """Returns the fields that are not the same at two moments, by their paths; the later one is the end by default.

        Where a change has told a whole, such as ``address``, and another one a part of it, the parts are compared.
        """
        is_whole = self.stopped is None
        one = state_at(self.moments, valid_moment(earlier), is_whole=is_whole)
        return differences(one, state_at(self.moments, valid_moment(later), is_whole=is_whole))

    def contradictions(self) -> list[Contradiction]:
        """Returns the changes whose value before is not what was told last: something changed it without an event."""
        return list(contradictions(self.moments))


def timeline(
    conn: object, target: Reference, as_of: AsOf = None, scope: Query | None = None, limit: int = USUAL_LIMIT
) -> Timeline:
    """Returns the life of one thing: its events, and what they have told of its fields.

    >>> claim = trail.timeline(conn, "claim:7")
    >>> status = claim.state().get("status")

    :param target: the thing as "type:id" or (type, id); a number as id stands for its digits.
    :param as_of: reads only what had occurred by a time, or was in the log at an index.
    :param scope: an additional condition, such as the tenants that a user may see.
    :param limit: the most events to read, up to 100,000; the newest are kept.
    :raises InvalidQuery: the target is not a single thing.
    """
    term = single("target", target)
    return Timeline(term.values[0], *run(conn, newest_moments(term, as_of, scope, limit)))


async def timeline_async(
    conn: object, target: Reference, as_of: AsOf = None, scope: Query | None = None, limit: int = USUAL_LIMIT
) -> Timeline:
    """``timeline`` for an asynchronous connection."""
    term = single("target", target)
    return Timeline(term.values[0], *await run_async(conn, newest_moments(term, as_of, scope, limit)))


def actor_timeline(
    conn: object, actor: Reference, as_of: AsOf = None, scope: Query | None = None, limit: int = USUAL_LIMIT
) -> ActorTimeline:
    """Returns what an actor has done, such as "user:42"; the parameters are those of ``timeline``."""
    term = single("actor", actor)
    return ActorTimeline(term.values[0], *run(conn, newest_moments(term, as_of, scope, limit)))


async def actor_timeline_async(
    conn: object, actor: Reference, as_of: AsOf = None, scope: Query | None = None, limit: int = USUAL_LIMIT
) -> ActorTimeline:
    """``actor_timeline`` for an asynchronous connection."""
    term = single("actor", actor)
    return ActorTimeline(term.values[0], *await run_async(conn, newest_moments(term, as_of, scope, limit)))


def single(field: str, reference: Reference) -> Term:
    """Returns the term that finds the events of one target or actor.

    :raises InvalidQuery: the reference is not of the form type:id, or stands for several.
    """
    if isinstance(reference, tuple):
        kind, identity = reference
        if ":" in kind:
            raise InvalidQuery(f"{kind!r} cannot be searched for: the type of a target or actor must not have a colon")
        reference = f"{kind}:{identity}"
    if reference.partition(":")[2] == ANY:
        raise InvalidQuery(f"{reference!r} stands for many; a timeline is of one, such as claim:7")
    return Term(field, (reference,))


def valid_moment(as_of: AsOf) -> AsOf:
    """Returns the moment.

    :raises ValueError: it is a time without a time zone.
    """
    if isinstance(as_of, datetime) and as_of.tzinfo is None:
        raise ValueError("as_of has no time zone: pass an aware datetime, such as datetime.now(UTC), or an index")
    return as_of


def newest_moments(
    term: Term, as_of: AsOf, scope: Query | None, limit: int
) -> Steps[tuple[tuple[Moment, ...], Stop | None]]:
    """Reads the newest moments of a term, in the order of the log, and where it stopped if there may be older ones."""
    if not 1 <= limit <= MOST_EXAMINED:
        raise ValueError(f"a timeline has 1 to {MOST_EXAMINED:,} events, not {limit}")
    query, span = restricted_to(Query((term,)) & (scope or Query()), valid_moment(as_of))
    looking = yield from start_search(query, span, down=True)
    moments: list[Moment] = []
    examined = 0
    while len(moments) <= limit and examined < MOST_EXAMINED and not looking.is_finished:
        look = yield from looking.look(limit + 1 - len(moments), MOST_EXAMINED - examined)
        moments += yield from moments_at(look.found[: limit + 1 - len(moments)], term)
        examined += look.examined
    kept = tuple(reversed(moments[:limit]))
    if len(moments) > limit:
        return kept, Stop(kept[0].index, kept[0].recorded_at, examined)
    if looking.is_finished:
        return kept, None
    rows = yield Statement(RECORDED, {"index": looking.position})
    return kept, Stop(looking.position, rows[0][0].astimezone(UTC) if rows else None, examined)


def restricted_to(query: Query, as_of: AsOf) -> tuple[Query, range]:
    """Returns the query, and the part of the log, for what had occurred by a time or was in the log at an index."""
    if isinstance(as_of, datetime):
        end = (min(as_of, LATEST) + INSTANT).isoformat()
        return query & Query((Term("occurred_before", (end,)),)), ALL
    return query, ALL if as_of is None else range(min(as_of + 1, ALL.stop))
