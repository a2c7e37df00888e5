"""Checks that the log is signed as it grows, and that what was signed was verified."""

from typing import Final

from pgaudit.health.observation import Observation
from pgaudit.health.status import Check, Status
from pgaudit.settings import Settings

LATE_AFTER: Final = 10  # checkpoint intervals
OVERDUE_AFTER: Final = 3  # intervals between verifications
ENDLESS_AFTER: Final = 6  # of the longer intervals, while a worker says that it verifies: it never ends, or does not
OVERDUE: Final = (
    "{what} for {age}, and should be every {every}: start a worker with the signing key, and look at its log."
)


def sealed(seen: Observation, settings: Settings) -> Check:
    """Returns the verdict on the checkpoints: unhealthy if signing is refused, degraded if it is late."""
    limit = settings.checkpoint_interval * LATE_AFTER
    if seen.sealing_refused:
        return Check(
            "sealing", Status.UNHEALTHY, seen.signed_size, None, f"The log is not signed: {seen.sealing_refused}."
        )
    if seen.signed_size is None:
        message = "The log is not signed: no worker has a signing key (PGAUDIT_SIGNING_KEY)."
        return Check("sealing", Status.HEALTHY, None, None, message)
    if seen.unsigned_seconds > limit:
        message = (
            f"Events wait for a checkpoint for {seen.unsigned_seconds:.0f} s: start a worker with the signing key."
        )
        return Check("sealing", Status.DEGRADED, seen.unsigned_seconds, limit, message)
    return Check("sealing", Status.HEALTHY, seen.unsigned_seconds, limit, f"{seen.signed_size:,} events are signed.")


def verified(seen: Observation, settings: Settings) -> Check:
    """Returns the verdict on the verifications: unhealthy if a finding stands, degraded if they are overdue."""
    if seen.verification_failed:
        message = f"The log does not verify: {seen.verification_failed}. See docs/operate/after-tampering.md."
        return Check("verification", Status.UNHEALTHY, seen.verification_failed, None, message)
    late = overdue(seen, settings) if settings.verify_interval else None
    return late or Check("verification", Status.HEALTHY, seen.fully_verified_seconds, None, verified_sentence(seen))


def overdue(seen: Observation, settings: Settings) -> Check | None:
    """Returns the verdict on verifications that do not come; None if they do, or if one is going on."""
    endless = ENDLESS_AFTER * max(settings.verify_interval, settings.full_verify_interval)
    for what, seconds, interval in (
        ("Nothing was verified", seen.verified_seconds, settings.verify_interval),
        ("The log was not verified as a whole", seen.fully_verified_seconds, settings.full_verify_interval),
    ):
        since = seen.signing_seconds if seconds is None else seconds
        limit = endless if seen.verifying else OVERDUE_AFTER * interval
        if interval and since is not None and since > limit:
            message = OVERDUE.format(what=what, age=age(since), every=age(interval))
            return Check("verification", Status.DEGRADED, since, limit, message)
    return None


def verified_sentence(seen: Observation) -> str:
    """Returns what was verified, when, and the level of assurance that it has reached."""
    if seen.verified_seconds is None or seen.fully_verified_seconds is None:
        return "The log was not verified by a worker yet: run `pgaudit verify`."
    events = "1 event" if seen.fully_verified_events == 1 else f"{seen.fully_verified_events:,} events"
    whole = f"All of the log, {events}, was verified {age(seen.fully_verified_seconds)} ago"
    sentence = f"{whole}; assurance: {seen.level}."
    if seen.newly_verified_events and seen.newly_verified_events > 0:
        sentence += f" {seen.newly_verified_events:,} newer ones {age(seen.verified_seconds)} ago."
    return sentence


def age(seconds: float) -> str:
    """Returns a duration in its largest unit.

    >>> age(7_300)
    '2 h'
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
