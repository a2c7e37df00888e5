"""Settings of workers: batches, retries, stalled jobs and shutdown."""

from pydantic import BaseModel, Field


class WorkerSettings(BaseModel, frozen=True, defer_build=True):
    """Batches, retries, stalled jobs and shutdown."""

    batch_size: int = Field(1_000, ge=1, le=10_000, description="Most events appended in one transaction.")
    worker_concurrency: int = Field(
        2, ge=1, le=32, description="Batches that one worker works on at a time; only one of them is being appended."
    )
    poll_interval: float = Field(0.2, gt=0, le=60, description="Seconds between two polls of an idle worker.")
    linger: float = Field(
        0.1, ge=0, le=5, description="Seconds for which a worker that found events keeps looking for more, every 5 ms."
    )
    job_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Runs of a job, the first one included, before it ends as failed.",
    )
    job_backoff_delay: int = Field(
        2_000,
        ge=0,
        description="Milliseconds before the second run; doubled before each further one.",
    )
    job_backoff_max: int = Field(
        300_000,
        ge=0,
        le=86_400_000,
        description="Maximum delay in milliseconds, before ±20 % jitter; at most a day.",
    )
    stalled_after: float = Field(
        30.0, gt=0, description="Seconds without a heartbeat after which a worker's jobs are reclaimed."
    )
    max_stalls: int = Field(5, ge=0, description="How often a stalled job is reclaimed; the next stall fails it.")
    worker_exit_on_refusal: bool = Field(
        default=False,
        description="End a worker whose schema, right or access is missing, instead of trying again until it is there.",
    )
    drain_on_shutdown: bool = Field(default=False, description="Empty the queue before the worker exits.")
    shutdown_timeout: float = Field(30.0, gt=0, description="Seconds within which a worker shuts down, drain included.")
