"""What a processor may raise to say how its job goes on. Any other error is a failure, and is retried."""


class Retry(Exception):
    """The processor cannot do it now: it gets the event again after that many seconds.

    It counts as one of the attempts, so the last one fails; it does not count as a failure of the processor.

    :ivar in_seconds: until the next attempt.
    """

    def __init__(self, in_seconds: float, reason: str = "it has asked for another attempt") -> None:
        super().__init__(reason)
        self.in_seconds = in_seconds


class Discard(Exception):
    """The processor gives the event up: its job leaves the queue, and the job's history keeps the reason."""
