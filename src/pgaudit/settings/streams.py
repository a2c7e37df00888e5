"""Settings of streams and processors."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from pgaudit._environment import parse_words

Modules = Annotated[tuple[str, ...], BeforeValidator(parse_words)]


class StreamSettings(BaseModel, frozen=True, defer_build=True):
    """Whether a worker sends streams, how long a destination may fail, and the processors that it runs."""

    run_streams: bool = Field(
        default=True, description="Whether a worker sends streams to their destinations, and dispatches processors."
    )
    stream_patience: float = Field(
        259_200.0,
        gt=0,
        description="Seconds for which a destination may fail before its stream is paused; three days.",
    )
    processors: Modules = Field(
        (),
        description="Modules, separated by commas, that a worker imports because they declare processors: "
        "`app.processors,app.mail`.",
    )
    processor_concurrency: int = Field(
        10,
        ge=0,
        le=1_000,
        description="Jobs of processors that one worker runs at a time, beside the audit queue; with 0 it only "
        "dispatches them.",
    )
