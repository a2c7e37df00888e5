"""Settings of streams and processors."""

from pydantic import BaseModel, Field


class StreamSettings(BaseModel, frozen=True, defer_build=True):
    """Whether a worker sends streams, and how long a destination may fail."""

    run_streams: bool = Field(
        default=True, description="Whether a worker sends streams to their destinations, and dispatches processors."
    )
    stream_patience: float = Field(
        259_200.0,
        gt=0,
        description="Seconds for which a destination may fail before its stream is paused; three days.",
    )
