"""Exceptions by which a processor decides about its job. Any other exception is a failure, and is retried."""


class Retry(Exception):
    """Raised by a processor that wants the event again after so many seconds.

    This uses up one of the attempts, so after the last one the job fails. It is not a failure of the processor, so it
    does not count for ``break_after``.

    :ivar in_seconds: until the next attempt.
    """

    def __init__(self, in_seconds: float, reason: str = "it has asked for another attempt") -> None:
        super().__init__(reason)
        self.in_seconds = in_seconds


class Discard(Exception):
    """Raised by a processor that discards the event: its job leaves the queue, and its history keeps the reason."""
