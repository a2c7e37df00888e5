"""The jobs of the queue: what is in it, and running again what has failed.

================  ======================================================================
``listing``       the first jobs of a state, one job with its errors, retry, acknowledge
``pages``         a queue of any size: page by page, filtered, run again in batches
``page_queries``  the filters and queries of the pages
``processed``     the jobs of processors
================  ======================================================================
"""

from pgaudit.jobs.listing import (
    Job,
    JobDetails,
    JobError,
    acknowledge_job,
    count_jobs,
    get_job,
    list_jobs,
    retry_jobs,
)

__all__ = [
    "Job",
    "JobDetails",
    "JobError",
    "acknowledge_job",
    "count_jobs",
    "get_job",
    "list_jobs",
    "retry_jobs",
]
